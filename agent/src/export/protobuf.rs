//! Prometheus protobuf, delimited, with native histograms.
//!
//! Separate because here, and only here, the messages are those of
//! `prometheus-client`: a collector hands it our series, it makes and encodes
//! the messages.

use crate::{
    aggregate::{
        histogram::HistogramValue,
        labels::LabelSet,
        snapshot::{Family, Snapshot, Value},
    },
    metrics::{Classic, Metric, MetricKind},
};
use agent_common::histogram::{Histogram, PER_OCTAVE, SCHEMA, native_index};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabel as _, EncodeLabelSet, LabelSetEncoder, MetricEncoder,
        NativeHistogram, NativeHistogramBuckets, NoLabelSet,
        prometheus_protobuf::{EncodeError, encode_to_vec},
    },
    metrics::MetricType,
    registry::{Registry, Unit},
};
use std::{
    fmt,
    io::{self, Write},
    sync::Arc,
};

/// Writes all series of `parts`, which must not share a metric.
///
/// Each family is encoded on its own, so that the messages of only one are held
/// at a time.
///
/// # Errors
///
/// Those of the encoder and of the sink.
pub fn write(parts: &[Arc<Snapshot>], sink: &mut dyn Write) -> Result<(), Error> {
    for part in parts {
        for (index, family) in part.families().iter().enumerate() {
            if !family.series().is_empty() {
                let mut registry = Registry::default();
                registry.register_collector(Box::new(FamilyCollector {
                    snapshot: Arc::clone(part),
                    index,
                }));
                sink.write_all(&encode_to_vec(&registry)?)?;
            }
        }
    }
    Ok(())
}

/// Why protobuf could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The encoder refused a message.
    #[error("encoding protobuf")]
    Encode(#[from] EncodeError),
    /// The sink refused the bytes.
    #[error("writing protobuf")]
    Write(#[from] io::Error),
}

/// One family of a snapshot, as `prometheus-client` wants it: owned.
#[derive(Debug)]
struct FamilyCollector {
    snapshot: Arc<Snapshot>,
    index: usize,
}

impl Collector for FamilyCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(family) = self.snapshot.families().get(self.index) else { return Ok(()) };
        let metric = family.metric();
        let (name, unit) = name_and_unit(metric);
        let kind = match metric.kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
            MetricKind::Histogram { .. } => MetricType::Histogram,
        };
        let encoder = encoder.encode_descriptor(name, metric.help, unit.as_ref(), kind)?;
        encode_series(family, encoder)
    }
}

/// The library puts the unit behind the name, where ours has it already.
fn name_and_unit(metric: &Metric) -> (&'static str, Option<Unit>) {
    let bare = metric.name.strip_suffix(metric.unit).and_then(|name| name.strip_suffix('_'));
    match bare {
        Some(name) if !metric.unit.is_empty() => (name, Some(Unit::Other(metric.unit.to_owned()))),
        _ => (metric.name, None),
    }
}

fn encode_series(family: &Family, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
    for series in family.series() {
        let mut encoder = encoder.encode_family(&series.labels)?;
        match (&series.value, family.metric().kind) {
            (Value::Counter(value), _) => {
                encoder.encode_counter::<NoLabelSet, _, f64>(value, None)?
            }
            (Value::Nanoseconds(ns), _) => {
                encoder.encode_counter::<NoLabelSet, _, f64>(&(*ns as f64 / 1e9), None)?
            }
            (Value::Gauge(value), _) => encoder.encode_gauge(value)?,
            (Value::Histogram(value), MetricKind::Histogram { edges_ns, classic }) => {
                let buckets = match classic {
                    Classic::Always => classic_buckets(value, edges_ns),
                    Classic::Detail => Vec::new(),
                };
                encode_histogram(&value.durations, &buckets, encoder)?;
            }
            // A family holds only values of its metric's kind.
            (Value::Histogram(_), MetricKind::Counter | MetricKind::Gauge) => {}
        }
    }
    Ok(())
}

/// Classic buckets as the encoder wants them, which sums them up itself.
fn classic_buckets(value: &HistogramValue, edges_ns: crate::metrics::Edges) -> Vec<(f64, u64)> {
    let mut below = 0;
    let cumulative = value.cumulative(edges_ns);
    let edges =
        edges_ns.iter().map(|edge_ns| *edge_ns as f64 / 1e9).chain(std::iter::once(f64::INFINITY));
    let buckets = edges.zip(cumulative).map(|(edge, count)| {
        let own = count - below;
        below = count;
        (edge, own)
    });
    buckets.collect()
}

fn encode_histogram(
    durations: &Histogram,
    classic: &[(f64, u64)],
    mut encoder: MetricEncoder<'_>,
) -> Result<(), fmt::Error> {
    let [zero_count, positive @ ..] = &durations.buckets;
    let (spans, deltas) = spans_and_deltas(positive, native_index(1));
    let native = NativeHistogram {
        schema: SCHEMA,
        // Bucket 0 holds everything down to zero: it is the zero bucket. Its
        // bound is not 0, which also tells a native histogram without values
        // from a classic one.
        zero_threshold: (f64::from(native_index(0)) / f64::from(PER_OCTAVE)).exp2(),
        zero_count: *zero_count,
        negative: NativeHistogramBuckets { spans: &[], deltas: &[] },
        positive: NativeHistogramBuckets { spans: &spans, deltas: &deltas },
        created: None,
    };
    let sum = durations.sum_ns as f64 / 1e9;
    encoder.encode_histogram_with_native::<NoLabelSet>(
        sum,
        durations.count(),
        classic,
        None,
        native,
    )
}

/// Runs of buckets with values as (distance from the previous run, length), and
/// each bucket's count less that of the bucket before it. Gaps of one or two
/// buckets are filled with zeros, which costs less than a span.
fn spans_and_deltas(buckets: &[u64], first_index: i32) -> (Vec<(i32, u32)>, Vec<i64>) {
    const MAX_FILLED: usize = 2;
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut deltas = Vec::new();
    let mut previous_count: u64 = 0;
    let mut empty: usize = 0;
    for count in buckets {
        if *count == 0 {
            empty += 1;
            continue;
        }
        match spans.last_mut() {
            Some((_, length)) if empty <= MAX_FILLED => {
                for _ in 0..empty {
                    deltas.push(0_i64.wrapping_sub_unsigned(previous_count));
                    previous_count = 0;
                    *length += 1;
                }
                *length += 1;
            }
            // Counted from the end of the run before; the first from index 0.
            Some(_) => spans.push((empty as i32, 1)),
            None => spans.push((first_index + empty as i32, 1)),
        }
        deltas.push((*count as i64).wrapping_sub_unsigned(previous_count));
        previous_count = *count;
        empty = 0;
    }
    (spans, deltas)
}

impl EncodeLabelSet for LabelSet {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        self.iter().try_for_each(|label| label.encode(encoder.encode_label()))
    }
}
