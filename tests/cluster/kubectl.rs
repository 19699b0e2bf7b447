//! `kubectl strata` from outside of the cluster, as a user runs it.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::agent_process::binary;
use tests::cluster::{self, Strata, Workload, kubectl_json};
use tests::process::Process;
use tests::{eventually, require};

/// Longer than anything here takes that ends by itself.
const LIMIT: Duration = Duration::from_secs(60);

fn plugin(args: &[&str]) -> Command {
    let mut command = Command::new(binary().with_file_name("kubectl-strata"));
    command.args(args).stdin(Stdio::null());
    command
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Values of a member.
fn values(objects: &[Value], member: &str) -> BTreeSet<String> {
    objects.iter().map(|object| object[member].as_str().unwrap().to_owned()).collect()
}

/// Runs the plugin with load on every pod of `app` until it ends.
#[track_caller]
fn under_load(workload: &Workload, app: &str, args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::spawn(&mut plugin(args), dir.path(), "plugin").unwrap();
    let pods = workload.pods(app).unwrap();
    let status = eventually::until(LIMIT, || {
        for pod in &pods {
            workload.load(&Workload::url(pod).unwrap(), 20, 100).unwrap();
        }
        process.try_wait()
    });
    let said = process.stderr();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{args:?}: {said}");
    process.stdout()
}

/// What runs in the agents' pods besides the agent.
fn relays() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains("strata relay")).collect()
}

#[test]
fn a_deployment_over_two_nodes_is_traced_and_shown_from_outside() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("outside").unwrap();
    workload.serve("Deployment", "api", 2).unwrap();
    let pods = workload.pods("api").unwrap();
    let names: BTreeSet<_> =
        pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    let nodes: BTreeSet<_> =
        pods.iter().map(|pod| pod["spec"]["nodeName"].clone().to_string()).collect();
    assert_eq!(nodes.len(), 2, "spread over both nodes");
    // Names are known once the first requests are counted under them.
    let shown = eventually::settle(
        LIMIT,
        || {
            let args = ["top", "-n", "outside", "--interval", "2s", "-o", "json"];
            values(&objects(&under_load(&workload, "api", &args)), "pod")
        },
        |shown| names.is_subset(shown),
    );
    assert!(names.is_subset(&shown), "{shown:?}");

    // One of the pods is on the client's node, the other on the other one.
    let edges = eventually::settle(
        LIMIT,
        || {
            let args = ["net", "-n", "outside", "--once", "--interval", "2s", "-o", "json"];
            let mut edges = objects(&under_load(&workload, "api", &args));
            edges.retain(|edge| edge["peer_workload"] == "pod/client");
            edges
        },
        |edges| names.is_subset(&values(edges, "pod")),
    );
    assert!(names.is_subset(&values(&edges, "pod")), "{edges:?}");
    let of_api = edges.iter().filter(|edge| edge["workload"] == "deployment/api");
    assert!(of_api.clone().all(|edge| edge["peer_namespace"] == "outside"), "{edges:?}");
    assert!(of_api.clone().any(|edge| edge["scope"] == "node"), "{edges:?}");

    let args = ["trace", "deploy/api", "-n", "outside", "--count", "60", "-o", "json"];
    let lines = objects(&under_load(&workload, "api", &args));
    assert_eq!(lines.len(), 60);
    assert_eq!(values(&lines, "workload"), BTreeSet::from(["deployment/api".to_owned()]));
    assert_eq!(values(&lines, "pod"), names);

    let one = names.first().unwrap();
    let target = format!("pod/{one}");
    let args = ["trace", &target, "-n", "outside", "--count", "5", "-o", "json"];
    let lines = objects(&under_load(&workload, "api", &args));
    assert_eq!(lines.len(), 5);
    assert_eq!(values(&lines, "pod"), BTreeSet::from([one.clone()]));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace.json");
    let output = file.to_str().unwrap();
    let args = ["capture", &target, "-n", "outside", "--for", "2s", "-o", output];
    under_load(&workload, "api", &args);
    let trace: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(trace["traceEvents"].as_array().is_some_and(|events| events.len() > 20), "{trace}");
    // Both pods: each node has a clock of its own.
    let both = plugin(&["capture", "deploy/api", "-n", "outside"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2), "{both:?}");
    assert!(String::from_utf8_lossy(&both.stderr).contains("--node"), "{both:?}");

    let left = eventually::settle(Duration::from_secs(10), relays, Vec::is_empty);
    assert_eq!(left, [""; 0], "the far ends have ended too");
    drop(strata);
}

#[test]
fn a_node_is_checked_from_outside() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let _strata = Strata::installed().unwrap();
    let list = kubectl_json(&["get", "nodes"]).unwrap();
    let node = list["items"][0]["metadata"]["name"].as_str().unwrap();
    let output = plugin(&["check", "--node", node]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("kernel"), "{output:?}");
    let output = plugin(&["trace", "pod/no-such-pod", "-n", "default"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let output = plugin(&["check", "--node", "no-such-node"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}
