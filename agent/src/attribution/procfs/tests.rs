//! A fake `/proc`, whose processes can vanish, and a look at the real one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::process::Executable;
use super::sockets::ListeningSocket;
use super::{Error, ProcRoot};
use crate::attribution::hierarchy::Hierarchy;
use crate::event::ids::{ProcessKey, StartTicks, Tgid};

fn v2() -> Hierarchy {
    Hierarchy::V2 { mount: "/sys/fs/cgroup".into() }
}

fn stat(comm: &str, state: char, flags: u64, start: u64) -> String {
    format!("1 ({comm}) {state} 1 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0\n")
}

/// A process of the fake tree, with two listening sockets and one connection.
fn add_process(root: &Path, tgid: u32, start: u64) {
    let dir = root.join(tgid.to_string());
    for child in ["ns", "net", "fd"] {
        fs::create_dir_all(dir.join(child)).unwrap();
    }
    fs::write(dir.join("stat"), stat("api", 'S', 0, start)).unwrap();
    fs::write(dir.join("cgroup"), "8:pids:/other\n0::/system.slice/api.service\n").unwrap();
    symlink("/app/api (deleted)", dir.join("exe")).unwrap();
    symlink("net:[4026531840]", dir.join("ns/net")).unwrap();
    let table = "  sl  local_address rem_address   st\n\
        0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 501 1\n\
        1: 00000000:0050 00000000:0000 0A 0:0 00:0 0 0 0 502 1\n\
        2: 0100007F:1F90 0100007F:D431 01 0:0 00:0 0 0 0 503 1\n";
    fs::write(dir.join("net/tcp"), table).unwrap();
    for (descriptor, target) in
        [("0", "/dev/null"), ("3", "socket:[501]"), ("4", "socket:[503]"), ("5", "socket:[501]")]
    {
        symlink(target, dir.join("fd").join(descriptor)).unwrap();
    }
}

#[test]
fn processes_are_listed_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    for name in ["1", "42", "self", "sys", "4294967296", "-1"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let mut found: Vec<_> = ProcRoot::new(root.path()).processes().unwrap().collect();
    found.sort();
    assert_eq!(found, [Tgid(1), Tgid(42)]);
    assert!(ProcRoot::new(root.path().join("none")).processes().is_err());
}

#[test]
fn the_facts_of_a_process_are_read() {
    let root = tempfile::tempdir().unwrap();
    add_process(root.path(), 42, 777);
    let process = ProcRoot::new(root.path()).process(Tgid(42));
    let facts = process.facts(&v2()).unwrap().unwrap();
    assert_eq!(facts.key, ProcessKey { tgid: Tgid(42), start: StartTicks(777) });
    assert_eq!(facts.executable, Some(Executable { name: "api".into(), path: "/app/api".into() }));
    assert_eq!(facts.executable_name(), "api");
    assert_eq!(facts.cgroup_path.as_deref(), Some("/system.slice/api.service"));
    assert_eq!(facts.netns, Some(4_026_531_840));
}

#[test]
fn a_process_that_vanished_is_gone_and_not_an_error_to_tell() {
    let root = tempfile::tempdir().unwrap();
    let process = ProcRoot::new(root.path()).process(Tgid(42));
    assert!(process.facts(&v2()).unwrap_err().is_gone());
    assert!(process.listening_sockets_of_netns(10).unwrap_err().is_gone());
    assert!(process.socket_inodes().unwrap_err().is_gone());
    // At any point in between: each file missing in turn.
    for missing in ["stat", "cgroup", "exe", "ns/net"] {
        add_process(root.path(), 42, 777);
        fs::remove_file(root.path().join("42").join(missing)).unwrap();
        assert!(process.facts(&v2()).unwrap_err().is_gone(), "{missing}");
        fs::remove_dir_all(root.path().join("42")).unwrap();
    }
}

