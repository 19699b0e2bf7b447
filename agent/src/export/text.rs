//! Prometheus text 0.0.4 and `OpenMetrics` text 1.0.0.
//!
//! A writer of our own, because labels are what a text scrape costs: a library
//! escapes every label at every scrape, here the labels come escaped and are
//! copied (measured: 3.5 ms against 65 to 82 ms for 84 000 series).

use super::Detail;
use crate::{
    aggregate::{
        histogram::{Exemplar, HistogramValue},
        labels::LabelSet,
        snapshot::{Family, Snapshot, Value},
    },
    metrics::{Classic, Edges, Metric, MetricKind},
};
use std::io::{self, Write};

/// Bytes that are collected before they go to the sink: large enough for
/// compression to work on, small enough that the whole text is never held twice.
const CHUNK_BYTES: usize = 64 << 10;

/// Which of the two text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Text 0.0.4.
    Prometheus,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

/// Writes all series of `parts`, which must not share a metric.
///
/// # Errors
///
/// Those of the sink.
pub fn write(
    parts: &[&Snapshot],
    dialect: Dialect,
    detail: Detail,
    sink: &mut dyn Write,
) -> io::Result<()> {
    let mut writer = Writer { out: Vec::with_capacity(CHUNK_BYTES * 2), dialect, detail, sink };
    for family in parts.iter().flat_map(|part| part.families()) {
        writer.family(family)?;
    }
    if dialect == Dialect::OpenMetrics {
        writer.out.extend_from_slice(b"# EOF\n");
    }
    writer.flush()
}

/// How a metric looks in a text format.
enum Shape {
    Scalar {
        suffix: &'static str,
    },
    /// A histogram with its buckets.
    Buckets(Edges),
    /// A histogram without buckets is written as a summary without quantiles.
    /// Both formats demand a `+Inf` bucket of a histogram and allow a summary to
    /// have no quantile; the samples, `_sum` and `_count`, are the same.
    SumAndCount,
}

struct Writer<'a> {
    out: Vec<u8>,
    dialect: Dialect,
    detail: Detail,
    sink: &'a mut dyn Write,
}

