//! `strata trace`: each request of a known load once, its parts whole, and only
//! those that are meant.
//!
//! What belongs here: the verb as a user runs it, with an agent and without,
//! read fast and slowly, ended by count, time, signal and a broken pipe.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdout, Stdio};
use std::time::{Duration, Instant};

use crate::expect::{HTTP, OUTSIDE, assert_sum};
use serde_json::Value;
use tests::agent_process::{Agent, run_once, strata};
use tests::load::{Call, closed, open, sequential};
use tests::process::Process;
use tests::workload::{Kind, Workload};
use tests::{eventually, require, sys};

/// Longer than anything here takes that ends by itself.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a thread may be off its CPU between two steps that belong together.
const SLACK_NS: u64 = 100_000_000;

/// A trace that runs.
struct Trace {
    process: Process,
    _dir: tempfile::TempDir,
}

impl Trace {
    /// Starts one, and waits until it says that it traces.
    #[track_caller]
    fn start(socket: &Path, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = strata();
        command.args(["trace", "--governor-enabled=false", "--socket"]).arg(socket).args(args);
        let process = Process::spawn(&mut command, dir.path(), "trace").unwrap();
        let trace = Self { process, _dir: dir };
        let said =
            eventually::settle(LIMIT, || trace.process.stderr(), |said| said.contains("tracing "));
        assert!(said.contains("tracing "), "{said}");
        trace
    }

    /// Waits for its end with 0, and gives its lines and what it said.
    #[track_caller]
    fn end(mut self) -> (Vec<Value>, String) {
        let status = self.process.wait(LIMIT);
        let said = self.process.stderr();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{said}");
        (objects(&self.process.stdout()), said)
    }

    /// Ends it as Ctrl-C does.
    #[track_caller]
    fn interrupt(self) -> (Vec<Value>, String) {
        sys::send_signal(self.process.pid(), libc::SIGINT).unwrap();
        self.end()
    }
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn number(object: &Value, member: &str) -> u64 {
    object[member].as_u64().unwrap_or_else(|| panic!("{member}: {object}"))
}

/// Its parts are its wall time, and its times are in order.
#[track_caller]
fn assert_is_whole(object: &Value) {
    let parts = object["parts"].as_object().unwrap_or_else(|| panic!("{object}"));
    let sum: u64 = parts.values().map(|ns| ns.as_u64().unwrap()).sum();
    assert_eq!(sum, number(object, "wall_ns"), "{object}");
    let times = ["arrival_ns", "read_ns", "end_ns"].map(|member| number(object, member));
    assert!(times.is_sorted(), "{object}");
    assert_eq!(times[2] - times[0], number(object, "wall_ns"), "{object}");
    assert!(object["unit"].is_string() && object["calls"].is_array(), "{object}");
}

/// Sends so many requests, each with a number of its own in its path, and gives
/// the client's timings.
fn numbered(addr: SocketAddr, rate: f64, count: u64, prefix: &str) -> Vec<open::Timing> {
    let schedule = open::Schedule {
        path_prefix: prefix.to_owned(),
        query: String::new(),
        rate,
        time: Duration::from_secs_f64(count as f64 / rate),
        connections: 8,
    };
    open::run(addr, &schedule).unwrap()
}

/// Every request of the client is there once, within its own times.
#[track_caller]
fn assert_each_once(lines: &[Value], sent: &[open::Timing], prefix: &str) {
    let mut seen: BTreeMap<u64, &Value> = BTreeMap::new();
    for line in lines {
        let path = line["path"].as_str().unwrap_or_else(|| panic!("{line}"));
        let id = path.strip_prefix(prefix).unwrap().trim_start_matches('/').parse().unwrap();
        assert!(seen.insert(id, line).is_none(), "twice: {line}");
        assert_is_whole(line);
    }
    for timing in sent {
        let line = seen.remove(&timing.id).unwrap_or_else(|| panic!("missing: {timing:?}"));
        assert_eq!(number(line, "status"), u64::from(timing.status), "{line}");
        assert!(number(line, "arrival_ns") >= timing.sent_ns, "{line} {timing:?}");
        // Over loopback the client may have it before the sender's call is over.
        let latest_ns = timing.received_ns + SLACK_NS;
        assert!(number(line, "end_ns") <= latest_ns, "{line} {timing:?}");
    }
    assert!(seen.is_empty(), "nobody sent {seen:?}");
}

#[test]
fn each_request_is_traced_once_through_the_agent() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let trace = Trace::start(&agent.socket(), &["-o", "json", "--path", "/hello/*"]);
    let sent = numbered(server.addr(), 500.0, 1000, "/hello");
    let (lines, _) = trace.interrupt();
    assert_each_once(&lines, &sent, "/hello");
    let workload = format!("process/{}", server.executable().unwrap());
    for line in &lines {
        assert_eq!((&line["workload"], &line["method"]), (&workload.clone().into(), &"GET".into()));
        assert_eq!(number(line, "pid"), u64::from(server.pid()), "{line}");
        assert_eq!(number(line, "server_port"), u64::from(server.addr().port()), "{line}");
        assert_eq!((&line["protocol"], &line["unit"].is_string()), (&"http1".into(), &true));
    }
}

