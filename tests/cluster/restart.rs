//! A rolling restart of the agents under load: what is lost is what finished
//! between the end of the old agent and the readiness of the new one, and
//! nothing is counted twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tests::cluster::{self, Answers, NAMESPACE, Strata, Workload, kubectl};
use tests::{eventually, require};

use crate::seen::{assert_counted, by_pod};

/// Requests a second to each pod, and how many are sent before the load looks
/// whether it is to go on.
const RATE: u64 = 25;
const CHUNK: u64 = 50;
/// The time of readiness is to the second, and requests are under way when an
/// agent is looked at; with what a busy machine adds.
const SLACK: Duration = Duration::from_secs(3);

/// Within this time a request that is over is counted.
const ENDS: Duration = Duration::from_secs(4);

/// What the old agent of a node said last, and when it was asked.
#[derive(Clone, Debug)]
struct Last {
    asked: SystemTime,
    by_pod: BTreeMap<String, u64>,
}

/// Loads a pod until the end of a test.
fn load(workload: &Workload, url: &str, is_over: &AtomicBool) -> Answers {
    let mut total = Answers::default();
    while !is_over.load(Ordering::Relaxed) {
        let answers = workload.load(url, CHUNK, RATE).unwrap();
        total.sent += answers.sent;
        total.failed += answers.failed;
        for (pod, count) in answers.by_pod {
            *total.by_pod.entry(pod).or_insert(0) += count;
        }
    }
    total
}

/// Asks a node's agent until it is gone.
fn watch(strata: &Strata, node: &str, namespace: &str, is_over: &AtomicBool) -> Option<Last> {
    let mut last = None;
    while !is_over.load(Ordering::Relaxed) {
        let asked = SystemTime::now();
        let Ok(metrics) = strata.scrape(node) else { break };
        last = Some(Last { asked, by_pod: by_pod(&metrics, namespace) });
        std::thread::sleep(Duration::from_millis(100));
    }
    last
}

/// A time as the API server writes it.
fn time(text: &str) -> SystemTime {
    let output = std::process::Command::new("date").args(["-d", text, "+%s"]).output().unwrap();
    let seconds: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_rolling_restart_under_load_loses_its_gap_and_counts_nothing_twice() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("rolling").unwrap();
    workload.serve("Deployment", "api", 2).unwrap();
    let namespace = workload.namespace();
    let pods = workload.pods("api").unwrap();
    let node_of: BTreeMap<_, _> = pods
        .iter()
        .map(|pod| {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"]))
        })
        .collect();
    let urls: Vec<_> = pods.iter().map(|pod| Workload::url(pod).unwrap()).collect();
    // Names are known before it begins.
    let warm: Vec<_> = urls.iter().map(|url| workload.load(url, 50, 100).unwrap()).collect();
    assert_counted(&strata, &workload, "api", &warm, "deployment/api");

    let (load_is_over, watch_is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut fresh, last, sent) = std::thread::scope(|scope| {
        let loads: Vec<_> =
            urls.iter().map(|url| scope.spawn(|| load(&workload, url, &load_is_over))).collect();
        let watches: Vec<_> = strata
            .agents()
            .map(|agent| {
                let (strata, node, is_over) = (&strata, agent.node.clone(), &watch_is_over);
                let watch = scope.spawn({
                    let node = node.clone();
                    move || watch(strata, &node, namespace, is_over)
                });
                (node, watch)
            })
            .collect();
        let restart = ["rollout", "restart", "daemonset/strata", "-n", NAMESPACE];
        let outcome = kubectl(&restart, None).and_then(|_| Strata::at(cluster::MANIFEST));
        // Ended whatever happened, for the scope waits for them.
        watch_is_over.store(true, Ordering::Relaxed);
        // Under the new agents the load goes on for a moment.
        std::thread::sleep(Duration::from_secs(2));
        load_is_over.store(true, Ordering::Relaxed);
        let sent: Vec<_> = loads.into_iter().map(|load| load.join().unwrap()).collect();
        let last: BTreeMap<_, _> = watches
            .into_iter()
            .map(|(node, watch)| (node, watch.join().unwrap().unwrap()))
            .collect();
        (outcome.unwrap(), last, sent)
    });
    for answers in &sent {
        assert_eq!(answers.failed, 0, "the restart of an agent is nothing to a pod: {answers:?}");
    }

    // The last requests of the load end by a sweep, once a second.
    std::thread::sleep(ENDS);
    let after: BTreeMap<_, _> = node_of
        .iter()
        .map(|(pod, node)| {
            let counted = by_pod(&fresh.scrape(node).unwrap(), namespace);
            (pod, counted.get(pod).copied().unwrap_or_default())
        })
        .collect();
    // From readiness on every request is counted, and once.
    let exact: Vec<_> = urls.iter().map(|url| workload.load(url, 100, 100).unwrap()).collect();
    for (pod, node) in &node_of {
        let answered: u64 = exact.iter().filter_map(|answers| answers.by_pod.get(pod)).sum();
        let wanted = Some(after[pod] + answered);
        let count = || by_pod(&fresh.scrape(node).unwrap(), namespace).get(pod).copied();
        let limit = Duration::from_secs(45);
        assert_eq!(eventually::settle(limit, count, |count| *count == wanted), wanted, "{pod}");
    }
    fresh.find_agents().unwrap();
    for (pod, node) in &node_of {
        let answered = |of: &[Answers]| -> u64 {
            of.iter().filter_map(|answers| answers.by_pod.get(pod)).sum()
        };
        let answered = answered(&warm) + answered(&sent);
        let old = &last[node];
        let before = old.by_pod.get(pod).copied().unwrap_or_default();
        let after = after[pod];
        let agent = fresh.agents().find(|agent| agent.node == *node).unwrap();
        let gap = time(&agent.ready_since).duration_since(old.asked).unwrap_or_default();
        let counted = before + after;
        let lost = answered.saturating_sub(counted);
        println!(
            "{pod} on {node}: {answered} answered, {before} + {after} counted, {lost} lost ({:.1} s \
             of the load) in a gap of {:.1} s",
            lost as f64 / RATE as f64,
            gap.as_secs_f64()
        );
        assert!(before > 0 && after > 0, "{pod} on {node}");
        assert!(counted <= answered, "{pod} on {node}: {counted} of {answered}");
        let most = (gap + SLACK).as_secs_f64() * RATE as f64;
        assert!(lost as f64 <= most, "{pod} on {node}: {lost} lost, of at most {most}");
    }
}
