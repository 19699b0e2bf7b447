//! A snapshot's series, gathered by workload. Pure.

use std::collections::BTreeMap;

use agent_common::histogram::BUCKETS;

use super::{AgentState, Durations, Edge, Lane, Outcomes, Requests, Workload, Workloads};
use crate::aggregate::labels::LabelSet;
use crate::aggregate::snapshot::{Family, Series, Snapshot, Value};
use crate::metrics::{Metric, agent, workload};

/// Series of one workload, still apart.
#[derive(Default)]
struct Gathered {
    row: Workload,
    requests: BTreeMap<(String, String), (u64, u64)>,
    duration: Sum,
    runqueue: Sum,
    edges: BTreeMap<[String; 4], Edge>,
}

/// Histograms, added up.
struct Sum {
    sum_ns: u64,
    buckets: Box<[u64; BUCKETS]>,
}

impl Default for Sum {
    fn default() -> Self {
        Self { sum_ns: 0, buckets: Box::new([0; BUCKETS]) }
    }
}

impl Sum {
    /// Adds a histogram; gives the number of its values.
    fn add(&mut self, value: &Value) -> u64 {
        let Value::Histogram(value) = value else { return 0 };
        self.sum_ns = self.sum_ns.wrapping_add(value.durations.sum_ns);
        let mut count = 0;
        for (mine, theirs) in self.buckets.iter_mut().zip(value.durations.buckets) {
            *mine += theirs;
            count += theirs;
        }
        count
    }

    fn durations(&self) -> Durations {
        let buckets = (0u16..).zip(self.buckets.iter().copied()).filter(|(_, count)| *count > 0);
        Durations { sum_ns: self.sum_ns, buckets: buckets.collect() }
    }
}

/// Every workload of a snapshot, and the agent's own state.
#[must_use]
pub fn workloads(snapshot: &Snapshot) -> Workloads {
    let mut rows: BTreeMap<[&str; 4], Gathered> = BTreeMap::new();
    let mut state = AgentState { pid: std::process::id(), ..AgentState::default() };
    for family in snapshot.families() {
        for series in family.series() {
            if family.metric().has_identity {
                let gathered = rows.entry(identity(&series.labels)).or_default();
                take_workload(family.metric(), series, gathered);
            }
        }
        take_agent(family, &mut state);
    }
    let finished = rows.into_iter().map(|(names, gathered)| finish(names, gathered));
    Workloads { taken_unix_ns: snapshot.taken_unix_ns, agent: state, workloads: finished.collect() }
}

fn finish(names: [&str; 4], gathered: Gathered) -> Workload {
    let [namespace, pod, container, workload] = names.map(str::to_owned);
    let requests = gathered
        .requests
        .into_iter()
        .map(|((protocol, class), (count, errors))| Requests { protocol, class, count, errors });
    Workload {
        namespace,
        pod,
        container,
        workload,
        requests: requests.collect(),
        duration: gathered.duration.durations(),
        runqueue: gathered.runqueue.durations(),
        edges: gathered.edges.into_values().collect(),
        ..gathered.row
    }
}

fn take_workload(metric: &'static Metric, series: &Series, to: &mut Gathered) {
    let is = |other: &'static Metric| std::ptr::eq(metric, other);
    let labels = &series.labels;
    if is(&workload::HTTP_SERVER_REQUEST_DURATION) {
        let class = class(label(labels, "http_response_status_code"));
        let has_failed = !label(labels, "error_type").is_empty();
        let count = to.duration.add(&series.value);
        let sums = to.requests.entry(("http".to_owned(), class)).or_default();
        sums.0 += count;
        sums.1 += if has_failed { count } else { 0 };
    } else if is(&workload::TURN_DURATION) {
        let count = to.duration.add(&series.value);
        let protocol = label(labels, "protocol").to_owned();
        to.requests.entry((protocol, String::new())).or_default().0 += count;
    } else if is(&workload::REQUESTS) {
        let count = count(&series.value);
        let outcomes = &mut to.row.outcomes;
        add_outcome(outcomes, label(labels, "outcome"), count);
    } else if is(&workload::REQUEST_PART) {
        add_part(&mut to.row.parts, series);
    } else if is(&workload::SLOW_REQUEST_PART) {
        add_part(&mut to.row.slow_parts, series);
    } else if is(&workload::SLOW_REQUESTS) {
        to.row.slow_requests += count(&series.value);
    } else if is(&workload::RUNQUEUE_LATENCY) {
        to.runqueue.add(&series.value);
    } else if is(&workload::CPU_THROTTLED) {
        to.row.throttled_ns += nanoseconds(&series.value);
    } else if is(&workload::TCP_RETRANSMITS) {
        to.row.retransmits += count(&series.value);
    } else if is(&workload::TCP_SEGMENTS_SENT) {
        to.row.segments_sent += count(&series.value);
    } else if is(&workload::CONTAINER_INFO) {
        to.row.container_id = label(labels, "container_id").to_owned();
    } else if metric.labels.starts_with(&EDGE_LABELS) {
        take_edge(metric, series, &mut to.edges);
    }
}