#[test]
fn each_request_is_traced_once_without_an_agent() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (socket, port) = (dir.path().join("none.sock"), server.addr().port().to_string());
    let trace = Trace::start(&socket, &["-o", "json", "--path", "*", "--port", &port]);
    let sent = numbered(server.addr(), 500.0, 1000, "/hello");
    let (lines, said) = trace.interrupt();
    assert_each_once(&lines, &sent, "/hello");
    assert!(said.contains("no agent, own programs"), "{said}");
    assert!(!socket.exists(), "nobody listens");
}

#[test]
fn filters_let_through_what_is_meant_and_nothing_else() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let socket = agent.socket();
    let start = |args: &[&str]| Trace::start(&socket, &[&["-o", "json"], args].concat());
    let slow = start(&["--slower", "40ms"]);
    let failed = start(&["--errors"]);
    let path = start(&["--path", "/status/4*"]);
    let nobody = start(&["--pid", &server.pid().to_string(), "--slower", "1h"]);
    let plan = ["/hello", "/status/503", "/sleep?ms=50", "/status/404"].map(Call::get);
    sequential::run(server.addr(), &plan, 40, true).unwrap();
    let count_of = |trace: Trace| {
        let (lines, _) = trace.interrupt();
        lines.iter().for_each(assert_is_whole);
        lines
    };
    let lines = count_of(slow);
    assert_eq!(lines.len(), 10, "{lines:?}");
    assert!(lines.iter().all(|line| number(line, "wall_ns") >= 40_000_000));
    assert!(lines.iter().all(|line| line["path"].is_null()), "nobody asked for it");
    let lines = count_of(failed);
    assert_eq!(lines.len(), 10, "{lines:?}");
    assert!(lines.iter().all(|line| line["status"] == 503));
    let lines = count_of(path);
    assert_eq!(lines.len(), 10, "{lines:?}");
    assert!(lines.iter().all(|line| line["path"] == "/status/404"));
    assert_eq!(count_of(nobody), Vec::<Value>::new());
}

#[test]
fn it_ends_after_its_count_and_after_its_time() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let trace = Trace::start(&agent.socket(), &["-o", "json", "--count", "7"]);
    sequential::run(server.addr(), &[Call::get("/hello")], 20, true).unwrap();
    let (lines, _) = trace.end();
    assert_eq!(lines.len(), 7);
    let start = Instant::now();
    let trace = Trace::start(&agent.socket(), &["-o", "json", "--timeout", "2s"]);
    sequential::run(server.addr(), &[Call::get("/hello")], 20, true).unwrap();
    let (lines, _) = trace.end();
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(lines.len(), 20);
}

#[test]
fn a_table_has_a_row_and_a_waterfall_a_drawing_for_each_request() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let name = format!("process/{}", server.executable().unwrap());
    for (form, lines_of_name) in [("table", 3), ("waterfall", 3)] {
        let args = ["-o", form, "--count", "3", "--path", "/hello"];
        let mut trace = Trace::start(&agent.socket(), &args);
        sequential::run(server.addr(), &[Call::get("/hello")], 5, true).unwrap();
        assert!(trace.process.wait(LIMIT).is_some_and(|status| status.success()));
        let text = trace.process.stdout();
        let rows = text.lines().filter(|line| line.contains(&name) && line.contains("/hello"));
        assert_eq!(rows.count(), lines_of_name, "{text}");
        assert!(!text.contains('\x1b'), "no colours in a file: {text}");
    }
}

