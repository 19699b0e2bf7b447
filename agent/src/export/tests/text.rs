//! Text, byte by byte on small values and by parsing on hostile ones.

use super::{
    parser::{Parsed, parse},
    sample,
};
use crate::{
    aggregate::{
        labels::{Identity, LabelSet},
        snapshot::{Snapshot, Value},
    },
    export::{Detail, encode, negotiate::Format},
    metrics::{agent, workload},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, io::Read as _, sync::Arc};

fn text(snapshot: Snapshot, format: Format, detail: Detail) -> String {
    String::from_utf8(encode(&[Arc::new(snapshot)], format, detail, false).unwrap()).unwrap()
}

const PROMETHEUS: &str = r#"# HELP strata_requests_total Finished requests by what became of their records; the outcomes sum up to all requests.
# TYPE strata_requests_total counter
strata_requests_total{ID,outcome="exported"} 7
# HELP strata_off_cpu_seconds_total Time that threads were off the CPU by reason; idle threads are not counted.
# TYPE strata_off_cpu_seconds_total counter
strata_off_cpu_seconds_total{ID,reason="lock"} 1.25
# HELP strata_runqueue_latency_seconds Time that threads were ready to run and waited for a CPU, throttled time left out.
# TYPE strata_runqueue_latency_seconds histogram
strata_runqueue_latency_seconds_bucket{ID,le="1e-05"} 1
strata_runqueue_latency_seconds_bucket{ID,le="2.5e-05"} 1
strata_runqueue_latency_seconds_bucket{ID,le="5e-05"} 1
strata_runqueue_latency_seconds_bucket{ID,le="0.0001"} 2
strata_runqueue_latency_seconds_bucket{ID,le="0.00025"} 2
strata_runqueue_latency_seconds_bucket{ID,le="0.0005"} 2
strata_runqueue_latency_seconds_bucket{ID,le="0.001"} 2
strata_runqueue_latency_seconds_bucket{ID,le="0.005"} 2
strata_runqueue_latency_seconds_bucket{ID,le="0.01"} 2
strata_runqueue_latency_seconds_bucket{ID,le="0.05"} 2
strata_runqueue_latency_seconds_bucket{ID,le="0.1"} 2
strata_runqueue_latency_seconds_bucket{ID,le="1"} 2
strata_runqueue_latency_seconds_bucket{ID,le="+Inf"} 3
strata_runqueue_latency_seconds_sum{ID} 2.000065000
strata_runqueue_latency_seconds_count{ID} 3
# HELP strata_tcp_rtt_seconds Smoothed round-trip time of TCP connections, at most one sample per connection and round trip.
# TYPE strata_tcp_rtt_seconds summary
strata_tcp_rtt_seconds_sum{ID,scope="loopback"} 0.000081000
strata_tcp_rtt_seconds_count{ID,scope="loopback"} 2
# HELP strata_agent_queue_depth Inputs that wait in the queue between reader and worker.
# TYPE strata_agent_queue_depth gauge
strata_agent_queue_depth 3
"#;

fn expected_prometheus() -> String {
    PROMETHEUS
        .replace("ID", r#"namespace="shop",pod="api-1",container="api",workload="deployment/api""#)
}

#[test]
fn prometheus_text_is_this() {
    assert_eq!(text(sample::small(), Format::Text, Detail::Normal), expected_prometheus());
}

#[test]
fn openmetrics_differs_in_family_names_units_bounds_and_its_end() {
    let expected = expected_prometheus()
        .replace("# HELP strata_requests_total ", "# HELP strata_requests ")
        .replace("# TYPE strata_requests_total ", "# TYPE strata_requests ")
        .replace("# HELP strata_off_cpu_seconds_total ", "# HELP strata_off_cpu_seconds ")
        .replace(
            "# TYPE strata_off_cpu_seconds_total counter\n",
            "# TYPE strata_off_cpu_seconds counter\n# UNIT strata_off_cpu_seconds seconds\n",
        )
        .replace(
            "latency_seconds histogram\n",
            "latency_seconds histogram\n# UNIT strata_runqueue_latency_seconds seconds\n",
        )
        .replace(
            "rtt_seconds summary\n",
            "rtt_seconds summary\n# UNIT strata_tcp_rtt_seconds seconds\n",
        )
        .replace("le=\"1\"", "le=\"1.0\"")
        + "# EOF\n";
    assert_eq!(text(sample::small(), Format::OpenMetrics1, Detail::Normal), expected);
    assert_eq!(text(sample::small(), Format::OpenMetrics0, Detail::Normal), expected);
}

#[test]
fn full_detail_gives_buckets_to_every_histogram() {
    let families = parse(&text(sample::small(), Format::Text, Detail::Full), false);
    let rtt = &families["strata_tcp_rtt_seconds"];
    assert_eq!(rtt.kind, "histogram");
    let counts: Vec<_> = rtt.samples.iter().take(13).map(|sample| sample.number()).collect();
    assert_eq!(counts[..2], [0.0, 0.0]);
    assert_eq!(counts[2..], [2.0; 11]);
}

#[test]
fn an_empty_snapshot_is_valid_and_gzip_is_the_same_text() {
    assert_eq!(text(Snapshot::new(0), Format::Text, Detail::Normal), "");
    assert_eq!(text(Snapshot::new(0), Format::OpenMetrics1, Detail::Normal), "# EOF\n");
    // Larger than the writer's buffer.
    let snapshot = Arc::new(sample::full(20));
    let plain = encode(&[Arc::clone(&snapshot)], Format::Text, Detail::Normal, false).unwrap();
    let packed = encode(&[snapshot], Format::Text, Detail::Normal, true).unwrap();
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    assert!(packed.len() * 5 < plain.len());
}

#[test]
fn a_full_node_parses_in_both_formats_and_takes_its_budget() {
    for (format, is_openmetrics) in [(Format::Text, false), (Format::OpenMetrics1, true)] {
        let snapshot = sample::full(10);
        let series = snapshot.workload_series();
        let families = parse(&text(snapshot, format, Detail::Normal), is_openmetrics);
        let samples: usize = families.values().map(|family| family.samples.len()).sum();
        assert_eq!(samples as u64, series);
        assert!(series <= 10 * u64::from(crate::metrics::CONTAINER_BUDGET));
        for metric in workload::ALL {
            let name = if is_openmetrics { metric.name.to_owned() } else { metric.query_name() };
            let names = sample::label_names(metric);
            let has_unit = is_openmetrics && !metric.unit.is_empty();
            assert_eq!(families[&name].unit.as_deref(), has_unit.then_some(metric.unit));
            for (label, _) in families[&name].samples.iter().flat_map(|sample| &sample.labels) {
                assert!(label == "le" || names.contains(&label.as_str()), "{name}: {label}");
            }
        }
    }
}

#[test]
fn numbers_read_back_the_same_also_when_they_are_not_finite() {
    let values =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5, 1e300, 5e-324, 9_007_199_254_740_993.0];
    let mut snapshot = Snapshot::new(0);
    for (index, value) in values.iter().enumerate() {
        let labels = LabelSet::new(&agent::GOVERNOR_STATE, None, &[&index.to_string()]);
        snapshot.family(&agent::GOVERNOR_STATE).push(labels, Value::Gauge(*value));
    }
    let families = parse(&text(snapshot, Format::Text, Detail::Normal), false);
    let parsed = &families["strata_agent_governor_state"].samples;
    assert_eq!(parsed[0].value, "NaN");
    assert_eq!(parsed[1..].iter().map(|sample| sample.number()).collect::<Vec<_>>(), values[1..]);
}

