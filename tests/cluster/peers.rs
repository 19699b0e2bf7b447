//! Peers on other nodes have names, zones and distances while somebody tells
//! them, none while nobody does, and never another's.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::cluster::{self, NAMESPACE, Strata, Workload, kubectl, kubectl_json};
use tests::{eventually, process, require};

/// What is asked every five seconds, after a server was found again.
const SETTLES: Duration = Duration::from_secs(60);
/// Requests of one load.
const REQUESTS: u64 = 200;
/// Bytes of a body that is more than 20 000 segments.
const BODY: u64 = 40 << 20;

/// One pod of each of two Deployments, on two nodes, and where they are.
struct Talk<'a> {
    strata: &'a Strata,
    workload: &'a Workload,
    caller: Pod,
    callee: Pod,
}

#[derive(Clone, Debug)]
struct Pod {
    name: String,
    uid: String,
    node: String,
    zone: String,
    ip: String,
}

/// One edge, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counted {
    segments: u64,
    retransmits: u64,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn pods(workload: &Workload, app: &str) -> Vec<Pod> {
    let zone = |node: &str| {
        let node = kubectl_json(&["get", "node", node]).unwrap();
        text(&node["metadata"]["labels"]["topology.kubernetes.io/zone"])
    };
    let pods = workload.pods(app).unwrap();
    let pod = |pod: &Value| {
        let node = text(&pod["spec"]["nodeName"]);
        Pod {
            name: text(&pod["metadata"]["name"]),
            uid: text(&pod["metadata"]["uid"]),
            zone: zone(&node),
            node,
            ip: text(&pod["status"]["podIP"]),
        }
    };
    pods.iter().map(pod).collect()
}

impl<'a> Talk<'a> {
    /// Two pods that are not on one node; `None` where there is only one.
    fn begin(strata: &'a Strata, workload: &'a Workload) -> Option<Self> {
        if strata.agents().count() < 2 {
            return None;
        }
        workload.serve("Deployment", "caller", 2).unwrap();
        workload.serve("Deployment", "callee", 2).unwrap();
        let (callers, callees) = (pods(workload, "caller"), pods(workload, "callee"));
        let caller = callers.into_iter().min_by(|a, b| a.node.cmp(&b.node)).unwrap();
        let callee = callees.into_iter().find(|pod| pod.node != caller.node).unwrap();
        Some(Self { strata, workload, caller, callee })
    }

    /// Has the caller ask.
    fn load(&self, url: &str) {
        let count = REQUESTS.to_string();
        let load = ["exec", &self.caller.name, "--", "/podapp", "load", url, &count, "200"];
        let seen: Value = serde_json::from_str(&self.workload.kubectl(&load).unwrap()).unwrap();
        assert_eq!(seen["sent"], REQUESTS);
        // That it was answered is other tests' affair, but it has to have been sent.
        assert!(seen["failed"].as_u64().unwrap_or(0) < REQUESTS / 10, "{seen}");
    }

    fn load_callee(&self) {
        self.load(&format!("http://{}:8080/", self.callee.ip));
    }

    /// An edge of a pod, as its node's agent counts it.
    fn edge(&self, pod: &Pod, peer: &[(&str, &str)]) -> Counted {
        let of = [("namespace", self.workload.namespace()), ("pod", &pod.name)];
        let labels = [&of[..], peer].concat();
        let metrics = self.strata.scrape(&pod.node).unwrap();
        Counted {
            segments: metrics.sum("strata_edge_segments_sent_total", &labels) as u64,
            retransmits: metrics.sum("strata_edge_retransmits_total", &labels) as u64,
        }
    }

    /// Waits until an edge has so many segments more than before.
    #[track_caller]
    fn awaits(&self, pod: &Pod, peer: &[(&str, &str)], before: u64, more: u64) {
        let segments = || self.edge(pod, peer).segments;
        let found = eventually::settle(SETTLES, segments, |found| *found >= before + more);
        let all = self.all(pod);
        assert!(found >= before + more, "{peer:?}: {found} after {before}, not {more} more: {all}");
    }

    /// All edges of a pod, to be looked at.
    fn all(&self, pod: &Pod) -> String {
        let metrics = self.strata.scrape(&pod.node).unwrap();
        let mut lines = Vec::new();
        for name in ["strata_edge_segments_sent_total", "strata_agent_peer_asks_total"] {
            let of = metrics.samples().iter().filter(|sample| {
                sample.name == name
                    && (sample.label("pod").is_empty() || sample.label("pod") == pod.name)
                    && sample.value > 0.0
            });
            lines.extend(of.map(|sample| format!("\n{sample:?}")));
        }
        lines.concat()
    }

