//! An API server with thousands of pods, hundreds of them of one node: names
//! stay right, and an agent holds little more than before.
//!
//! The pods are objects only. No kubelet has those of a node that is made up,
//! and the real node's refuses its own at once, for they ask for a label that
//! it does not have.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::agent_process::free_port;
use tests::cluster::{self, NAMESPACE, Strata, Workload, kubectl};
use tests::metrics_text::Metrics;
use tests::process::Process;
use tests::{eventually, http, require};

use crate::seen::assert_counted;

/// Pods in all, and of the real node: with `--full`, and without.
const PODS: (usize, usize) = (5_000, 500);
const OWN: (usize, usize) = (250, 100);
/// Who makes them at the same time.
const MAKERS: usize = 4;
/// What names may take of an agent: 5.6 MiB were measured for these.
const MEMORY: f64 = 16.0 * 1024.0 * 1024.0;
/// What they may take of a core while little changes. 10 ms in 15 s were
/// measured, and the agent has other things to do.
const CPU: f64 = 0.25;
const QUIET: Duration = Duration::from_secs(15);

/// The node that is not there, with its pods; gone with the drop.
struct Objects {
    proxy: Process,
    addr: SocketAddr,
    _dir: tempfile::TempDir,
}

const NODE: &str = "strata-test-nowhere";
const SPACE: &str = "crowd";

impl Objects {
    fn make(own: &str, (pods, of_own): (usize, usize)) -> Self {
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE},
            // So that no DaemonSet waits for it.
            "spec": {"taints": [{"key": "strata.dev/nowhere", "effect": "NoExecute"}]},
        });
        kubectl(&["apply", "-f", "-"], Some(&node.to_string())).unwrap();
        // A way for many requests: kubectl makes few a second.
        let dir = tempfile::tempdir().unwrap();
        let port = free_port().unwrap();
        let mut command = Command::new("kubectl");
        command.args(["proxy", &format!("--port={port}"), "--reject-methods=^$"]);
        let proxy = Process::spawn(&mut command, dir.path(), "proxy").unwrap();
        let objects = Self { proxy, addr: SocketAddr::from(([127, 0, 0, 1], port)), _dir: dir };
        let is_up = || http::get(objects.addr, "/readyz").is_ok_and(|it| it.status == 200);
        let is_up = eventually::settle(Duration::from_secs(20), is_up, |is_up| *is_up);
        assert!(is_up, "no proxy: {}", objects.proxy.stderr());
        std::thread::scope(|scope| {
            for maker in 0..MAKERS {
                let addr = objects.addr;
                scope.spawn(move || {
                    for number in (maker..pods).step_by(MAKERS) {
                        let node = if number < of_own { own } else { NODE };
                        let path = format!("/api/v1/namespaces/{SPACE}/pods");
                        let made = http::post(addr, &path, &pod(number, node).to_string()).unwrap();
                        assert_eq!(made.status, 201, "{}", made.text());
                    }
                });
            }
        });
        objects
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        let all = ["delete", "pods", "--all", "-n", SPACE, "--grace-period=0", "--force"];
        let _ = kubectl(&[&all[..], &["--wait=false"]].concat(), None);
        let _ = kubectl(&["delete", "node", NODE, "--wait=false"], None);
    }
}

/// As a Deployment's pods are, with what most have and names do not need.
fn pod(number: usize, node: &str) -> Value {
    let env: Vec<_> =
        (0..8).map(|n| json!({"name": format!("SETTING_{n}"), "value": "x".repeat(60)})).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("filler-7d9f8b6c5-{number:05}"),
            "labels": {"app": "filler", "pod-template-hash": "7d9f8b6c5"},
            "annotations": {"example.com/notes": "y".repeat(200)},
        },
        "spec": {
            "nodeName": node,
            "nodeSelector": {"strata.dev/no-node-has": "this"},
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "containers": [
                {"name": "app", "image": "registry.example.com/filler:1", "env": env},
                {"name": "proxy", "image": "registry.example.com/proxy:1", "env": env},
            ],
        },
    })
}

fn memory(metrics: &Metrics) -> f64 {
    metrics.sum("strata_agent_resident_memory_bytes", &[])
}

/// Restarts the agents, waits until that of the node knows at least so many
/// pods, and gives its memory a moment later.
#[track_caller]
fn fresh(strata: &mut Strata, node: &str, pods: f64) -> f64 {
    kubectl(&["rollout", "restart", "daemonset/strata", "-n", NAMESPACE], None).unwrap();
    strata.find_agents().unwrap();
    let known = || strata.scrape(node).unwrap().sum("strata_agent_metadata_pods", &[]);
    let known = eventually::settle(Duration::from_secs(60), known, |known| *known >= pods);
    assert!(known >= pods, "{known} of {pods}");
    // It is even once nothing is new, and what the start took is given back.
    std::thread::sleep(Duration::from_secs(8));
    memory(&strata.scrape(node).unwrap())
}

#[test]
fn thousands_of_pods_take_little_and_those_that_run_have_their_names() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let is_full = require::is_full();
    let (pods, own) = if is_full { (PODS.0, OWN.0) } else { (PODS.1, OWN.1) };
    let mut strata = Strata::installed().unwrap();
    let crowd = Workload::start(SPACE).unwrap();
    let node = strata.agents().next().unwrap().node.clone();
    let before = fresh(&mut strata, &node, 1.0);
    let begun = Instant::now();
    let objects = Objects::make(&node, (pods, own));
    println!("{pods} pods made in {:.0} s", begun.elapsed().as_secs_f64());
    let after = fresh(&mut strata, &node, own as f64);

    let cpu = || strata.scrape(&node).unwrap().sum("strata_agent_cpu_seconds_total", &[]);
    let (cpu_before, quiet) = (cpu(), Instant::now());
    std::thread::sleep(QUIET);
    let cpu = (cpu() - cpu_before) / quiet.elapsed().as_secs_f64();
    let mib = |bytes: f64| bytes / 1024.0 / 1024.0;
    println!(
        "memory of the agent: {:.1} MiB before, {:.1} MiB with {own} pods of its own among {pods}; \
         {:.2} % of a core while little changes",
        mib(before),
        mib(after),
        100.0 * cpu
    );
    let errors = strata.scrape(&node).unwrap();
    let errors = errors.sum("strata_agent_metadata_errors_total", &[("reason", "garbage")]);
    assert_eq!(errors, 0.0);

    // Among so many, the ones that run are found.
    let workload = Workload::start("amid").unwrap();
    workload.serve("Deployment", "api", 4).unwrap();
    let answers = workload.load(&workload.expose("api").unwrap(), 400, 100).unwrap();
    assert_eq!(answers.failed, 0, "{answers:?}");
    assert_counted(&strata, &workload, "api", &[answers], "deployment/api");

    // All that the real node has are told away again, one by one.
    drop(objects);
    drop(crowd);
    let known = || strata.scrape(&node).unwrap().sum("strata_agent_metadata_pods", &[]);
    let limit = Duration::from_secs(180);
    let left = eventually::settle(limit, known, |known| *known < own as f64);
    assert!(left < own as f64, "{left}");
    assert!(after - before <= MEMORY, "{:.1} MiB", mib(after - before));
    assert!(cpu <= CPU, "{cpu:.3} of a core");
}