/// Values as foreign as text can be, with the characters that matter often.
fn hostile() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            Just('"'),
            Just('\\'),
            Just('\n'),
            Just('\r'),
            Just('\0'),
            Just('{'),
            Just('}'),
            Just(','),
            Just('#'),
            Just(' '),
            Just('n'),
            Just('\u{2028}'),
            any::<char>(),
        ],
        0..40,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #[test]
    fn hostile_labels_come_back_unchanged(values in prop::array::uniform5(hostile()), format in 0_usize..2) {
        let [namespace, pod, container, workload, port] = &values;
        let identity = Identity::new(namespace, pod, container, workload);
        let mut snapshot = sample::small();
        let labels = LabelSet::new(&workload::TURN_DURATION, Some(&identity), &["redis", port]);
        snapshot.family(&workload::TURN_DURATION).push(labels, sample::histogram(&workload::TURN_DURATION, &[1]));
        let format = [Format::Text, Format::OpenMetrics1][format];
        let families = parse(&text(snapshot, format, Detail::Normal), format != Format::Text);
        let parsed = &families["strata_turn_duration_seconds"].samples;
        prop_assert_eq!(parsed.len(), 15);
        for sample in parsed {
            for (name, value) in
                [("namespace", namespace), ("pod", pod), ("container", container), ("workload", workload)]
            {
                prop_assert_eq!(sample.label(name).map(str::to_owned), Some(value.clone()));
            }

            prop_assert_eq!(sample.label("server_port").unwrap_or_default(), port);
        }
    }

    #[test]
    fn buckets_never_fall_and_end_at_the_count(
        durations_ns in prop::collection::vec(any::<u64>(), 0..100),
        is_full: bool,
    ) {
        let mut snapshot = Snapshot::new(0);
        let identity = Identity::new("a", "b", "c", "d");
        for (metric, values) in [(&workload::RUNQUEUE_LATENCY, vec![]), (&workload::TCP_JITTER, vec!["unknown"])] {
            let labels = LabelSet::new(metric, Some(&identity), &values);
            snapshot.family(metric).push(labels, sample::histogram(metric, &durations_ns));
        }
        let detail = if is_full { Detail::Full } else { Detail::Normal };
        let families = parse(&text(snapshot, Format::OpenMetrics1, detail), true);
        check_histograms(&families, durations_ns.len() as f64);
        prop_assert_eq!(&families["strata_tcp_jitter_seconds"].kind, if is_full { "histogram" } else { "summary" });
    }
}

fn check_histograms(families: &BTreeMap<String, Parsed>, expected: f64) {
    for family in families.values() {
        let with = |suffix: &str| {
            family.samples.iter().filter(|sample| sample.name.ends_with(suffix)).collect::<Vec<_>>()
        };
        let [count] = with("_count")[..] else { panic!("{family:?}") };
        assert_eq!(count.number(), expected);
        assert_eq!(with("_sum").len(), 1);
        let buckets = with("_bucket");
        if family.kind == "histogram" {
            assert_eq!(buckets.len(), 13);
            assert_eq!(buckets[12].label("le"), Some("+Inf"));
            assert_eq!(buckets[12].number(), expected);
            assert!(buckets.is_sorted_by(|a, b| a.number() <= b.number()));
        }
    }
}
