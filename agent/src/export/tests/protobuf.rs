//! Protobuf, decoded again from its bytes.

use super::sample;
use crate::{
    aggregate::{
        labels::{Identity, LabelSet},
        snapshot::Snapshot,
    },
    export::{Detail, encode, negotiate::Format},
    metrics::{all, workload},
};
use agent_common::histogram::{BUCKETS, Histogram, bucket_index, native_index};
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{
    Histogram as Message, MetricFamily, MetricType,
};
use proptest::prelude::*;
use prost::Message as _;
use std::{collections::BTreeMap, sync::Arc};

fn decode(snapshot: Snapshot) -> Vec<MetricFamily> {
    let bytes = encode(&[Arc::new(snapshot)], Format::Protobuf, Detail::Normal, false).unwrap();
    let mut rest = &bytes[..];
    let mut families = Vec::new();
    while !rest.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
    }
    families
}

/// Counts by native index, decoded as the format is specified.
fn counts(histogram: &Message) -> BTreeMap<i32, u64> {
    let mut counts = BTreeMap::new();
    let mut deltas = histogram.positive_delta.iter();
    let mut index = 0;
    let mut count = 0;
    for span in &histogram.positive_span {
        index += span.offset;
        for _ in 0..span.length {
            count += deltas.next().expect("more buckets than deltas");
            counts.insert(index, u64::try_from(count).unwrap());
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None);
    counts.retain(|_, count| *count > 0);
    counts
}

/// A histogram of TCP RTTs as it arrives.
fn sent(durations_ns: &[u64]) -> Message {
    let mut snapshot = Snapshot::new(0);
    let labels =
        LabelSet::new(&workload::TCP_RTT, Some(&Identity::new("a", "b", "c", "d")), &["unknown"]);
    snapshot
        .family(&workload::TCP_RTT)
        .push(labels, sample::histogram(&workload::TCP_RTT, durations_ns));
    let [family] = &decode(snapshot)[..] else { panic!() };
    family.metric[0].histogram.clone().unwrap()
}

#[test]
fn families_carry_the_names_types_and_units_of_the_catalogue() {
    for family in decode(sample::full(2)) {
        let metric =
            all().find(|metric| metric.query_name() == family.name).expect("not in the catalogue");
        assert_eq!(family.help, metric.help);
        assert_eq!(family.unit, metric.unit);
        let names: Vec<_> =
            family.metric[0].label.iter().map(|label| label.name.as_str()).collect();
        assert_eq!(names, sample::label_names(metric));
        for message in &family.metric {
            let present = match family.r#type() {
                MetricType::Counter => message.counter.is_some(),
                MetricType::Gauge => message.gauge.is_some(),
                MetricType::Histogram => message.histogram.is_some(),
                _ => false,
            };
            assert!(present, "{}", family.name);
        }
    }
}

#[test]
fn values_arrive_and_labels_are_not_escaped() {
    let families = decode(sample::small());
    let value = |name: &str| {
        let family = families.iter().find(|family| family.name == name).unwrap();
        let message = &family.metric[0];
        message
            .counter
            .as_ref()
            .map(|counter| counter.value)
            .or(message.gauge.as_ref().map(|gauge| gauge.value))
    };
    assert_eq!(value("strata_requests_total"), Some(7.0));
    assert_eq!(value("strata_off_cpu_seconds_total"), Some(1.25));
    assert_eq!(value("strata_agent_queue_depth"), Some(3.0));

    let mut snapshot = Snapshot::new(0);
    let labels =
        LabelSet::new(&workload::TCP_CONNECT, Some(&Identity::new("", "a\"b\\c\nd", "é", "")), &[]);
    snapshot
        .family(&workload::TCP_CONNECT)
        .push(labels, sample::histogram(&workload::TCP_CONNECT, &[]));
    let family = &decode(snapshot)[0];
    let values: Vec<_> = family.metric[0].label.iter().map(|label| label.value.as_str()).collect();
    assert_eq!(values, ["", "a\"b\\c\nd", "é", ""]);
}

#[test]
fn only_histograms_of_the_catalogue_have_classic_buckets() {
    let families = decode(sample::small());
    let of = |name: &str| {
        let family = families.iter().find(|family| family.name == name).unwrap();
        family.metric[0].histogram.clone().unwrap()
    };
    assert!(of("strata_tcp_rtt_seconds").bucket.is_empty());
    let runqueue = of("strata_runqueue_latency_seconds");
    let buckets: Vec<_> = runqueue
        .bucket
        .iter()
        .map(|bucket| (bucket.upper_bound, bucket.cumulative_count))
        .collect();
    assert_eq!(buckets.len(), 13);
    assert_eq!(buckets[0], (1e-5, 1));
    assert_eq!(buckets[3], (1e-4, 2));
    assert_eq!(buckets[11], (1.0, 2));
    assert_eq!(buckets[12], (f64::INFINITY, 3));
    assert_eq!(runqueue.sample_count, 3);
}

#[test]
fn a_histogram_without_values_is_still_native() {
    let histogram = sent(&[]);
    assert_eq!((histogram.schema, histogram.sample_count, histogram.zero_count), (3, 0, 0));
    // What Prometheus tells native histograms by.
    assert!(histogram.zero_threshold > 0.0);
    assert!(counts(&histogram).is_empty());
}

#[test]
fn durations_below_the_range_are_in_the_zero_bucket_and_above_it_in_the_last() {
    let histogram = sent(&[0, 60, 62, u64::MAX]);
    assert_eq!(histogram.zero_count, 3);
    assert!((histogram.zero_threshold - 65.0e-9).abs() < 1e-9);
    assert_eq!(counts(&histogram), BTreeMap::from([(64, 1)]));
}

#[test]
fn close_buckets_share_a_span_and_distant_ones_do_not() {
    let index = |ns| native_index(bucket_index(ns));
    let histogram = sent(&[1_000_000, 1_300_000, 1_000_000_000]);
    let spans: Vec<_> =
        histogram.positive_span.iter().map(|span| (span.offset, span.length)).collect();
    let (first, second, third) = (index(1_000_000), index(1_300_000), index(1_000_000_000));
    assert_eq!(second - first, 3);
    assert_eq!(spans, [(first, 4), (third - second - 1, 1)]);
    assert_eq!(histogram.positive_delta, [1, -1, 0, 1, 0]);
}

proptest! {
    #[test]
    fn spans_and_deltas_decode_to_the_same_counts(
        octaves in prop::collection::vec((0u32..40, any::<u64>()), 0..200),
    ) {
        // Spread evenly over the logarithm.
        let durations_ns: Vec<u64> = octaves.iter().map(|(octave, low)| (1 << octave) | low & ((1 << octave) - 1)).collect();
        let mut expected = Histogram::new();
        durations_ns.iter().for_each(|ns| expected.observe(*ns));
        let histogram = sent(&durations_ns);
        let decoded = counts(&histogram);
        prop_assert_eq!(histogram.zero_count, expected.buckets[0]);
        for bucket in 1..BUCKETS {
            prop_assert_eq!(decoded.get(&native_index(bucket)).copied().unwrap_or(0), expected.buckets[bucket]);
        }
        prop_assert_eq!(histogram.sample_count, decoded.values().sum::<u64>() + histogram.zero_count);
        prop_assert_eq!(histogram.sample_sum, expected.sum_ns as f64 / 1e9);
    }
}
