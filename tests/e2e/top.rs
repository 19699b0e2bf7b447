//! `strata top`, `strata check` and the socket between them and the agent.
//!
//! What belongs here: what these verbs say about a load that is known, with an
//! agent and without, and in which state they leave a terminal and a node.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::{ScopedJoinHandle, scope};
use std::time::Duration;

use serde_json::Value;
use tests::agent_process::{Agent, OWN_VARIABLES, binary, run_once};
use tests::load::{Call, closed, open};
use tests::require::has_tool;
use tests::workload::{Kind, Workload};
use tests::{eventually, process, require, sys};

/// Longer than anything here takes that ends by itself.
const LIMIT: Duration = Duration::from_secs(30);
/// Requests a second of the load, all of which sleep this long.
const RATE: f64 = 100.0;
const SLEEP: Duration = Duration::from_millis(20);

fn top(args: &[&str], socket: &Path) -> Output {
    let socket = socket.display().to_string();
    let args = [&["top", "--once", "--interval", "2s", "--socket", &socket], args].concat();
    run_once(&[], &args, LIMIT).unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rows of processes outside of containers: a machine may have containers, and
/// an agent watches them as well.
fn outside_containers(output: &Output) -> Vec<Value> {
    objects(output).into_iter().filter(|row| row["container_id"] == "").collect()
}

/// Sends the load while `look` looks.
fn under_load<T>(addr: SocketAddr, look: impl FnOnce() -> T) -> T {
    let schedule = open::Schedule {
        path_prefix: "/sleep".to_owned(),
        query: format!("?ms={}", SLEEP.as_millis()),
        rate: RATE,
        time: Duration::from_secs(12),
        connections: 8,
    };
    scope(|scope| {
        let load: ScopedJoinHandle<'_, _> = scope.spawn(move || open::run(addr, &schedule));
        let seen = look();
        assert!(!load.is_finished(), "the load ended before the look at it");
        load.join().unwrap().unwrap();
        seen
    })
}

/// The row is what the load is: its rate, and no less than its sleep.
#[track_caller]
fn assert_is_the_load(row: &Value) {
    let number = |member: &str| row[member].as_f64().unwrap_or_else(|| panic!("{member}: {row}"));
    let rate = number("requests_per_second");
    assert!((rate / RATE - 1.0).abs() < 0.2, "{rate} of {RATE} a second: {row}");
    let p50 = number("p50_seconds");
    // A bucket is 9 % wide.
    assert!(p50 > SLEEP.as_secs_f64() * 0.91, "{row}");
    assert!(p50 < SLEEP.as_secs_f64() * 5.0, "{row}");
    assert!(p50 <= number("p95_seconds") && number("p95_seconds") <= number("p99_seconds"));
    assert_eq!(number("error_ratio"), 0.0, "{row}");
}

#[test]
fn top_shows_the_rate_and_durations_of_a_known_load_through_the_agent() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let output = under_load(server.addr(), || top(&["-o", "json"], &agent.socket()));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let rows = outside_containers(&output);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["workload"], format!("process/{}", server.executable().unwrap()));
    assert_is_the_load(&rows[0]);
}