    /// Fails if any agent has ever shown a peer under a name.
    #[track_caller]
    fn assert_never(&self, peer_workload: &str) {
        for agent in self.strata.agents() {
            let metrics = self.strata.scrape(&agent.node).unwrap();
            let shown =
                metrics.samples().iter().find(|it| it.label("peer_workload") == peer_workload);
            assert!(shown.is_none(), "{}: {shown:?}", agent.node);
        }
    }
}

/// Labels of a peer.
fn named<'a>(
    namespace: &'a str,
    workload: &'a str,
    zone: &'a str,
    scope: &'a str,
) -> [(&'a str, &'a str); 4] {
    [
        ("peer_namespace", namespace),
        ("peer_workload", workload),
        ("peer_zone", zone),
        ("scope", scope),
    ]
}

/// Waits until both replicas are ready, or none is there.
fn peers_are(replicas: u32) {
    let replicas = format!("--replicas={replicas}");
    let name = "deployment/strata-peers";
    kubectl(&["scale", "-n", NAMESPACE, name, &replicas], None).unwrap();
    kubectl(&["rollout", "status", "-n", NAMESPACE, name, "--timeout=90s"], None).unwrap();
}

#[test]
fn both_ends_of_an_edge_between_nodes_have_names_and_zones() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    peers_are(2);
    let workload = Workload::start("talk").unwrap();
    let talk = Talk::begin(&strata, &workload);
    require!(talk.is_some(), "one node only");
    let talk = talk.unwrap();
    let (caller, callee) = (talk.caller.clone(), talk.callee.clone());
    let scope = if caller.zone == callee.zone { "zone" } else { "cross_zone" };
    talk.load_callee();
    // The callee's answers, and the caller's questions.
    let (from_callee, from_caller) = (
        named("talk", "deployment/caller", &caller.zone, scope),
        named("talk", "deployment/callee", &callee.zone, scope),
    );
    talk.awaits(&callee, &from_callee, 0, REQUESTS);
    talk.awaits(&caller, &from_caller, 0, REQUESTS);

    // A Service's address, before it is made a pod's.
    let url = workload.expose("callee").unwrap();
    talk.load(&url);
    let to_service = [("peer_namespace", "talk"), ("peer_workload", "service/callee")];
    talk.awaits(&caller, &to_service, 0, REQUESTS);

    // Another pod says that it has the callee's address: it names neither.
    let mut thief = workload.pod("thief", &["wait"], &json!({}));
    thief["spec"]["nodeName"] = "strata-test-nowhere".into();
    // So that it goes at once, without a kubelet.
    thief["spec"]["terminationGracePeriodSeconds"] = 0.into();
    workload.apply(&thief).unwrap();
    let status = json!({"status": {"phase": "Running", "podIP": callee.ip,
        "podIPs": [{"ip": callee.ip}]}});
    let patch = [
        "patch",
        "pod",
        "thief",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status.to_string(),
    ];
    workload.kubectl(&patch).unwrap();
    let nobody = [("peer_workload", ""), ("scope", "unknown")];
    let (before, unnamed) = (talk.edge(&caller, &from_caller), talk.edge(&caller, &nobody));
    talk.load_callee();
    talk.awaits(&caller, &nobody, unnamed.segments, REQUESTS);
    assert_eq!(talk.edge(&caller, &from_caller).segments, before.segments, "{}", talk.all(&caller));
    talk.assert_never("pod/thief");
}

/// The namespace of a node's network, where the nodes are on this machine.
fn network_of(node: &str) -> String {
    format!("/run/netns/lab-{node}")
}

/// Every fiftieth packet to a pod lost on the way to it, until the drop.
struct Loss {
    network: String,
}

impl Loss {
    const TABLE: &str = "strata_test_peers";

    fn between(from: &Pod, to: &Pod) -> Self {
        let loss = Self { network: network_of(&to.node) };
        let (table, from, to) = (Self::TABLE, &from.ip, &to.ip);
        let rules = format!(
            "table ip {table} {{\nchain lose {{\ntype filter hook forward priority 0;\n\
             ip saddr {from} ip daddr {to} numgen random mod 50 == 0 drop\n}}\n}}\n"
        );
        process::run(loss.inside("nft").arg(rules)).unwrap();
        loss
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network)).arg(program);
        command
    }
}

impl Drop for Loss {
    fn drop(&mut self) {
        let _ = process::run(self.inside("nft").args(["delete", "table", "ip", Self::TABLE]));
    }
}

/// What `ss` says of the one connection from a port of a pod: segments with data
/// sent, and how many of them again.
fn socket(pod: &Pod, port: &str) -> Option<Counted> {
    let uids = [pod.uid.clone(), pod.uid.replace('-', "_")];
    let is_pods = |pid: &u32| {
        let of = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        of("comm").trim_end() == "podapp" && uids.iter().any(|uid| of("cgroup").contains(uid))
    };
    let entries = std::fs::read_dir("/proc").ok()?.flatten();
    let pid = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_pods)?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).args(["ss", "-tinHO", "state", "established"]);
    let text = process::run(command.arg(format!("sport = :{port}"))).ok()?;
    let field = |name: &str| text.split_whitespace().find_map(|word| word.strip_prefix(name));
    Some(Counted {
        segments: field("data_segs_out:")?.parse().ok()?,
        retransmits: field("retrans:")
            .map_or(Some(0), |both| both.split_once('/')?.1.parse().ok())?,
    })
}