impl Writer<'_> {
    fn flush(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    fn shape(&self, metric: &Metric) -> Shape {
        match metric.kind {
            MetricKind::Counter => Shape::Scalar { suffix: "_total" },
            MetricKind::Gauge => Shape::Scalar { suffix: "" },
            MetricKind::Histogram { edges_ns, classic: Classic::Always } => {
                Shape::Buckets(edges_ns)
            }
            MetricKind::Histogram { edges_ns, classic: Classic::Detail } => match self.detail {
                Detail::Full => Shape::Buckets(edges_ns),
                Detail::Normal => Shape::SumAndCount,
            },
        }
    }

    fn family(&mut self, family: &Family) -> io::Result<()> {
        if family.series().is_empty() {
            return Ok(());
        }
        let metric = family.metric();
        let shape = self.shape(metric);
        self.head(metric, &shape)?;
        let bounds = match shape {
            Shape::Buckets(edges_ns) => self.bounds(edges_ns),
            Shape::Scalar { .. } | Shape::SumAndCount => Vec::new(),
        };
        for series in family.series() {
            match (&series.value, &shape) {
                (Value::Counter(value) | Value::Gauge(value), Shape::Scalar { suffix }) => {
                    self.sample(metric, suffix, &series.labels);
                    self.float(*value)?;
                }
                (Value::Nanoseconds(ns), Shape::Scalar { suffix }) => {
                    self.sample(metric, suffix, &series.labels);
                    self.seconds(*ns)?;
                }
                (Value::Histogram(value), Shape::Buckets(edges_ns)) => {
                    self.buckets(metric, &series.labels, value, edges_ns, &bounds)?;
                    self.sum_and_count(metric, &series.labels, value)?;
                }
                (Value::Histogram(value), Shape::SumAndCount) => {
                    self.sum_and_count(metric, &series.labels, value)?;
                }
                // A family holds only values of its metric's kind.
                _ => {}
            }
            if self.out.len() >= CHUNK_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn head(&mut self, metric: &Metric, shape: &Shape) -> io::Result<()> {
        let (suffix, kind) = match (shape, metric.kind, self.dialect) {
            // In OpenMetrics the family is named without the suffix of its samples.
            (Shape::Scalar { .. }, MetricKind::Counter, Dialect::OpenMetrics) => ("", "counter"),
            (Shape::Scalar { suffix }, MetricKind::Counter, Dialect::Prometheus) => {
                (*suffix, "counter")
            }
            (Shape::Scalar { .. }, ..) => ("", "gauge"),
            (Shape::Buckets(_), ..) => ("", "histogram"),
            (Shape::SumAndCount, ..) => ("", "summary"),
        };
        let name = metric.name;
        writeln!(self.out, "# HELP {name}{suffix} {}", metric.help)?;
        writeln!(self.out, "# TYPE {name}{suffix} {kind}")?;
        if self.dialect == Dialect::OpenMetrics && !metric.unit.is_empty() {
            writeln!(self.out, "# UNIT {name}{suffix} {}", metric.unit)?;
        }
        Ok(())
    }

    /// `le="0.001"} ` for each bucket.
    fn bounds(&self, edges_ns: Edges) -> Vec<String> {
        let finite = edges_ns
            .iter()
            .map(|edge_ns| format!("le=\"{}\"}} ", bound(*edge_ns as f64 / 1e9, self.dialect)));
        finite.chain(std::iter::once("le=\"+Inf\"} ".to_owned())).collect()
    }

    /// `name_suffix{labels} `, all but the value.
    fn sample(&mut self, metric: &Metric, suffix: &str, labels: &LabelSet) {
        self.out.extend_from_slice(metric.name.as_bytes());
        self.out.extend_from_slice(suffix.as_bytes());
        if !labels.is_empty() {
            self.out.push(b'{');
            labels.write_text(&mut self.out);
            self.out.push(b'}');
        }
        self.out.push(b' ');
    }

    fn buckets(
        &mut self,
        metric: &Metric,
        labels: &LabelSet,
        value: &HistogramValue,
        edges_ns: Edges,
        bounds: &[String],
    ) -> io::Result<()> {
        let counts = value.cumulative(edges_ns);
        // Text 0.0.4 has none.
        let exemplars = value.exemplars.as_deref().filter(|_| self.dialect == Dialect::OpenMetrics);
        let start = self.out.len();
        self.out.extend_from_slice(metric.name.as_bytes());
        self.out.extend_from_slice(b"_bucket{");
        if !labels.is_empty() {
            labels.write_text(&mut self.out);
            self.out.push(b',');
        }
        // The first line is made, the others begin with a copy of it.
        let end = self.out.len();
        for (index, (count, bound)) in counts.iter().zip(bounds).enumerate() {
            if index > 0 {
                self.out.extend_from_within(start..end);
            }
            self.out.extend_from_slice(bound.as_bytes());
            write!(self.out, "{count}")?;
            if let Some(Some(exemplar)) = exemplars.and_then(|all| all.get(index)) {
                self.exemplar(exemplar)?;
            }
            self.out.push(b'\n');
        }
        Ok(())
    }

    fn exemplar(&mut self, of: &Exemplar) -> io::Result<()> {
        let (seconds, below) = (of.value_ns / 1_000_000_000, of.value_ns % 1_000_000_000);
        let (at, at_ms) = (of.unix_ns / 1_000_000_000, of.unix_ns / 1_000_000 % 1_000);
        let (trace, span) = (of.trace_id, of.span_id);
        write!(
            self.out,
            " # {{trace_id=\"{trace:032x}\",span_id=\"{span:016x}\"}} {seconds}.{below:09} {at}.{at_ms:03}"
        )
    }

    fn sum_and_count(
        &mut self,
        metric: &Metric,
        labels: &LabelSet,
        value: &HistogramValue,
    ) -> io::Result<()> {
        self.sample(metric, "_sum", labels);
        self.seconds(value.durations.sum_ns)?;
        self.sample(metric, "_count", labels);
        writeln!(self.out, "{}", value.durations.count())
    }

    /// A sum of nanoseconds as seconds, every digit of it.
    fn seconds(&mut self, ns: u64) -> io::Result<()> {
        writeln!(self.out, "{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
    }

    fn float(&mut self, value: f64) -> io::Result<()> {
        if value.is_infinite() {
            let sign = if value > 0.0 { '+' } else { '-' };
            writeln!(self.out, "{sign}Inf")
        } else {
            // Shortest text that reads back as the same number; `NaN` as it is.
            writeln!(self.out, "{value}")
        }
    }
}

/// A bucket's bound as Prometheus' own libraries write it, and as its server
/// stores it from protobuf: `1e-05` below 0.0001, and in `OpenMetrics` `1.0`
/// where text 0.0.4 has `1`. A bound is a label: spelled otherwise it would be
/// another series.
fn bound(seconds: f64, dialect: Dialect) -> String {
    if seconds < 1e-4 {
        let scientific = format!("{seconds:e}");
        let (digits, exponent) = scientific.split_once("e-").unwrap_or((&scientific, "0"));
        return format!("{digits}e-{exponent:0>2}");
    }
    match dialect {
        Dialect::Prometheus => format!("{seconds}"),
        Dialect::OpenMetrics => format!("{seconds:?}"),
    }
}
