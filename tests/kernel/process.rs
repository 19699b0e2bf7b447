//! Processes and cgroups that come and go.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use agent::event::process::{Kind, Process};
use agent::probes::Lane;
use tests::cgroup::Cgroup;
use tests::containers::Ids;
use tests::io_calls::{Receive, Send};
use tests::probe_run::{Probes, Setup, netns};
use tests::{eventually, require, sys};

use crate::exchange::{Server, exchange};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
/// The kernel's clock ticks of `/proc/<pid>/stat`, nanoseconds.
const TICK_NS: u64 = 10_000_000;

fn start() -> Probes {
    Probes::start(Setup::default().lanes(&[Lane::Sockets, Lane::Process])).unwrap()
}

/// Id of a cgroup in the hierarchy that is read: the inode of its directory.
fn id_of(probes: &Probes, cgroup: &Cgroup) -> u64 {
    std::fs::metadata(probes.hierarchy().mount().join(cgroup.path())).unwrap().ino()
}

/// What was said of one process, in order.
fn said(probes: &Probes, pid: u32) -> Vec<Process> {
    probes.processes().filter(|process| process.tgid == pid).copied().collect()
}

fn kinds(said: &[Process]) -> Vec<Kind> {
    said.iter().map(|process| process.kind).collect()
}

/// Start of a process since boot, in ticks.
fn start_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_comm = stat.rsplit_once(')').unwrap().1;
    after_comm.split_whitespace().nth(19).unwrap().parse().unwrap()
}

#[test]
fn a_server_of_a_selected_cgroup_is_told_from_its_exec_to_its_exit() {
    require!(sys::is_root(), "root is needed");
    let cgroup = Cgroup::create(&Ids::unique().cgroup_path()).unwrap();
    let mut probes = start();
    let id = id_of(&probes, &cgroup);
    probes.watch_cgroup(id, 3);
    let server =
        Server::start_by("127.0.0.1:0", Receive::Read, Send::Write, |argv| cgroup.command(argv));
    let (pid, ticks) = (server.pid(), start_ticks(server.pid()));
    let (port, namespace) = (server.addr.port(), netns(pid).unwrap());
    probes.settle(|probes| kinds(&said(probes, pid)).contains(&Kind::Serves));
    assert!(probes.is_watched(pid));
    server.stop();
    probes.settle(|probes| kinds(&said(probes, pid)).contains(&Kind::Exit));

    let said = said(&probes, pid);
    assert_eq!(kinds(&said), [Kind::Exec, Kind::Serves, Kind::Exit]);
    assert!(said.iter().all(|process| process.cgroup_id == id), "{said:?}");
    assert!(said.iter().all(|process| process.start_boottime_ns / TICK_NS == ticks), "{said:?}");
    assert_eq!((said[1].port, said[1].netns), (port, namespace));
    assert!(!probes.is_watched(pid), "its number is free for another");
}

#[test]
fn processes_outside_of_selected_cgroups_are_told_only_when_they_listen() {
    require!(sys::is_root(), "root is needed");
    let mut probes = start();
    let server = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
    let pid = server.pid();
    probes.settle(|probes| !said(probes, pid).is_empty());
    assert_eq!(kinds(&said(&probes, pid)), [Kind::Listens]);
    assert_eq!(said(&probes, pid)[0].port, server.addr.port());
    server.stop();
    probes.settle(|_| true);
    assert_eq!(said(&probes, pid).len(), 1, "neither exec nor exit");
}

#[test]
fn a_fork_of_a_watched_process_is_watched_until_its_exit() {
    require!(sys::is_root(), "root is needed");
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // The subshell is a fork without an exec; it goes on until the fifo opens.
    let script = format!("read go; (read end < {}) & echo $!; wait", fifo.display());
    let mut shell = Command::new("/bin/sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut probes = start();
    probes.watch(shell.id(), 1, 4).unwrap();
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let child: u32 = line.trim().parse().unwrap();
    assert!(probes.is_watched(child));
    std::fs::write(&fifo, "end\n").unwrap();
    shell.wait().unwrap();
    probes.settle(|probes| !said(probes, child).is_empty());
    assert_eq!(kinds(&said(&probes, child)), [Kind::Exit]);
    assert!(!probes.is_watched(child) && !probes.is_watched(shell.id()));
}

#[test]
fn an_exec_ends_the_watch_over_the_program_before() {
    require!(sys::is_root(), "root is needed");
    let mut shell = Command::new("/bin/sh")
        .args(["-c", "read go; exec sleep 60"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut probes = start();
    probes.watch(shell.id(), 1, 4).unwrap();
    assert!(probes.is_watched(shell.id()));
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let pid = shell.id();
    probes.settle(|probes| !said(probes, pid).is_empty());
    let is_watched = probes.is_watched(pid);
    shell.kill().unwrap();
    shell.wait().unwrap();
    assert_eq!((kinds(&said(&probes, pid)), is_watched), (vec![Kind::Exec], false));
}

#[test]
fn cgroups_are_told_once_with_path_and_id_when_made_and_removed() {
    require!(sys::is_root(), "root is needed");
    let mut probes = start();
    let cgroup = Cgroup::create(&Ids::unique().cgroup_path()).unwrap();
    let (id, path) = (id_of(&probes, &cgroup), format!("/{}", cgroup.path()));
    drop(cgroup);
    let mine = |probes: &Probes| -> Vec<(u64, bool)> {
        let mine = probes.cgroups().filter(|cgroup| *cgroup.path == *path);
        mine.map(|cgroup| (cgroup.id, cgroup.is_made)).collect()
    };
    probes.settle(|probes| mine(probes).len() >= 2);
    // Once: the other hierarchies' directories of this path are others.
    assert_eq!(mine(&probes), [(id, true), (id, false)]);
}

/// Starts a server that gets this process id, which is free. Others on the
/// host start processes too, so it may take several tries.
fn start_as(pid: u32) -> Option<Server> {
    eventually::until(Duration::from_secs(10), || {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let server = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
        (server.pid() == pid).then_some(server)
    })
}

#[test]
fn another_process_with_the_number_of_a_watched_one_is_not_watched() {
    require!(sys::is_root(), "root is needed");
    let last = std::path::Path::new("/proc/sys/kernel/ns_last_pid");
    require!(last.exists(), "this kernel does not let a process id be chosen");
    let mut probes = start();
    let server = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
    let pid = server.pid();
    probes.watch(pid, server.addr.port(), 5).unwrap();
    exchange(&mut TcpStream::connect(server.addr).unwrap(), REQUEST);
    assert_eq!(probes.settled_requests(1).len(), 1);
    server.stop();

    let other = start_as(pid);
    require!(other.is_some(), "the process id was always taken by another");
    let other = other.unwrap();
    for _ in 0..5 {
        exchange(&mut TcpStream::connect(other.addr).unwrap(), REQUEST);
    }
    assert_eq!(probes.settled_requests(2).len(), 1, "only the first one's");
    assert!(!probes.is_watched(pid));
}