#[test]
fn top_without_an_agent_watches_by_itself_and_leaves_nothing() {
    require!(Kind::Go.is_available(), "Go is not installed");
    require!(has_tool("bpftool"), "bpftool is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let port = server.addr().port().to_string();
    let output = under_load(server.addr(), || top(&["-o", "json", "--port", &port], &socket));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let rows = objects(&output);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_is_the_load(&rows[0]);
    assert!(!socket.exists(), "nobody listens");
    let left = eventually::settle(LIMIT, || holders(&socket), Vec::is_empty);
    assert_eq!(left, Vec::<String>::new());
}

/// Command lines that name this socket and hold kernel programs.
fn holders(socket: &Path) -> Vec<String> {
    let listed = process::run(Command::new("bpftool").args(["-j", "prog", "show"])).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let holders =
        listed.as_array().unwrap().iter().filter_map(|program| program["pids"].as_array());
    let lines = holders.flatten().filter_map(|holder| {
        let line = std::fs::read(format!("/proc/{}/cmdline", holder["pid"])).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(&socket.display().to_string())).collect()
}

#[test]
fn errors_are_a_share_of_requests() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    // A client's mistake (404) is no error of the server.
    let plan = ["/hello", "/status/503", "/status/404", "/sleep?ms=5"].map(Call::get);
    let output = scope(|scope| {
        let load = scope.spawn(|| closed::run(server.addr(), &plan, 2, Duration::from_secs(6)));
        let output = top(&["-o", "json"], &agent.socket());
        load.join().unwrap().unwrap();
        output
    });
    let rows = outside_containers(&output);
    let ratio = rows[0]["error_ratio"].as_f64().unwrap();
    assert!((ratio - 0.25).abs() < 0.02, "{rows:?}");
    let classes: Vec<&str> = rows[0]["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|class| class["status_class"].as_str().unwrap())
        .collect();
    assert_eq!(classes, ["2xx", "4xx", "5xx"], "{rows:?}");
}

#[test]
fn targets_limit_the_rows_and_a_target_that_is_nobody_is_4() {
    require!(Kind::Go.is_available(), "Go is not installed");
    require!(Kind::Python.is_available(), "Python is not installed");
    let (go, python) = (Workload::start(Kind::Go).unwrap(), Workload::start(Kind::Python).unwrap());
    let ports = format!("{},{}", go.addr().port(), python.addr().port());
    let agent = Agent::start(&["--port", &ports]).unwrap();
    let socket = agent.socket();
    let all = outside_containers(&top(&["-o", "json"], &socket));
    assert_eq!(all.len(), 2, "{all:?}");
    let workload = format!("process/{}", go.executable().unwrap());
    let (port, pid) = (go.addr().port().to_string(), go.pid().to_string());
    for target in [["--port", &port], ["--pid", &pid]] {
        let rows = objects(&top(&[&target[..], &["-o", "json"]].concat(), &socket));
        assert_eq!(rows.len(), 1, "{target:?}: {rows:?}");
        assert_eq!(rows[0]["workload"], workload, "{target:?}");
    }
    let output = top(&["--comm", "no-such-name"], &socket);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert_eq!(output.stdout, b"");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("--comm no-such-name") && message.contains(&workload), "{message}");
}

#[test]
fn the_table_has_a_row_a_workload_and_a_total() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let port = server.addr().port().to_string();
    let output = top(&["-o", "table", "--port", &port], &agent.socket());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("WORKLOAD") && lines[0].contains("P99"), "{text}");
    assert!(lines[1].starts_with("process/") && lines[2].starts_with("total of 1"), "{text}");
}

#[test]
fn the_socket_is_for_root_and_its_group_alone() {
    require!(has_tool("setpriv"), "setpriv is not installed");
    let agent = Agent::start(&["--socket-group", "65533"]).unwrap();
    let socket = agent.socket();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let directory = socket.parent().unwrap();
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    let path = socket.display().to_string();
    let args = ["top", "--once", "--socket", &path];
    let member = ["setpriv", "--reuid=65534", "--regid=65533", "--clear-groups"];
    let output = run_once(&member, &args, LIMIT).unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let output = run_once(&other, &args, LIMIT).unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&path), "{output:?}");
}

#[test]
fn peers_that_misbehave_do_not_keep_others_out() {
    let agent = Agent::start(&[]).unwrap();
    // More than there may be connections, none of which says a whole line.
    let silent: Vec<UnixStream> = (0..64)
        .map(|_| {
            let mut stream = UnixStream::connect(agent.socket()).unwrap();
            // The agent may have closed it already.
            let _ = stream.write_all(b"{\"version\":1");
            stream
        })
        .collect();
    let ask = || {
        let stream = UnixStream::connect(agent.socket()).ok()?;
        let mut writer = stream.try_clone().ok()?;
        writer.write_all(b"{\"version\":1,\"verb\":\"workloads\"}\n").ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        line.contains("\"workloads\":").then_some(())
    };
    assert!(eventually::until(LIMIT, ask).is_some(), "their time is bounded");
    for mut stream in silent {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!String::from_utf8_lossy(&rest).contains("taken_unix_ns"));
    }
}

#[test]
fn a_second_agent_names_the_pid_of_the_first() {
    let agent = Agent::start(&[]).unwrap();
    let socket = agent.socket().display().to_string();
    let args = ["agent", "--listen", "127.0.0.1:0", "--socket", &socket];
    let output = run_once(&[], &args, LIMIT).unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(&format!("pid {}", agent.pid())), "{message}");
}

