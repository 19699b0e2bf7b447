//! `kubectl strata` against real agents, with a `kubectl` that the test writes.
//!
//! What belongs here: the plugin as a user runs it. The stand-in answers `get`
//! from files, and does for `exec` what a container runtime would: it runs the
//! verb, here against the socket of a local agent. Containers have the cgroup
//! paths of a kubelet's, one agent for each of two nodes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tests::agent_process::{Agent, OWN_VARIABLES, binary};
use tests::containers::{Ids, runc};
use tests::load::{Call, sequential};
use tests::process::Process;
use tests::require::has_tool;
use tests::workload::{Kind, Server, Workload};
use tests::{eventually, require, sys};

/// Longer than anything here takes that ends by itself.
const LIMIT: Duration = Duration::from_secs(30);

/// Finds its verb behind whatever options come before it.
const KUBECTL: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/calls"
if [ -f "$here/refusal" ]; then cat "$here/refusal" >&2; exit 1; fi
while [ "$1" != get ] && [ "$1" != exec ]; do shift; done
if [ "$1" = get ]; then
    if [ -f "$here/login" ]; then cat "$here/login" >&2; while [ -f "$here/login" ]; do sleep 0.1; done; fi
    case "$*" in
        *app.kubernetes.io/name=strata*) cat "$here/agents.json" ;;
        *) cat "$here/pods.json" ;;
    esac
    exit 0
fi
for word in "$@"; do
    if [ -f "$here/socket-of-$word" ]; then socket=$(cat "$here/socket-of-$word"); fi
done
while [ "$1" != -- ]; do shift; done
shift 2
if [ -f "$here/as-it-is" ]; then exec "$(cat "$here/strata")" "$@"; fi
exec "$(cat "$here/strata")" "$@" --socket "$socket"
"#;

/// A cluster of two nodes, as far as the plugin can tell.
struct Nodes {
    dir: tempfile::TempDir,
    agents: Vec<Agent>,
    containers: Vec<runc::Container>,
}

fn pod(namespace: &str, name: &str, node: &str, ids: &Ids) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": name, "uid": ids.pod_uid,
            "labels": {
                "pod-template-hash": "7d9f8b6c5",
                "app.kubernetes.io/name": "strata",
                "app.kubernetes.io/component": "agent",
            },
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": "api-7d9f8b6c5", "controller": true},
            ],
        },
        "spec": {"nodeName": node},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "server", "containerID": format!("containerd://{}", ids.container)},
            ],
        },
    })
}

fn list(pods: Vec<Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": pods}).to_string()
}

impl Nodes {
    /// A server and an agent that watches nothing else, on each of two nodes.
    fn start() -> Self {
        let start = |_| runc::Container::start(Server::new(Kind::Go), Ids::unique(), None).unwrap();
        let containers: Vec<_> = (0..2).map(start).collect();
        let watch = |one: &runc::Container| Agent::start(&["--container", one.ids().short()]);
        let agents: Vec<_> = containers.iter().map(|one| watch(one).unwrap()).collect();
        let nodes = Self { dir: tempfile::tempdir().unwrap(), agents, containers };
        let number = |at: usize| at + 1;
        let pods = nodes.containers.iter().enumerate().map(|(at, one)| {
            pod("shop", &format!("api-{}", number(at)), &format!("n{}", number(at)), one.ids())
        });
        nodes.write("pods.json", &list(pods.collect()));
        let agents = nodes.agents.iter().enumerate().map(|(at, agent)| {
            let name = format!("strata-{}", number(at));
            nodes.write(&format!("socket-of-{name}"), &agent.socket().display().to_string());
            pod("strata", &name, &format!("n{}", number(at)), &Ids::unique())
        });
        nodes.write("agents.json", &list(agents.collect()));
        nodes.write("strata", &binary().display().to_string());
        nodes.write("kubectl", KUBECTL);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(nodes.path("kubectl"), mode).unwrap();
        nodes
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn plugin(&self, args: &[&str]) -> Command {
        let mut command = plugin();
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths =
            std::iter::once(self.dir.path().to_owned()).chain(std::env::split_paths(&paths));
        command.args(args).env("PATH", std::env::join_paths(paths).unwrap());
        command
    }

    /// Runs the plugin to its end.
    fn run(&self, args: &[&str]) -> Output {
        output(&mut self.plugin(args))
    }

    /// Starts a trace, and waits until it says that it traces.
    #[track_caller]
    fn trace(&self, args: &[&str]) -> Process {
        let mut command = self.plugin(&[&["trace"], args].concat());
        let trace = Process::spawn(&mut command, self.dir.path(), "trace").unwrap();
        let said = eventually::settle(LIMIT, || trace.stderr(), |said| said.contains("tracing "));
        assert!(said.contains("tracing "), "{said}");
        trace
    }

    /// Sends so many requests to each server.
    fn load(&self, count: u64) {
        for one in &self.containers {
            sequential::run(one.addr(), &[Call::get("/hello")], count, true).unwrap();
        }
    }

    /// Waits until nothing runs that was started for the plugin, and gives the
    /// command lines of what still does.
    fn left_behind(&self) -> Vec<String> {
        let sockets = self.agents.iter().map(|agent| agent.socket().display().to_string());
        let marks: Vec<String> =
            sockets.chain([self.path("kubectl").display().to_string()]).collect();
        let agents: Vec<u32> = self.agents.iter().map(Agent::pid).collect();
        let running = || {
            processes()
                .filter(|(pid, _)| !agents.contains(pid))
                .filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)))
                .map(|(_, line)| line)
                .collect::<Vec<_>>()
        };
        eventually::settle(Duration::from_secs(5), running, Vec::is_empty)
    }
}