#[test]
fn a_number_that_is_used_again_is_another_process() {
    let root = tempfile::tempdir().unwrap();
    add_process(root.path(), 42, 777);
    let proc = ProcRoot::new(root.path());
    let key = ProcessKey { tgid: Tgid(42), start: StartTicks::from_boottime_ns(7_779_999_999) };
    assert!(proc.is_alive(key));
    fs::write(root.path().join("42/stat"), stat("other", 'S', 0, 778)).unwrap();
    assert!(!proc.is_alive(key));
    assert!(Error::Reused { tgid: Tgid(42) }.is_gone());
}

#[test]
fn kernel_threads_and_zombies_have_no_facts() {
    let root = tempfile::tempdir().unwrap();
    add_process(root.path(), 2, 1);
    let process = ProcRoot::new(root.path()).process(Tgid(2));
    for line in [stat("kthreadd", 'S', 0x0020_8040, 1), stat("sh", 'Z', 0, 1)] {
        fs::write(root.path().join("2/stat"), line).unwrap();
        assert_eq!(process.facts(&v2()).unwrap(), None);
    }
    fs::write(root.path().join("2/stat"), "nonsense").unwrap();
    assert!(matches!(process.facts(&v2()), Err(Error::Malformed { .. })));
}

#[test]
fn listening_sockets_are_bounded_and_joined_with_descriptors() {
    let root = tempfile::tempdir().unwrap();
    add_process(root.path(), 42, 777);
    let process = ProcRoot::new(root.path()).process(Tgid(42));
    let all = process.listening_sockets_of_netns(10).unwrap();
    let expected =
        [ListeningSocket { port: 8080, inode: 501 }, ListeningSocket { port: 80, inode: 502 }];
    assert_eq!((all.sockets.as_slice(), all.left_out), (expected.as_slice(), 0));
    assert_eq!(all.held_by(process.socket_inodes().unwrap(), 100), [expected[0]]);
    assert_eq!(all.held_by(process.socket_inodes().unwrap(), 0), []);
    let bounded = process.listening_sockets_of_netns(1).unwrap();
    assert_eq!((bounded.sockets.len(), bounded.left_out), (1, 1));
    // Once more as IPv6.
    fs::copy(root.path().join("42/net/tcp"), root.path().join("42/net/tcp6")).unwrap();
    assert_eq!(process.listening_sockets_of_netns(10).unwrap().sockets.len(), 4);
}

#[test]
fn this_process_is_found_in_the_real_proc_with_its_start() {
    let proc = ProcRoot::default();
    let own = Tgid(std::process::id());
    assert!(proc.processes().unwrap().any(|tgid| tgid == own));
    let process = proc.process(own);
    let facts = process.facts(&v2()).unwrap().unwrap();
    assert!(proc.is_alive(facts.key));
    assert!(!proc.is_alive(ProcessKey { start: StartTicks(facts.key.start.0 + 1), ..facts.key }));
    let executable = std::env::current_exe().unwrap();
    assert_eq!(facts.executable.unwrap().path, executable);
    assert_eq!(fs::read(process.executable_file()).unwrap().get(..4), Some(b"\x7fELF".as_slice()));
    // Two bounds from a clock that is not read through `/proc/<pid>`.
    let uptime = proc.read_text("uptime").unwrap();
    let now_s: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let age_s = now_s - facts.key.start.0 as f64 / 100.0;
    assert!((-0.1..600.0).contains(&age_s), "started {age_s} s ago");
    assert!(proc.is_host_pid_namespace().is_some());
}

#[test]
fn a_process_stands_for_those_that_it_started() {
    let own = std::process::id();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let found = ProcRoot::default().with_descendants(&[own, own]);
    child.kill().unwrap();
    child.wait().unwrap();
    let found = found.unwrap();
    assert_eq!(found.iter().filter(|tgid| **tgid == child.id()).count(), 1, "{found:?}");
    assert!(found.contains(&own));
    assert_eq!(ProcRoot::default().with_descendants(&[]).unwrap(), Vec::<u32>::new());
}