#[test]
fn a_target_that_is_nobody_is_4_and_a_wrong_flag_is_2() {
    let agent = Agent::start(&[]).unwrap();
    let socket = agent.socket().display().to_string();
    for (args, code, words) in [
        (["--comm", "no-such-name"], 4, "--comm no-such-name"),
        (["--slower", "50"], 2, "unit"),
        (["--path", "/a b"], 2, "pattern"),
    ] {
        let args = [&["trace", "--socket", &socket][..], &args].concat();
        let output = run_once(&[], &args, LIMIT).unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{output:?}");
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn when_the_agent_goes_the_trace_ends_with_1() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let mut agent = Agent::start_on_port(server.addr().port()).unwrap();
    let mut trace = Trace::start(&agent.socket(), &["-o", "json"]);
    sequential::run(server.addr(), &[Call::get("/hello")], 20, true).unwrap();
    let count = || objects(&trace.process.stdout()).len();
    assert_eq!(eventually::settle(LIMIT, count, |count| *count == 20), 20);
    agent.terminate(LIMIT).unwrap();
    let status = trace.process.wait(LIMIT).and_then(|status| status.code());
    let said = trace.process.stderr();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("agent ended"), "{said}");
}

/// A trace into a pipe that the test reads, or does not.
fn piped(socket: &Path, dir: &Path) -> (std::process::Child, ChildStdout) {
    let said = std::fs::File::create(dir.join("said")).unwrap();
    let mut child = strata()
        .args(["trace", "-o", "json", "--socket"])
        .arg(socket)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(said)
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let says = || std::fs::read_to_string(dir.join("said")).unwrap();
    let said = eventually::settle(LIMIT, says, |said| said.contains("tracing "));
    assert!(said.contains("tracing "), "{said}");
    (child, stdout)
}

fn wait(child: &mut std::process::Child) -> Option<i32> {
    let status = eventually::until(LIMIT, || child.try_wait().unwrap());
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    status.and_then(|status| status.code())
}

#[test]
fn a_broken_pipe_is_a_clean_end() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut child, stdout) = piped(&agent.socket(), dir.path());
    let plan = [Call::get("/hello")];
    sequential::run(server.addr(), &plan, 3, true).unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(stdout);
    stdout.read_line(&mut line).unwrap();
    assert_is_whole(&serde_json::from_str(&line).unwrap());
    drop(stdout);
    sequential::run(server.addr(), &plan, 3, true).unwrap();
    assert_eq!(wait(&mut child), Some(0));
    assert!(!std::fs::read_to_string(dir.path().join("said")).unwrap().contains("pipe"));
}

#[test]
fn a_reader_that_is_slow_is_told_of_every_request_that_it_missed() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut child, mut stdout) = piped(&agent.socket(), dir.path());
    // Nobody reads meanwhile: more than pipes, sockets and the agent hold.
    let outcome =
        closed::run(server.addr(), &[Call::get("/hello")], 8, Duration::from_secs(4)).unwrap();
    let sent = outcome.tally.completed();
    // The last ones end when their connections close: the agent has them all.
    assert_sum(&agent, HTTP, OUTSIDE, sent);
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    sys::send_signal(child.id(), libc::SIGINT).unwrap();
    assert_eq!(wait(&mut child), Some(0));
    let lines = objects(&reader.join().unwrap().unwrap()).len() as u64;
    let said = std::fs::read_to_string(dir.path().join("said")).unwrap();
    let total = said.lines().find(|line| line.contains(" requests were dropped, because")).unwrap();
    let numbers: Vec<u64> = total.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [dropped, all] = numbers[..] else { panic!("{total}") };
    assert!(dropped > 0 && lines > 0, "{said}");
    assert_eq!((lines + dropped, all), (sent, sent), "{said}");
    // The agent is as it was.
    assert!(agent.scrape().is_ok());
}

#[test]
fn what_nobody_asked_for_costs_no_path() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    // While one asks for paths, and after it has gone, another sees none.
    let asking = Trace::start(&agent.socket(), &["-o", "json", "--path", "*"]);
    let plain = Trace::start(&agent.socket(), &["-o", "json"]);
    sequential::run(server.addr(), &[Call::get("/hello")], 5, true).unwrap();
    let (lines, _) = asking.interrupt();
    assert_eq!(lines.len(), 5);
    sequential::run(server.addr(), &[Call::get("/hello")], 5, true).unwrap();
    let (lines, _) = plain.interrupt();
    assert_eq!(lines.len(), 10);
    assert!(lines.iter().all(|line| line["path"].is_null()), "{lines:?}");
}

#[test]
fn without_privileges_and_without_an_agent_it_is_3() {
    require!(tests::require::has_tool("setpriv"), "setpriv is not installed");
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock").display().to_string();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let output = run_once(&nobody, &["trace", "--socket", &socket], LIMIT).unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}