#[test]
fn loss_between_nodes_shows_on_that_edge_as_its_socket_counts_it() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    peers_are(2);
    let workload = Workload::start("lossy").unwrap();
    let talk = Talk::begin(&strata, &workload);
    require!(talk.is_some(), "one node only");
    let talk = talk.unwrap();
    let (caller, callee) = (talk.caller.clone(), talk.callee.clone());
    require!(Path::new(&network_of(&callee.node)).exists(), "the nodes are not on this machine");
    let near = pods(&workload, "callee").into_iter().find(|pod| pod.node == caller.node).unwrap();
    let scope = if caller.zone == callee.zone { "zone" } else { "cross_zone" };
    let far = named("lossy", "deployment/callee", &callee.zone, scope);
    let beside = named("lossy", "deployment/callee", &caller.zone, "node");
    talk.load_callee();
    talk.awaits(&caller, &far, 0, REQUESTS);
    let (far_before, beside_before) = (talk.edge(&caller, &far), talk.edge(&caller, &beside));

    let loss = Loss::between(&caller, &callee);
    let dir = tempfile::tempdir().unwrap();
    let (address, body) = (format!("{}:8080", callee.ip), BODY.to_string());
    let mut push = Command::new("kubectl");
    push.args(["exec", "-n", workload.namespace(), &caller.name, "--"]);
    push.args(["/podapp", "push", &address, &body, "90"]);
    let push = tests::process::Process::spawn(&mut push, dir.path(), "push").unwrap();
    talk.load(&format!("http://{}:8080/", near.ip));
    let port = eventually::until(Duration::from_secs(120), || {
        push.stdout().lines().next().map(str::to_owned)
    });
    let port = port.unwrap_or_else(|| panic!("the body was not taken: {}", push.stderr()));
    drop(loss);
    let truth = socket(&caller, &port).unwrap();
    assert!(truth.segments >= 20_000 && truth.retransmits > 0, "{truth:?}");

    let again = || talk.edge(&caller, &far).retransmits - far_before.retransmits;
    let is_close = |again: &u64| again.abs_diff(truth.retransmits) * 20 <= truth.retransmits;
    let found = eventually::settle(SETTLES, again, is_close);
    println!("sent again: {found} by the agent, {} by ss", truth.retransmits);
    assert!(is_close(&found), "{found} sent again, not {truth:?}: {}", talk.all(&caller));
    let sent = talk.edge(&caller, &far).segments - far_before.segments;
    assert!(sent.abs_diff(truth.segments) * 20 <= truth.segments, "{sent} sent, not {truth:?}");
    talk.awaits(&caller, &beside, beside_before.segments, REQUESTS);
    let beside_again = talk.edge(&caller, &beside).retransmits - beside_before.retransmits;
    assert!(beside_again <= REQUESTS / 50, "{beside_again} sent again on the way beside it");
}

#[test]
fn without_anybody_who_tells_peers_go_without_names_and_get_them_back() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    peers_are(2);
    let workload = Workload::start("untold").unwrap();
    let talk = Talk::begin(&strata, &workload);
    require!(talk.is_some(), "one node only");
    let talk = talk.unwrap();
    let caller = talk.caller.clone();
    let told = [("peer_workload", "deployment/callee"), ("peer_zone", talk.callee.zone.as_str())];
    let nobody = [("peer_workload", ""), ("scope", "unknown")];
    talk.load_callee();
    talk.awaits(&caller, &told, 0, REQUESTS);
    let unnamed = talk.edge(&caller, &nobody).segments;

    peers_are(0);
    talk.load_callee();
    talk.awaits(&caller, &nobody, unnamed, REQUESTS);
    let metrics = strata.scrape(&caller.node).unwrap();
    let failed = metrics.sum("strata_agent_peer_asks_total", &[("result", "unreachable")])
        + metrics.sum("strata_agent_peer_asks_total", &[("result", "timeout")]);
    assert!(failed > 0.0, "{}", talk.all(&caller));

    peers_are(2);
    let answered = || {
        strata
            .scrape(&caller.node)
            .unwrap()
            .sum("strata_agent_peer_asks_total", &[("result", "ok")])
    };
    let before = answered();
    let now = eventually::settle(SETTLES, answered, |now| *now > before);
    assert!(now > before, "{}", talk.all(&caller));
    let named = talk.edge(&caller, &told).segments;
    talk.load_callee();
    talk.awaits(&caller, &told, named, REQUESTS);
}
