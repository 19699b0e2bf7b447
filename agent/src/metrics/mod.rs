//! The catalogue: every exported metric, once.
//!
//! Separate from what fills the metrics and from what writes them, so that
//! names, units, labels and budgets can be read, tested and documented without
//! either.

pub mod agent;
pub mod labels;
pub mod peers;
pub mod reference;
pub mod workload;

use agent_common::histogram::CLASSIC_BUCKETS;

/// Labels of every workload metric, in the order in which they are written.
pub const IDENTITY: [&str; 4] = ["namespace", "pod", "container", "workload"];

/// Series that a container with a few kinds of requests takes. Those with more
/// may take up to `series.per_container`.
pub const CONTAINER_BUDGET: u32 = 201;

/// Series of a histogram with classic buckets, per set of labels: the buckets,
/// `_sum` and `_count`.
pub const CLASSIC_SERIES: u32 = CLASSIC_BUCKETS as u32 + 2;

/// Series of a histogram without classic buckets, per set of labels, as text:
/// `_sum` and `_count`.
pub const SUMMARY_SERIES: u32 = 2;

/// Upper edges of classic buckets, nanoseconds, ascending; +Inf is left out.
pub type Edges = &'static [u64; CLASSIC_BUCKETS - 1];

/// When a histogram has classic buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classic {
    /// In every format.
    Always,
    /// As text, and only with `detail: full`.
    Detail,
}

/// What a metric's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows while the agent runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations; native (schema 3) in protobuf.
    Histogram {
        /// Edges of the classic buckets, where there are any.
        edges_ns: Edges,
        /// Where there are any.
        classic: Classic,
    },
}

impl MetricKind {
    /// The word for it in the reference.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram { classic: Classic::Always, .. } => "histogram, classic buckets",
            Self::Histogram { classic: Classic::Detail, .. } => "histogram",
        }
    }
}

/// One exported metric.
#[derive(Debug)]
pub struct Metric {
    /// Name without `_total`, with its unit.
    pub name: &'static str,
    /// One sentence, plain characters only: it is written without escaping.
    pub help: &'static str,
    /// Base unit, the last word of the name; empty for plain counts.
    pub unit: &'static str,
    /// What its values are.
    pub kind: MetricKind,
    /// Labels beyond [`IDENTITY`], in the order in which they are written.
    pub labels: &'static [&'static str],
    /// Whether it is about a workload and carries [`IDENTITY`]. Without it the
    /// metric is about the agent itself.
    pub has_identity: bool,
    /// Series planned for a container, of [`CONTAINER_BUDGET`]; 0 for the
    /// agent's own. What one metric leaves unused another may take: the bound
    /// is on the sum.
    pub share: u32,
}

/// A metric of a program about itself: no identity, no share of a container's
/// budget.
const fn own(
    name: &'static str,
    unit: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, help, unit, kind, labels, has_identity: false, share: 0 }
}

impl Metric {
    /// The name as it is queried: `_total` on counters.
    #[must_use]
    pub fn query_name(&self) -> String {
        match self.kind {
            MetricKind::Counter => format!("{}_total", self.name),
            MetricKind::Gauge | MetricKind::Histogram { .. } => self.name.to_owned(),
        }
    }

    /// Series that one set of labels takes as text, `detail: full` left out.
    #[must_use]
    pub const fn series_per_label_set(&self) -> u32 {
        match self.kind {
            MetricKind::Counter | MetricKind::Gauge => 1,
            MetricKind::Histogram { classic: Classic::Always, .. } => CLASSIC_SERIES,
            MetricKind::Histogram { classic: Classic::Detail, .. } => SUMMARY_SERIES,
        }
    }
}

/// Every metric, in the order of the reference.
pub const ALL: &[&[&Metric]] = &[workload::ALL, agent::ALL, peers::ALL];

/// Every metric, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    ALL.iter().flat_map(|group| group.iter().copied())
}

#[cfg(test)]
mod tests;