/// Labels that every metric of an edge begins with.
const EDGE_LABELS: [&str; 4] = ["peer_namespace", "peer_workload", "peer_zone", "scope"];

fn take_edge(metric: &'static Metric, series: &Series, edges: &mut BTreeMap<[String; 4], Edge>) {
    let is = |other: &'static Metric| std::ptr::eq(metric, other);
    let labels = &series.labels;
    let names = EDGE_LABELS.map(|name| label(labels, name).to_owned());
    let edge = edges.entry(names.clone()).or_insert_with(|| {
        let [peer_namespace, peer_workload, peer_zone, scope] = names;
        Edge { peer_namespace, peer_workload, peer_zone, scope, ..Edge::default() }
    });
    let durations = || {
        let mut sum = Sum::default();
        sum.add(&series.value);
        sum.durations()
    };
    if is(&workload::EDGE_RTT) {
        edge.rtt = durations();
    } else if is(&workload::EDGE_JITTER) {
        edge.jitter = durations();
    } else if is(&workload::EDGE_SEGMENTS_SENT) {
        edge.segments_sent += count(&series.value);
    } else if is(&workload::EDGE_RETRANSMITS) {
        edge.retransmits += count(&series.value);
    } else if is(&workload::EDGE_RESETS) {
        edge.resets += count(&series.value);
    } else if is(&workload::EDGE_CONNECTS) {
        edge.connects += count(&series.value);
        if label(labels, "result") != "ok" {
            edge.connects_failed += count(&series.value);
        }
    } else if is(&workload::EDGE_SEGMENTS_OUT_OF_ORDER) {
        *edge.out_of_order.get_or_insert(0) += count(&series.value);
    } else if is(&workload::EDGE_ZERO_WINDOW_STALLS) {
        edge.zero_window_stalls += count(&series.value);
    } else if is(&workload::EDGE_ZERO_WINDOW_TIME) {
        edge.zero_window_ns += nanoseconds(&series.value);
    }
}

fn add_part(parts: &mut BTreeMap<String, u64>, series: &Series) {
    let ns = nanoseconds(&series.value);
    if ns > 0 {
        let labels = &series.labels;
        let name = format!("{}.{}", label(labels, "layer"), label(labels, "part"));
        *parts.entry(name).or_insert(0) += ns;
    }
}

fn add_outcome(outcomes: &mut Outcomes, name: &str, count: u64) {
    let place = match name {
        "exported" => &mut outcomes.exported,
        "sampled" => &mut outcomes.sampled,
        "filtered" => &mut outcomes.filtered,
        "dropped" => &mut outcomes.dropped,
        "lost" => &mut outcomes.lost,
        _ => return,
    };
    *place += count;
}

fn take_agent(family: &Family, state: &mut AgentState) {
    let metric = family.metric();
    let is = |other: &'static Metric| std::ptr::eq(metric, other);
    let Some(first) = family.series().first() else { return };
    if is(&agent::LANE_STATE) {
        let current = family.series().iter().filter(|series| count(&series.value) == 1);
        state.lanes = current
            .map(|series| Lane {
                lane: label(&series.labels, "lane").to_owned(),
                state: label(&series.labels, "state").to_owned(),
            })
            .collect();
    } else if is(&agent::BUILD_INFO) {
        state.version = label(&first.labels, "version").to_owned();
        state.kernel = label(&first.labels, "kernel").to_owned();
    } else if is(&agent::START_TIME) {
        state.started_unix_ns = nanoseconds(&first.value);
    } else if is(&agent::CPU_SECONDS) {
        state.cpu_ns = nanoseconds(&first.value);
    } else if is(&agent::RESIDENT_MEMORY) {
        state.resident_bytes = count(&first.value);
    }
}

