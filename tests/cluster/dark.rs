//! Agents that nobody tells the names of pods from their start on: they
//! measure under other labels, say so, and name what comes later. No container
//! is ever under two identities.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tests::cluster::{
    self, AgentPod, Answers, ApiServer, NAMESPACE, Strata, Workload, kubectl, process_of,
};
use tests::metrics_text::Metrics;
use tests::{eventually, http, require, sys};

use crate::seen::{assert_counted, metadata};

/// Requests to each pod.
const REQUESTS: u64 = 60;
/// Series wait 30 s for a name.
const UNNAMED: Duration = Duration::from_secs(75);
/// The longest pause between two tries is 16 s.
const RESUMES: Duration = Duration::from_secs(90);

/// Loads every pod of an app by its own address: a service's may take its time
/// to lead anywhere after the API server was away.
fn load_each(workload: &Workload, app: &str) -> Vec<Answers> {
    let pods = workload.pods(app).unwrap();
    let answers = pods.iter().map(|pod| {
        let answers = workload.load(&Workload::url(pod).unwrap(), REQUESTS, 60).unwrap();
        assert_eq!(answers.failed, 0, "{answers:?}");
        answers
    });
    answers.collect()
}

/// Waits until the agents were told of an app's pods: their probes are counted
/// under their names, if not as requests. An API server that has just come back
/// may take some seconds to tell, and a pod that it does not tell of is taken
/// for another node's.
#[track_caller]
fn await_told(strata: &Strata, workload: &Workload, app: &str) {
    for pod in workload.pods(app).unwrap() {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let node = pod["spec"]["nodeName"].as_str().unwrap();
        let of_pod = [("namespace", workload.namespace()), ("pod", name)];
        let count =
            || strata.scrape(node).unwrap().select("strata_requests_total", &of_pod).count();
        let series = eventually::settle(RESUMES, count, |count| *count > 0);
        assert!(series > 0, "{name} on {node}:{}", metadata(strata));
    }
}

/// Uid and name of a pod.
fn ids(pods: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pair = |pod: &Value| (text(&pod["metadata"]["uid"]), text(&pod["metadata"]["name"]));
    pods.iter().map(pair).collect()
}

/// Requests of pods that are known by their uid only.
fn unjoined(metrics: &Metrics, ids: &[(String, String)]) -> BTreeMap<String, u64> {
    let sums = metrics.sum_by("http_server_request_duration_seconds_count", &[], "workload");
    let of = |uid: &str| sums.get(&format!("pod/{uid}")).map(|count| *count as u64);
    ids.iter().filter_map(|(uid, _)| Some((uid.clone(), of(uid)?))).collect()
}

/// Fails if a pod is both under its uid and under its name, in any series.
#[track_caller]
fn assert_one_identity(metrics: &Metrics, ids: &[(String, String)]) {
    for (uid, name) in ids {
        let by_uid =
            metrics.samples().iter().filter(|it| it.label("workload") == format!("pod/{uid}"));
        let by_name = metrics.samples().iter().filter(|it| it.label("pod") == name);
        let (by_uid, by_name) = (by_uid.count(), by_name.count());
        assert!(by_uid == 0 || by_name == 0, "{name}: {by_uid} by uid, {by_name} by name");
    }
}

fn state(metrics: &Metrics) -> String {
    let states = metrics.select("strata_agent_metadata_state", &[]);
    let now: Vec<_> = states.filter(|sample| sample.value == 1.0).collect();
    now.first().map_or("", |sample| sample.label("state")).to_owned()
}

/// The agents' binding, away until the drop.
struct Unbound(Value);

impl Unbound {
    fn new() -> Self {
        let binding = cluster::kubectl_json(&["get", "clusterrolebinding", NAMESPACE]).unwrap();
        let mut binding = binding;
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            binding["metadata"].as_object_mut().unwrap().remove(field);
        }
        kubectl(&["delete", "clusterrolebinding", NAMESPACE], None).unwrap();
        Self(binding)
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = kubectl(&["apply", "-f", "-"], Some(&self.0.to_string()));
    }
}

