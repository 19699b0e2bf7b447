//! Start, stop, crash, second instance, missing privileges, bad usage.
//!
//! What belongs here: exit codes, what is said on stderr, and what is left
//! behind in the kernel.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::Duration;

use tests::agent_process::{Agent, free_port, run_once};
use tests::kernel_objects::Held;
use tests::load::{Call, closed, redis, sequential};
use tests::probed_code::{self, BREAKPOINT, PUSH};
use tests::require::has_tool;
use tests::workload::{Kind, Server, Workload};
use tests::{eventually, require};

use crate::expect::{HTTP, OUTSIDE, TURNS, assert_http_counts, assert_sum, client_counts};

/// Longer than anything here takes that ends by itself.
const LIMIT: Duration = Duration::from_secs(20);

/// Capabilities with which the agent runs; each is documented with its reason.
const SMALLEST_SET: &str = "--bounding-set=-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search";

#[track_caller]
fn assert_gone(held: &Held) {
    let left = eventually::settle(LIMIT, || held.still_there().unwrap(), Vec::is_empty);
    assert_eq!(left, Vec::<String>::new());
}

/// Pinned objects: every name below the BPF filesystem, where one is mounted.
fn pinned() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut dirs = vec![std::path::PathBuf::from("/sys/fs/bpf")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            names.insert(entry.path().display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
            }
        }
    }
    names
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exit code, a message that names `what`, on stderr alone, and no panic.
#[track_caller]
fn assert_refused(output: &Output, code: i32, what: &str) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains(what), "{what:?} is not in: {message}");
    assert!(!message.contains("panicked"), "{message}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn sigterm_ends_the_agent_with_0_within_five_seconds_and_leaves_nothing() {
    require!(has_tool("bpftool"), "bpftool is not installed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let before = pinned();
    let mut agent = Agent::start_on_port(server.addr().port()).unwrap();
    let held = Held::by(agent.pid()).unwrap();
    assert!(!held.programs.is_empty() && !held.maps.is_empty(), "{held:?}");
    // It ends under load too.
    let plan = [Call::get("/hello")];
    let ended = std::thread::scope(|scope| {
        let load = scope.spawn(|| closed::run(server.addr(), &plan, 8, Duration::from_secs(2)));
        std::thread::sleep(Duration::from_millis(700));
        let ended = agent.terminate(LIMIT).unwrap();
        let outcome = load.join().unwrap().unwrap();
        assert_eq!(outcome.tally.failed, 0, "the workload notices nothing");
        ended
    });
    assert_eq!(ended.status.code(), Some(0), "{}", agent.log());
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    assert!(!agent.socket().exists(), "its socket is removed");
    assert_gone(&held);
    assert_eq!(pinned(), before);
}

#[test]
fn kill_9_leaves_no_program_link_or_pinned_map() {
    require!(has_tool("bpftool"), "bpftool is not installed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let before = pinned();
    let mut agent = Agent::start_on_port(server.addr().port()).unwrap();
    sequential::run(server.addr(), &[Call::get("/hello")], 100, true).unwrap();
    let held = Held::by(agent.pid()).unwrap();
    let there = held.still_there().unwrap().len();
    assert!(there >= held.programs.len() && there > 0, "the check sees them while they are there");
    let site = probed_code::client_site(server.pid()).unwrap();
    assert_eq!(probed_code::at(server.pid(), site).unwrap(), BREAKPOINT);
    agent.kill().unwrap();
    assert_gone(&held);
    assert_eq!(probed_code::at(server.pid(), site).unwrap(), PUSH, "its own code is back");
    assert_eq!(pinned(), before);
}

#[test]
fn a_new_agent_takes_over_where_one_was_killed() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let mut first = Agent::start_on_port(server.addr().port()).unwrap();
    sequential::run(server.addr(), &[Call::get("/hello")], 50, true).unwrap();
    first.kill().unwrap();
    // On the socket that the killed one left behind.
    let socket = first.socket();
    let second =
        Agent::start(&["--port", &server.addr().port().to_string()]).expect("a second agent");
    assert!(socket.exists(), "a killed agent cannot remove its socket");
    let tally = sequential::run(server.addr(), &[Call::get("/hello")], 70, true).unwrap();
    assert_http_counts(&second, OUTSIDE, &client_counts(&tally));

    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let args =
        ["agent", "--listen", &listen, "--socket", &socket.to_string_lossy()].map(str::to_owned);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let stale = run_once(&[], &args, Duration::from_secs(3));
    // It runs on, so it had to be ended: a stale socket is no obstacle.
    assert!(stale.is_err_and(|error| error.to_string().contains("still runs")), "{listen}");
}

#[test]
fn a_second_instance_names_the_port_or_the_socket_that_is_taken() {
    let agent = Agent::start(&[]).unwrap();
    let (taken, free) = (agent.addr().to_string(), format!("127.0.0.1:{}", free_port().unwrap()));
    let own_dir = tempfile::tempdir().unwrap();
    let own_socket = own_dir.path().join("s.sock").display().to_string();
    let output =
        run_once(&[], &["agent", "--listen", &taken, "--socket", &own_socket], LIMIT).unwrap();
    assert_refused(&output, 1, &taken);

    let socket = agent.socket().display().to_string();
    let output = run_once(&[], &["agent", "--listen", &free, "--socket", &socket], LIMIT).unwrap();
    assert_refused(&output, 1, &socket);
    agent.scrape().expect("the first one goes on");
}

#[test]
fn a_port_of_another_program_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s.sock").display().to_string();
    let output = run_once(&[], &["agent", "--listen", &taken, "--socket", &socket], LIMIT).unwrap();
    assert_refused(&output, 1, &taken);
}

