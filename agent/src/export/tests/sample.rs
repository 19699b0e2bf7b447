//! Snapshots for the tests of the formats: one small, one of any size.
//!
//! Separate because every format is tested on the same values.

use crate::{
    aggregate::{
        histogram::HistogramValue,
        labels::{Identity, LabelSet},
        snapshot::{Snapshot, Value},
    },
    metrics::{Classic, IDENTITY, Metric, MetricKind, agent, workload},
};
use agent_common::histogram::{CLASSIC_BUCKETS, Histogram, classic_index};
use std::sync::Arc;

/// A histogram of these values, with classic buckets where `metric` has them.
pub(in crate::export) fn histogram(metric: &Metric, values_ns: &[u64]) -> Value {
    let MetricKind::Histogram { edges_ns, classic } = metric.kind else {
        panic!("{} is no histogram", metric.name)
    };
    let mut durations = Histogram::new();
    let mut buckets = [0; CLASSIC_BUCKETS];
    for value in values_ns {
        durations.observe(*value);
        buckets[classic_index(*value, edges_ns)] += 1;
    }
    let classic = (classic == Classic::Always).then_some(buckets);
    Value::Histogram(Arc::new(HistogramValue { durations, classic, exemplars: None }))
}

/// One series of each kind.
pub(in crate::export) fn small() -> Snapshot {
    let identity = Identity::new("shop", "api-1", "api", "deployment/api");
    let mut snapshot = Snapshot::new(1_700_000_000_000_000_000);
    let mut push = |metric: &'static Metric, values: &[&str], value: Value| {
        let identity = metric.has_identity.then_some(&identity);
        snapshot.family(metric).push(LabelSet::new(metric, identity, values), value);
    };
    push(&workload::REQUESTS, &["exported"], Value::Counter(7.0));
    push(&workload::OFF_CPU, &["lock"], Value::Counter(1.25));
    let runqueue = histogram(&workload::RUNQUEUE_LATENCY, &[5_000, 60_000, 2_000_000_000]);
    push(&workload::RUNQUEUE_LATENCY, &[], runqueue);
    push(&workload::TCP_RTT, &["loopback"], histogram(&workload::TCP_RTT, &[40_000, 41_000]));
    push(&agent::QUEUE_DEPTH, &[], Value::Gauge(3.0));
    snapshot
}

/// `containers` containers that use their whole share of every metric.
pub(in crate::export) fn full(containers: u32) -> Snapshot {
    let mut snapshot = Snapshot::new(1_700_000_000_000_000_000);
    for container in 0..containers {
        let identity = Identity::new(
            &format!("team-{}", container % 20),
            &format!("service-{container}-7c9f8b6d5-x{container:04}"),
            "api",
            &format!("deployment/service-{container}"),
        );
        for metric in workload::ALL {
            for set in 0..metric.share / metric.series_per_label_set() {
                let values: Vec<String> =
                    metric.labels.iter().map(|label| format!("{label}_{set}")).collect();
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                let labels = LabelSet::new(metric, Some(&identity), &values);
                snapshot
                    .family(metric)
                    .push(labels, value_of(metric, u64::from(container * 7 + set)));
            }
        }
    }
    snapshot
}

fn value_of(metric: &Metric, seed: u64) -> Value {
    match metric.kind {
        MetricKind::Counter if metric.unit == "seconds" => {
            Value::Counter((seed * 123_456_789) as f64 / 1e9)
        }
        MetricKind::Counter => Value::Counter((seed * 1_234_567) as f64),
        MetricKind::Gauge => Value::Gauge(1.0),
        MetricKind::Histogram { .. } => {
            // About forty native buckets in use, as a busy service has.
            let values: Vec<u64> =
                (0..400).map(|i| 50_000 + (i * i * (seed % 13 + 1)) * 40).collect();
            histogram(metric, &values)
        }
    }
}

/// Names of all labels that a series of `metric` may have.
pub(in crate::export) fn label_names(metric: &Metric) -> Vec<&'static str> {
    let identity = if metric.has_identity { IDENTITY.as_slice() } else { &[] };
    identity.iter().chain(metric.labels).copied().collect()
}