/// A tmux server of our own with one window, killed in the end.
struct Screen(String);

impl Screen {
    fn open(test: &str) -> Self {
        let screen = Self(format!("strata-{test}-{}", std::process::id()));
        screen.tmux(&["new-session", "-d", "-s", "t", "-x", "80", "-y", "16", "sh"]);
        screen
    }

    fn tmux(&self, args: &[&str]) -> String {
        process::run(Command::new("tmux").args(["-L", &self.0]).args(args)).unwrap()
    }

    fn run(&self, line: &str) {
        self.tmux(&["send-keys", "-t", "t", "-l", line]);
        self.tmux(&["send-keys", "-t", "t", "Enter"]);
    }

    #[track_caller]
    fn shows(&self, text: &str) -> String {
        let look = || self.tmux(&["capture-pane", "-p", "-t", "t"]);
        let picture = eventually::settle(LIMIT, look, |picture| picture.contains(text));
        assert!(picture.contains(text), "{text:?} is not on the screen:\n{picture}");
        picture
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.0, "kill-server"]).output();
    }
}

#[test]
fn the_terminal_is_put_back_after_a_key_and_after_a_signal() {
    require!(has_tool("tmux"), "tmux is not installed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let screen = Screen::open("top");
    let (port, socket) = (server.addr().port(), agent.socket());
    // The terminal has the environment of the tests.
    let clean: String = OWN_VARIABLES.iter().map(|name| format!("-u {name} ")).collect();
    let binary = binary();
    let top =
        format!("env {clean}{} top --port {port} --socket {}", binary.display(), socket.display());
    let name = format!("process/{}", server.executable().unwrap());
    // `exec` leaves the pid of the shell that writes it down.
    let pid_file = socket.with_extension("pid");
    let line =
        format!("sh -c 'echo $$ > {}; exec {top}'; echo left $?; stty -a", pid_file.display());
    for leave in ["q", "C-c", "SIGINT", "SIGTERM"] {
        screen.run("clear");
        screen.run(&line);
        let picture = screen.shows(&name);
        assert!(picture.contains("1 workload") && picture.contains("q quit"), "{picture}");
        match leave {
            "SIGINT" | "SIGTERM" => {
                let pid = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
                let signal = if leave == "SIGINT" { 2 } else { 15 };
                sys::send_signal(pid, signal).unwrap();
            }
            key => {
                screen.tmux(&["send-keys", "-t", "t", key]);
            }
        }
        let picture = screen.shows("left 0");
        let settings = screen.shows("icanon");
        assert!(
            !settings.contains("-icanon") && !settings.contains("-echo "),
            "{leave}: {settings}"
        );
        assert!(!picture.contains("q quit"), "{leave}: the screen is left: {picture}");
    }
}

#[test]
fn check_loads_every_program_and_attaches_none() {
    let output = run_once(&[], &["check", "-o", "json"], LIMIT).unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let all = objects(&output);
    let host = &all[0]["host"];
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(host["kernel"], release.trim());
    assert_eq!((&host["btf"], &host["can_run"]), (&true.into(), &true.into()));
    for lane in all.iter().filter(|object| object["lane"].is_string()) {
        let is_fine = lane["state"] == "works";
        assert_eq!(lane["reason"] == "", is_fine, "{lane}");
    }
    let loads: Vec<&Value> = all.iter().filter(|object| object["state"] == "loads").collect();
    assert!(loads.len() > 5, "{all:?}");
    for program in loads {
        assert!(program["instructions"].as_u64().is_some_and(|count| count > 10), "{program}");
    }
}

#[test]
fn check_without_capabilities_names_them_and_ends_with_3() {
    require!(has_tool("setpriv"), "setpriv is not installed");
    let args = ["check", "-o", "json"];
    let output = run_once(&["setpriv", "--bounding-set=-all"], &args, LIMIT).unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let all = objects(&output);
    assert_eq!(all[0]["host"]["can_run"], false);
    for lane in all.iter().filter(|object| object["lane"].is_string()) {
        assert_eq!(lane["state"], "unavailable");
        assert!(lane["reason"].as_str().unwrap().contains("CAP_BPF"), "{lane}");
        assert!(!lane["action"].as_str().unwrap().is_empty(), "{lane}");
    }
}