#[test]
fn agents_without_rights_measure_unnamed_and_name_what_comes_once_they_have_them() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let mut strata = Strata::installed().unwrap();
    let workload = Workload::start("refused").unwrap();
    workload.serve("Deployment", "api", 2).unwrap();
    let pods = workload.pods("api").unwrap();
    let known = ids(&pods);
    let unbound = Unbound::new();
    let restart = ["rollout", "restart", "daemonset/strata", "-n", NAMESPACE];
    kubectl(&restart, None).unwrap();
    // Ready without names.
    strata.find_agents().unwrap();
    load_each(&workload, "api");
    let node_of = |uid: &str| -> String {
        let pod = pods.iter().find(|pod| pod["metadata"]["uid"] == uid).unwrap();
        pod["spec"]["nodeName"].as_str().unwrap().to_owned()
    };
    let expect_unjoined = |strata: &Strata, expected: u64| {
        for (uid, _) in &known {
            let node = node_of(uid);
            let count = || unjoined(&strata.scrape(&node).unwrap(), &known).get(uid).copied();
            let found = eventually::settle(UNNAMED, count, |count| *count == Some(expected));
            assert_eq!(found, Some(expected), "{uid} on {node}");
        }
    };
    expect_unjoined(&strata, REQUESTS);
    for agent in strata.agents() {
        let metrics = strata.scrape(&agent.node).unwrap();
        assert_eq!(state(&metrics), "failing", "{agent:?}");
        let refused = metrics.sum("strata_agent_metadata_errors_total", &[("reason", "forbidden")]);
        assert!(refused > 0.0, "{agent:?}");
        assert_one_identity(&metrics, &known);
    }

    drop(unbound);
    for agent in strata.agents() {
        let now = || state(&strata.scrape(&agent.node).unwrap());
        let found = eventually::settle(RESUMES, now, |state| state == "watching");
        assert_eq!(found, "watching", "{agent:?}");
    }
    // What comes now has its name; what was shown without one stays that.
    workload.serve("Deployment", "later", 2).unwrap();
    await_told(&strata, &workload, "later");
    let later = load_each(&workload, "later");
    assert_counted(&strata, &workload, "later", &later, "deployment/later");
    load_each(&workload, "api");
    expect_unjoined(&strata, 2 * REQUESTS);
    for agent in strata.agents() {
        assert_one_identity(&strata.scrape(&agent.node).unwrap(), &known);
    }
}

/// The agent's metrics without the API server in between: for that there must
/// be a way to its pod's address.
fn scrape(ip: &str) -> anyhow::Result<Metrics> {
    let response = http::get(format!("{ip}:{}", cluster::MANIFEST.port).parse()?, "/metrics")?;
    Metrics::parse(&response.text())
}

fn addresses(strata: &Strata) -> BTreeMap<String, String> {
    let ip = |agent: &AgentPod| {
        let pod = cluster::kubectl_json(&["get", "pod", &agent.pod, "-n", NAMESPACE]).unwrap();
        pod["status"]["podIP"].as_str().unwrap().to_owned()
    };
    strata.agents().map(|agent| (agent.node.clone(), ip(agent))).collect()
}

#[test]
fn agents_that_start_while_the_api_server_is_down_measure_and_name_what_comes_later() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    require!(ApiServer::can_be_stopped(), "the API server of this cluster is not ours to stop");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("unlit").unwrap();
    workload.serve("Deployment", "api", 2).unwrap();
    let pods = workload.pods("api").unwrap();
    let known = ids(&pods);
    let addresses = addresses(&strata);
    let processes: Vec<u32> =
        strata.agents().map(|agent| process_of(agent).expect("an agent of this machine")).collect();

    let api_server = ApiServer::stop().unwrap();
    for pid in processes {
        sys::send_signal(pid, libc::SIGKILL).unwrap();
    }
    // The kubelet starts them again without asking anybody.
    for (node, ip) in &addresses {
        let is_back = || scrape(ip).is_ok_and(|metrics| state(&metrics) == "failing");
        let found = eventually::settle(Duration::from_secs(120), is_back, |is_back| *is_back);
        assert!(found, "the agent of {node} is not back");
    }
    let ask = |pod: &Value| {
        let ip = pod["status"]["podIP"].as_str().unwrap();
        for _ in 0..REQUESTS {
            let response = http::get(format!("{ip}:8080").parse().unwrap(), "/").unwrap();
            assert_eq!(response.status, 200);
        }
    };
    let expect = |expected: u64| {
        for pod in &pods {
            let uid = pod["metadata"]["uid"].as_str().unwrap();
            let ip = &addresses[pod["spec"]["nodeName"].as_str().unwrap()];
            let count = || unjoined(&scrape(ip).unwrap_or_default(), &known).get(uid).copied();
            let found = eventually::settle(UNNAMED, count, |count| *count == Some(expected));
            assert_eq!(found, Some(expected), "{uid}");
        }
    };
    pods.iter().for_each(ask);
    expect(REQUESTS);
    for (node, ip) in &addresses {
        let metrics = scrape(ip).unwrap();
        let errors =
            metrics.sum("strata_agent_metadata_errors_total", &[("reason", "unreachable")]);
        assert!(errors > 0.0, "{node}");
    }

    api_server.start().unwrap();
    for (node, ip) in &addresses {
        let now = || scrape(ip).map_or_else(|error| error.to_string(), |metrics| state(&metrics));
        let found = eventually::settle(RESUMES, now, |state| state == "watching");
        assert_eq!(found, "watching", "{node}");
    }
    // Forwarded ports went with the API server.
    let strata = Strata::installed().unwrap();
    workload.serve("Deployment", "later", 2).unwrap();
    await_told(&strata, &workload, "later");
    let later = load_each(&workload, "later");
    assert_counted(&strata, &workload, "later", &later, "deployment/later");
    pods.iter().for_each(ask);
    expect(2 * REQUESTS);
    for agent in strata.agents() {
        assert_one_identity(&strata.scrape(&agent.node).unwrap(), &known);
    }
}