#[test]
fn without_capabilities_it_lists_what_is_missing_and_ends_with_3() {
    require!(has_tool("setpriv"), "setpriv is not installed");
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s.sock").display().to_string();
    let args = ["agent", "--listen", &listen, "--socket", &socket];
    for set in ["--bounding-set=-all", "--bounding-set=-bpf,-sys_admin"] {
        let output = run_once(&["setpriv", set], &args, LIMIT).unwrap();
        assert_eq!(output.status.code(), Some(3), "{set}: {}", stderr(&output));
        assert!(stderr(&output).to_uppercase().contains("CAP_BPF"), "{set}: {}", stderr(&output));
    }
    let output =
        run_once(&["setpriv", "--bounding-set=-perfmon,-sys_admin"], &args, LIMIT).unwrap();
    assert_refused(&output, 3, "CAP_PERFMON");
}

#[test]
fn each_capability_of_the_smallest_set_is_missed_by_its_name() {
    require!(has_tool("setpriv"), "setpriv is not installed");
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s.sock").display().to_string();
    let args = ["agent", "--listen", &listen, "--socket", &socket];
    let names = ["bpf", "perfmon", "sys_ptrace", "dac_read_search"];
    for missing in names {
        let rest = names.iter().filter(|name| **name != missing).map(|name| format!(",+{name}"));
        let set = format!("--bounding-set=-all{}", rest.collect::<String>());
        let output = run_once(&["setpriv", &set], &args, LIMIT).unwrap();
        assert_refused(&output, 3, &format!("CAP_{}", missing.to_uppercase()));
        let others = names.iter().filter(|name| **name != missing);
        for other in others.map(|name| format!("CAP_{}", name.to_uppercase())) {
            assert!(!stderr(&output).contains(&other), "{other} is there: {}", stderr(&output));
        }
    }
}

#[test]
fn the_smallest_set_of_capabilities_is_enough_to_count() {
    require!(has_tool("setpriv"), "setpriv is not installed");
    require!(Kind::Go.is_available(), "Go is not installed");
    require!(Kind::Redis.is_available(), "redis-server is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    // There before the agent, and another user's: its sockets have to be found.
    let others = Server::new(Kind::Redis)
        .start_with(|argv| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(argv);
            command
        })
        .unwrap();
    let ports = [&server, &others].map(|server| server.addr().port().to_string());
    let args = ["--port", &ports[0], "--port", &ports[1]];
    let agent = Agent::start_under(&["setpriv", SMALLEST_SET], &args).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let bounding = status.lines().find(|line| line.starts_with("CapBnd")).unwrap();
    assert!(bounding.ends_with("000000c000080004"), "{bounding}");
    let site = probed_code::client_site(server.pid()).unwrap();
    assert_eq!(probed_code::at(server.pid(), site).unwrap(), BREAKPOINT, "its calls are followed");
    let tally = sequential::run(server.addr(), &[Call::get("/hello")], 100, true).unwrap();
    assert_http_counts(&agent, OUTSIDE, &client_counts(&tally));
    let commands = redis::run(others.addr(), 100).unwrap();
    assert_sum(&agent, TURNS, &[("server_port", &ports[1])], commands);
}

#[test]
fn bad_usage_ends_with_2_and_names_the_nearest_valid_one() {
    let output = run_once(&[], &["agent", "--lisen", "127.0.0.1:1"], LIMIT).unwrap();
    assert_refused(&output, 2, "--listen");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("strata.yaml");
    std::fs::write(&file, "lisen: 127.0.0.1:1\n").unwrap();
    let config = file.display().to_string();
    let output = run_once(&[], &["agent", "--config", &config], LIMIT).unwrap();
    assert_refused(&output, 2, "listen");
    let absent = dir.path().join("absent.yaml").display().to_string();
    let output = run_once(&[], &["agent", "--config", &absent], LIMIT).unwrap();
    assert_refused(&output, 1, &absent);
}

#[test]
fn a_restarted_server_is_counted_on() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let listen = server.addr();
    let agent = Agent::start_on_port(listen.port()).unwrap();
    sequential::run(listen, &[Call::get("/hello")], 40, true).unwrap();
    server.stop().unwrap();
    let server = Server::new(Kind::Go).listen(listen).start().unwrap();
    sequential::run(server.addr(), &[Call::get("/hello")], 60, true).unwrap();
    assert_sum(&agent, HTTP, OUTSIDE, 100);
}
