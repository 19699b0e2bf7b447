//! Requests of a namespace's pods as the agents of all nodes count them.
//!
//! Separate because each test asks the same: which names, how many, and no pod
//! twice.

use std::collections::BTreeMap;
use std::time::Duration;

use tests::cluster::{Answers, Strata, Workload};
use tests::eventually;
use tests::metrics_text::Metrics;

/// How long names and counts may take to be there: a pod's series wait up to
/// 30 s for its name.
const SETTLES: Duration = Duration::from_secs(45);

/// Identity of a series, and the node whose agent has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) pod: String,
    pub(crate) container: String,
    pub(crate) workload: String,
    pub(crate) node: String,
}

/// Requests by identity, in one scrape of each agent.
pub(crate) fn requests(strata: &Strata, namespace: &str) -> BTreeMap<Name, u64> {
    let mut found = BTreeMap::new();
    for agent in strata.agents() {
        let metrics = strata.scrape(&agent.node).unwrap();
        for (mut name, count) in requests_in(&metrics, namespace) {
            name.node.clone_from(&agent.node);
            *found.entry(name).or_insert(0) += count;
        }
    }
    found
}

fn requests_in(metrics: &Metrics, namespace: &str) -> Vec<(Name, u64)> {
    let of_namespace = [("namespace", namespace)];
    let samples = metrics.select("http_server_request_duration_seconds_count", &of_namespace);
    let named = samples.map(|sample| {
        let label = |name| sample.label(name).to_owned();
        let name = Name {
            pod: label("pod"),
            container: label("container"),
            workload: label("workload"),
            node: String::new(),
        };
        (name, sample.value as u64)
    });
    named.collect()
}

/// Requests of a namespace's pods. (Of whatever method: those that an agent over
/// its budget samples out are counted without one.)
pub(crate) fn by_pod(metrics: &Metrics, namespace: &str) -> BTreeMap<String, u64> {
    let labels = [("namespace", namespace)];
    let sums = metrics.sum_by("http_server_request_duration_seconds_count", &labels, "pod");
    sums.into_iter().map(|(pod, count)| (pod, count as u64)).collect()
}

/// Waits until the agents have counted exactly what the clients had answered,
/// every pod once, under `container` and `workload`, by its own node's agent.
#[track_caller]
pub(crate) fn assert_counted(
    strata: &Strata,
    workload: &Workload,
    app: &str,
    answers: &[Answers],
    as_workload: &str,
) {
    let mut expected = BTreeMap::new();
    for pod in workload.pods(app).unwrap() {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let count: u64 = answers.iter().filter_map(|answers| answers.by_pod.get(name)).sum();
        if count > 0 {
            let name = Name {
                pod: name.to_owned(),
                container: "server".to_owned(),
                workload: as_workload.to_owned(),
                node: pod["spec"]["nodeName"].as_str().unwrap().to_owned(),
            };
            expected.insert(name, count);
        }
    }
    assert!(!expected.is_empty(), "nobody answered: {answers:?}");
    let of_app = || {
        let mut found = requests(strata, workload.namespace());
        found.retain(|name, _| expected.keys().any(|wanted| wanted.pod == name.pod));
        found
    };
    let found = eventually::settle(SETTLES, of_app, |found| *found == expected);
    assert_eq!(found, expected, "{}", metadata(strata));
}

/// What each agent says of how it comes by names, for who looks at a failure.
pub(crate) fn metadata(strata: &Strata) -> String {
    let mut text = String::new();
    for agent in strata.agents() {
        text.push_str(&format!("\n{}:", agent.node));
        for sample in strata.scrape(&agent.node).unwrap_or_default().samples() {
            let is_told = ["strata_agent_metadata_", "strata_agent_pod"]
                .iter()
                .any(|prefix| sample.name.starts_with(prefix));
            if is_told && sample.value != 0.0 {
                let labels: Vec<_> = sample.labels.values().map(String::as_str).collect();
                text.push_str(&format!(" {}{labels:?} {}", sample.name, sample.value));
            }
        }
    }
    text
}

/// Every series of a pod's uid or of a container's id that is not under a name.
pub(crate) fn nameless(strata: &Strata, uids: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for agent in strata.agents() {
        let metrics = strata.scrape(&agent.node).unwrap();
        let of_pods = metrics.samples().iter().filter(|sample| {
            let workload = sample.label("workload");
            uids.iter().any(|uid| workload == format!("pod/{uid}"))
        });
        found.extend(of_pods.map(|sample| format!("{}: {sample:?}", agent.node)));
    }
    found
}