fn processes() -> impl Iterator<Item = (u32, String)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).replace('\0', " ")))
    })
}

fn plugin() -> Command {
    let path = binary().with_file_name("kubectl-strata");
    assert!(path.is_file(), "no {}; `cargo xtask build` makes it", path.display());
    let mut command = Command::new(path);
    OWN_VARIABLES.iter().chain(&["STRATA_KUBECTL"]).for_each(|name| {
        command.env_remove(name);
    });
    command.stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::spawn(command, dir.path(), "plugin").unwrap();
    let status = process.wait(LIMIT).unwrap_or_else(|| panic!("{}", process.stderr()));
    Output { status, stdout: process.stdout().into_bytes(), stderr: process.stderr().into_bytes() }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How many lines each container has.
fn by_container(lines: &[Value]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line["container"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn short(nodes: &Nodes, at: usize) -> String {
    nodes.containers[at].ids().short().to_owned()
}

/// Whether this machine has what two nodes are made of.
fn can_run() -> bool {
    has_tool("runc") && Kind::Go.is_available()
}

#[test]
fn a_trace_of_a_deployment_has_the_requests_of_its_pods_on_every_node() {
    require!(can_run(), "runc or Go is not installed");
    let nodes = Nodes::start();
    let mut trace = nodes.trace(&["deploy/api", "-n", "shop", "--count", "20", "-o", "json"]);
    nodes.load(10);
    let status = trace.wait(LIMIT).and_then(|status| status.code());
    assert_eq!(status, Some(0), "{}", trace.stderr());
    let lines = objects(&trace.stdout());
    let expected = BTreeMap::from([(short(&nodes, 0), 10), (short(&nodes, 1), 10)]);
    assert_eq!(by_container(&lines), expected);
    assert_eq!(nodes.left_behind(), [""; 0]);
    let calls = fs::read_to_string(nodes.path("calls")).unwrap();
    assert_eq!(calls.lines().filter(|call| call.contains("relay")).count(), 2, "{calls}");
}

#[test]
fn a_trace_ends_at_its_count_though_every_node_has_as_many() {
    require!(can_run(), "runc or Go is not installed");
    let nodes = Nodes::start();
    let mut trace = nodes.trace(&["-A", "--count", "5", "-o", "json"]);
    nodes.load(20);
    let status = trace.wait(LIMIT).and_then(|status| status.code());
    assert_eq!(status, Some(0), "{}", trace.stderr());
    assert_eq!(objects(&trace.stdout()).len(), 5);
    assert_eq!(nodes.left_behind(), [""; 0]);
}

#[test]
fn one_pod_is_traced_on_its_own_node_only() {
    require!(can_run(), "runc or Go is not installed");
    let nodes = Nodes::start();
    // As `kubectl get pods api-2` answers: the object, not a list.
    let one = pod("shop", "api-2", "n2", nodes.containers[1].ids());
    nodes.write("pods.json", &list(vec![one]));
    let mut trace = nodes.trace(&["pod/api-2", "-n", "shop", "--count", "3", "-o", "json"]);
    nodes.load(3);
    let status = trace.wait(LIMIT).and_then(|status| status.code());
    assert_eq!(status, Some(0), "{}", trace.stderr());
    let lines = objects(&trace.stdout());
    assert_eq!(by_container(&lines), BTreeMap::from([(short(&nodes, 1), 3)]));
    let calls = fs::read_to_string(nodes.path("calls")).unwrap();
    assert!(!calls.contains("strata-1"), "the other node is not asked: {calls}");
}

#[test]
fn ctrl_c_prints_what_had_finished_and_leaves_nothing_behind() {
    require!(can_run(), "runc or Go is not installed");
    let nodes = Nodes::start();
    let mut trace = nodes.trace(&["deploy/api", "-n", "shop", "-o", "json"]);
    assert_ne!(nodes.left_behind(), [""; 0], "it is looked for in the wrong place");
    nodes.load(10);
    sys::send_signal(trace.pid(), libc::SIGINT).unwrap();
    let status = trace.wait(LIMIT).and_then(|status| status.code());
    assert_eq!(status, Some(0), "{}", trace.stderr());
    assert_eq!(objects(&trace.stdout()).len(), 20, "{}", trace.stderr());
    assert_eq!(nodes.left_behind(), [""; 0]);
}

#[test]
fn top_has_the_rows_of_every_node_with_what_their_clients_did() {
    require!(can_run(), "runc or Go is not installed");
    let nodes = Nodes::start();
    let args = ["top", "-n", "shop", "--interval", "3s", "-o", "json"];
    let mut command = nodes.plugin(&args);
    let mut top = Process::spawn(&mut command, nodes.dir.path(), "top").unwrap();
    // Load all the time: whenever the samples are taken, requests finish.
    let status = eventually::until(LIMIT, || {
        nodes.load(10);
        top.try_wait()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", top.stderr());
    let rows = objects(&top.stdout());
    let expected = BTreeMap::from([(short(&nodes, 0), 1), (short(&nodes, 1), 1)]);
    assert_eq!(by_container(&rows), expected);
    for row in &rows {
        assert!(row["requests_per_second"].as_f64().unwrap() > 0.0, "{row}");
    }
    assert_eq!(nodes.left_behind(), [""; 0]);
}

#[test]
fn a_check_is_that_of_the_agents_host() {
    require!(can_run(), "runc or Go is not installed");
    let nodes = Nodes::start();
    let output = nodes.run(&["check", "--node", "n2"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("kernel"), "{output:?}");
    let calls = fs::read_to_string(nodes.path("calls")).unwrap();
    assert!(calls.contains("strata-2") && !calls.contains("strata-1"), "{calls}");
    let output = nodes.run(&["check", "--node", "n9"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

#[test]
fn what_kubectl_is_told_is_passed_on_in_every_call() {
    require!(can_run(), "runc or Go is not installed");
    let nodes = Nodes::start();
    let args = ["top", "-A", "-o", "json", "--context", "far", "--kubeconfig", "/k"];
    let output = nodes.run(&args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let calls = fs::read_to_string(nodes.path("calls")).unwrap();
    assert!(calls.lines().count() >= 3, "{calls}");
    for call in calls.lines() {
        assert!(call.contains("far") && call.contains("/k"), "{call}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_own_code() {
    require!(can_run(), "runc or Go is not installed");
    let nodes = Nodes::start();
    let trace = ["trace", "pod/none", "-n", "shop"];
    for (refusal, code, words) in [
        ("Error from server (NotFound): pods \"none\" not found\n", 4, "not found"),
        ("Error from server (Forbidden): pods is forbidden: User \"bob\" cannot list\n", 3, "bob"),
    ] {
        nodes.write("refusal", refusal);
        let output = nodes.run(&trace);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stderr).contains(words), "{output:?}");
        assert_eq!(output.stdout, b"");
    }
    fs::remove_file(nodes.path("refusal")).unwrap();
    let pods = nodes.path("pods.json");
    fs::write(&pods, list(Vec::new())).unwrap();
    assert_eq!(nodes.run(&trace).status.code(), Some(4));
    let ids = Ids::unique();
    fs::write(&pods, list(vec![pod("shop", "none", "n3", &ids)])).unwrap();
    let output = nodes.run(&trace);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("n3"), "{output:?}");
    assert_eq!(nodes.left_behind(), [""; 0]);
}

#[test]
fn what_a_login_prints_reaches_the_user_while_it_waits() {
    require!(can_run(), "runc or Go is not installed");
    let nodes = Nodes::start();
    let login = "To sign in, open https://example.com/device and enter AB-12\n";
    nodes.write("login", login);
    let mut command = nodes.plugin(&["check", "--node", "n1"]);
    let mut check = Process::spawn(&mut command, nodes.dir.path(), "check").unwrap();
    let said = eventually::settle(LIMIT, || check.stderr(), |said| said.contains("AB-12"));
    assert!(said.contains(login), "{said}");
    assert!(check.try_wait().is_none(), "it waits for the user");
    fs::remove_file(nodes.path("login")).unwrap();
    let status = check.wait(LIMIT).and_then(|status| status.code());
    assert_eq!(status, Some(0), "{}", check.stderr());
}

#[test]
fn agents_are_reached_by_what_they_were_started_with() {
    require!(can_run(), "runc or Go is not installed");
    let nodes = Nodes::start();
    // Their socket stands in a file that only their own arguments name.
    nodes.write("as-it-is", "");
    let agents = nodes.agents.iter().enumerate().map(|(at, agent)| {
        let file = format!("strata-{at}.yaml");
        nodes.write(&file, &format!("socket: {}\n", agent.socket().display()));
        let mut pod =
            pod("strata", &format!("strata-{}", at + 1), &format!("n{}", at + 1), &Ids::unique());
        let args = json!(["agent", "--config", nodes.path(&file)]);
        pod["spec"]["containers"] = json!([{"name": "strata", "args": args}]);
        pod
    });
    nodes.write("agents.json", &list(agents.collect()));
    let output = nodes.run(&["top", "-A", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let rows = objects(&text(&output.stdout));
    let expected = BTreeMap::from([(short(&nodes, 0), 1), (short(&nodes, 1), 1)]);
    assert_eq!(by_container(&rows), expected);
    let output = nodes.run(&["check", "--node", "n1"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let calls = fs::read_to_string(nodes.path("calls")).unwrap();
    let check = calls.lines().find(|call| call.contains("/strata check")).unwrap();
    assert!(check.contains("strata-0.yaml"), "{check}");
}

#[test]
fn what_runs_outside_of_pods_is_shown_only_if_it_is_asked_for() {
    require!(can_run(), "runc or Go is not installed");
    let mut nodes = Nodes::start();
    let server = Workload::start(Kind::Go).unwrap();
    let port = server.addr().port().to_string();
    nodes.agents[0] = Agent::start(&["--port", &port]).unwrap();
    nodes.write("socket-of-strata-1", &nodes.agents[0].socket().display().to_string());
    let rows = |args: &[&str]| {
        let output = nodes.run(&[&["top", "-A", "-o", "json"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        objects(&text(&output.stdout))
    };
    // Named once it has had a request.
    let is_outside = |row: &&Value| !row["workload"].as_str().unwrap().starts_with("pod/");
    let outside = || {
        sequential::run(server.addr(), &[Call::get("/hello")], 5, true).unwrap();
        rows(&["--host"]).iter().filter(is_outside).count()
    };
    assert_eq!(eventually::settle(LIMIT, outside, |count| *count == 1), 1);
    let pods = rows(&[]);
    assert_eq!(pods.iter().filter(is_outside).count(), 0, "{pods:#?}");
    assert!(by_container(&pods).contains_key(&short(&nodes, 1)), "{pods:#?}");
}

#[test]
fn a_trace_that_runs_has_the_pods_that_come_later_on_another_node() {
    require!(can_run(), "runc or Go is not installed");
    let nodes = Nodes::start();
    let both = fs::read_to_string(nodes.path("pods.json")).unwrap();
    let first = pod("shop", "api-1", "n1", nodes.containers[0].ids());
    nodes.write("pods.json", &list(vec![first]));
    let mut trace = nodes.trace(&["deploy/api", "-n", "shop", "-o", "json"]);
    nodes.load(5);
    nodes.write("pods.json", &both);
    let said = eventually::settle(LIMIT, || trace.stderr(), |said| said.contains("node n2"));
    assert!(said.contains("tracing on node n2 from now on"), "{said}");
    nodes.load(5);
    sys::send_signal(trace.pid(), libc::SIGINT).unwrap();
    let status = trace.wait(LIMIT).and_then(|status| status.code());
    assert_eq!(status, Some(0), "{}", trace.stderr());
    let expected = BTreeMap::from([(short(&nodes, 0), 10), (short(&nodes, 1), 5)]);
    assert_eq!(by_container(&objects(&trace.stdout())), expected);
    assert_eq!(nodes.left_behind(), [""; 0]);
}

#[test]
fn without_kubectl_it_says_how_to_name_one() {
    let mut command = plugin();
    command.args(["top", "-A"]).env("PATH", Path::new("/nonexistent"));
    let output = output(&mut command);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("STRATA_KUBECTL"), "{output:?}");
}