/// The identity labels come first, and always all four.
fn identity(labels: &LabelSet) -> [&str; 4] {
    let mut names = [""; 4];
    for (name, (_, value)) in names.iter_mut().zip(labels.iter()) {
        *name = value;
    }
    names
}

fn label<'a>(labels: &'a LabelSet, name: &str) -> &'a str {
    labels.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

/// `2xx` of `204`.
fn class(status: &str) -> String {
    status.chars().next().map(|first| format!("{first}xx")).unwrap_or_default()
}

fn count(value: &Value) -> u64 {
    match value {
        // Whole numbers below 2^53, which a float holds exactly.
        Value::Counter(value) | Value::Gauge(value) => value.round() as u64,
        Value::Nanoseconds(_) | Value::Histogram(_) => 0,
    }
}

fn nanoseconds(value: &Value) -> u64 {
    match value {
        Value::Counter(seconds) | Value::Gauge(seconds) => (seconds * 1e9).round() as u64,
        Value::Nanoseconds(ns) => *ns,
        Value::Histogram(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::labels::Identity;
    use crate::export::tests::sample;

    /// A snapshot of two workloads that have something of everything.
    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::new(5_000_000_000);
        for (pod, factor) in [("api-1", 1), ("api-2", 10)] {
            let identity = Identity::new("shop", pod, "api", "deployment/api");
            let mut push = |metric: &'static Metric, values: &[&str], value: Value| {
                let labels = LabelSet::new(metric, Some(&identity), values);
                snapshot.family(metric).push(labels, value);
            };
            for (status, error, values) in [
                ("200", "", [1_000_000u64; 3].as_slice()),
                ("204", "", &[2_000_000]),
                ("503", "503", &[3_000_000; 2]),
                ("", "client_disconnected", &[4_000_000]),
            ] {
                let value = sample::histogram(&workload::HTTP_SERVER_REQUEST_DURATION, values);
                let labels = ["GET", status, "http", error, ""];
                push(&workload::HTTP_SERVER_REQUEST_DURATION, &labels, value);
            }
            let turns = sample::histogram(&workload::TURN_DURATION, &[100_000; 5]);
            push(&workload::TURN_DURATION, &["redis", "6379"], turns);
            for (outcome, count) in
                [("exported", 12.0), ("sampled", 2.0), ("filtered", 3.0), ("lost", 4.0)]
            {
                push(&workload::REQUESTS, &[outcome], Value::Counter(count * f64::from(factor)));
            }
            let waits = sample::histogram(&workload::RUNQUEUE_LATENCY, &[50_000]);
            push(&workload::RUNQUEUE_LATENCY, &[], waits);
            for (protocol, ns) in [("http", 7), ("tcp", 5)] {
                let labels = [protocol, "downstream", "wait"];
                push(&workload::REQUEST_PART, &labels, Value::Nanoseconds(ns));
                push(&workload::REQUEST_PART, &[protocol, "os", "disk"], Value::Nanoseconds(0));
            }
            push(&workload::SLOW_REQUEST_PART, &["os", "disk"], Value::Nanoseconds(3));
            push(&workload::SLOW_REQUESTS, &[], Value::Counter(2.0));
            push(&workload::CPU_THROTTLED, &[], Value::Counter(0.25));
            push(&workload::TCP_RETRANSMITS, &["loopback", "data"], Value::Counter(6.0));
            push(&workload::TCP_RETRANSMITS, &["unknown", "syn"], Value::Counter(1.0));
            push(&workload::TCP_SEGMENTS_SENT, &["loopback"], Value::Counter(900.0));
            push(&workload::CONTAINER_INFO, &["abc", "", ""], Value::Gauge(1.0));
            let peer = ["shop", "deployment/db", "", "node"];
            let with = |more| [peer.as_slice(), &[more]].concat();
            push(&workload::EDGE_SEGMENTS_SENT, &peer, Value::Counter(40.0));
            push(&workload::EDGE_RETRANSMITS, &with("data"), Value::Counter(2.0));
            push(&workload::EDGE_RETRANSMITS, &with("syn"), Value::Counter(1.0));
            push(&workload::EDGE_CONNECTS, &with("ok"), Value::Counter(5.0));
            push(&workload::EDGE_CONNECTS, &with("refused"), Value::Counter(3.0));
            let trips = sample::histogram(&workload::EDGE_RTT, &[2_000_000; 4]);
            push(&workload::EDGE_RTT, &peer, trips);
            push(&workload::EDGE_ZERO_WINDOW_STALLS, &peer, Value::Counter(1.0));
            push(&workload::EDGE_ZERO_WINDOW_TIME, &peer, Value::Counter(2.5));
        }
        let mut push = |metric: &'static Metric, values: &[&str], value: Value| {
            snapshot.family(metric).push(LabelSet::new(metric, None, values), value);
        };
        for (state, value) in [("works", 0.0), ("degraded", 1.0)] {
            push(&agent::LANE_STATE, &["cpu", state], Value::Gauge(value));
        }
        push(&agent::BUILD_INFO, &["0.1.0", "r", "6.18.0"], Value::Gauge(1.0));
        push(&agent::START_TIME, &[], Value::Gauge(2.0));
        push(&agent::CPU_SECONDS, &[], Value::Counter(1.5));
        push(&agent::RESIDENT_MEMORY, &[], Value::Gauge(4096.0));
        snapshot
    }

    #[test]
    fn series_become_rows_by_identity() {
        let all = workloads(&snapshot());
        assert_eq!(all.taken_unix_ns, 5_000_000_000);
        let [one, two] = all.workloads.as_slice() else { panic!("{:?}", all.workloads) };
        assert_eq!((one.pod.as_str(), two.pod.as_str()), ("api-1", "api-2"));
        assert_eq!((one.namespace.as_str(), one.workload.as_str()), ("shop", "deployment/api"));
        assert_eq!(one.container_id, "abc");
        let outcomes = Outcomes { exported: 12, sampled: 2, filtered: 3, dropped: 0, lost: 4 };
        assert_eq!((one.outcomes, two.outcomes.lost), (outcomes, 40));
        assert_eq!((one.throttled_ns, one.retransmits), (250_000_000, 7));
        assert_eq!(one.segments_sent, 900);
        assert_eq!(one.runqueue.sum_ns, 50_000);
        let [edge] = one.edges.as_slice() else { panic!("{:?}", one.edges) };
        assert_eq!((edge.peer_workload.as_str(), edge.scope.as_str()), ("deployment/db", "node"));
        assert_eq!((edge.segments_sent, edge.retransmits), (40, 3));
        assert_eq!((edge.connects, edge.connects_failed), (8, 3));
        assert_eq!((edge.zero_window_stalls, edge.zero_window_ns), (1, 2_500_000_000));
        assert_eq!(edge.out_of_order, None, "not known, which is not zero");
        assert_eq!((edge.rtt.sum_ns, edge.jitter.sum_ns), (8_000_000, 0));
    }

    #[test]
    fn requests_are_summed_by_protocol_and_class() {
        let all = workloads(&snapshot());
        let requests: Vec<_> = all.workloads[0]
            .requests
            .iter()
            .map(|sum| (sum.protocol.as_str(), sum.class.as_str(), sum.count, sum.errors))
            .collect();
        assert_eq!(
            requests,
            [("http", "", 1, 1), ("http", "2xx", 4, 0), ("http", "5xx", 2, 2), ("redis", "", 5, 0)]
        );
        let durations = &all.workloads[0].duration;
        assert_eq!(durations.buckets.iter().map(|(_, count)| count).sum::<u64>(), 12);
        assert!(durations.buckets.is_sorted());
        assert_eq!(durations.sum_ns, 3_000_000 + 2_000_000 + 6_000_000 + 4_000_000 + 500_000);
    }

    #[test]
    fn the_agent_says_how_it_is() {
        let state = workloads(&snapshot()).agent;
        assert_eq!((state.version.as_str(), state.kernel.as_str()), ("0.1.0", "6.18.0"));
        assert_eq!((state.started_unix_ns, state.cpu_ns), (2_000_000_000, 1_500_000_000));
        assert_eq!((state.resident_bytes, state.pid), (4096, std::process::id()));
        let lanes: Vec<_> =
            state.lanes.iter().map(|lane| (lane.lane.as_str(), lane.state.as_str())).collect();
        assert_eq!(lanes, [("cpu", "degraded")]);
    }

    #[test]
    fn a_full_node_makes_a_line_within_the_bound_and_it_is_read_back() {
        let all = workloads(&sample::full(512));
        assert_eq!(all.workloads.len(), 512);
        let answer = super::super::Answer { version: 1, error: None, workloads: Some(all.clone()) };
        let line = answer.line();
        assert!(line.len() < crate::admin::socket::MAX_ANSWER_BYTES, "{} bytes", line.len());
        let read: super::super::Answer = serde_json::from_slice(&line).unwrap();
        assert_eq!(read.workloads, Some(all));
    }
}
