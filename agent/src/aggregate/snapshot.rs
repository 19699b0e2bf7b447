//! The immutable view of all series that exporters read.
//!
//! Separate so that exporters depend on this and not on the worker: the worker
//! builds one, puts it in an `Arc` and never touches it again.

use super::{histogram::HistogramValue, labels::LabelSet};
use crate::metrics::{Classic, Metric, MetricKind};
use std::sync::Arc;

/// All series at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// When it was taken, unix time, nanoseconds.
    pub taken_unix_ns: u64,
    families: Vec<Family>,
}

impl Snapshot {
    /// A snapshot without series.
    #[must_use]
    pub const fn new(taken_unix_ns: u64) -> Self {
        Self { taken_unix_ns, families: Vec::new() }
    }

    /// The family of `metric`, to add series to it. A metric has one family
    /// however often this is called.
    pub fn family(&mut self, metric: &'static Metric) -> &mut Family {
        let found = self.families.iter().position(|family| std::ptr::eq(family.metric, metric));
        let index = found.unwrap_or(self.families.len());
        if found.is_none() {
            self.families.push(Family { metric, series: Vec::new() });
        }
        // `index` is that of an element in both cases.
        #[expect(clippy::indexing_slicing, reason = "found by position, or just pushed")]
        &mut self.families[index]
    }

    /// All families, in the order in which they were first asked for.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// Series of workloads as text, `detail: full` left out: what the budgets
    /// of series are about.
    #[must_use]
    pub fn workload_series(&self) -> u64 {
        let workloads = self.families.iter().filter(|family| family.metric.has_identity);
        workloads
            .map(|family| {
                family.series.len() as u64 * u64::from(family.metric.series_per_label_set())
            })
            .sum()
    }
}

/// All series of one metric.
#[derive(Debug)]
pub struct Family {
    metric: &'static Metric,
    series: Vec<Series>,
}

impl Family {
    /// The metric.
    #[must_use]
    pub const fn metric(&self) -> &'static Metric {
        self.metric
    }

    /// Its series. That no two have the same labels is up to who builds the
    /// snapshot.
    #[must_use]
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// Adds a series. A value that does not fit the kind of the metric is a
    /// mistake of the caller; in a release build it is left out, since one line
    /// of the wrong kind would cost the whole scrape.
    pub fn push(&mut self, labels: LabelSet, value: Value) {
        let fits = value.fits(self.metric.kind);
        debug_assert!(fits, "{value:?} is no value of {}", self.metric.name);
        if fits {
            self.series.push(Series { labels, value });
        }
    }
}

/// One series.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its labels.
    pub labels: LabelSet,
    /// Its value.
    pub value: Value,
}

/// The value of a series, in the base unit of its metric.
#[derive(Clone, Debug)]
pub enum Value {
    /// Of a counter.
    Counter(f64),
    /// Of a counter of seconds, in nanoseconds: where sums must be equal to the
    /// last digit. Written as seconds.
    Nanoseconds(u64),
    /// Of a gauge.
    Gauge(f64),
    /// Of a histogram.
    Histogram(Arc<HistogramValue>),
}

impl Value {
    fn fits(&self, kind: MetricKind) -> bool {
        match (self, kind) {
            (Self::Counter(_) | Self::Nanoseconds(_), MetricKind::Counter)
            | (Self::Gauge(_), MetricKind::Gauge) => true,
            // Classic::Always promises exact classic buckets.
            (Self::Histogram(value), MetricKind::Histogram { classic, .. }) => {
                classic != Classic::Always || value.classic.is_some()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aggregate::labels::Identity,
        metrics::{agent, workload},
    };
    use agent_common::histogram::Histogram;

    #[test]
    fn a_metric_has_one_family_and_histograms_count_as_many_series() {
        let identity = Identity::new("shop", "api-1", "api", "deployment/api");
        let mut snapshot = Snapshot::new(1);
        for outcome in ["exported", "lost"] {
            let labels = LabelSet::new(&workload::REQUESTS, Some(&identity), &[outcome]);
            snapshot.family(&workload::REQUESTS).push(labels, Value::Counter(1.0));
        }
        let value =
            HistogramValue { durations: Histogram::new(), classic: Some([0; 13]), exemplars: None };
        let labels = LabelSet::new(&workload::RUNQUEUE_LATENCY, Some(&identity), &[]);
        snapshot
            .family(&workload::RUNQUEUE_LATENCY)
            .push(labels, Value::Histogram(Arc::new(value)));
        let depth = LabelSet::new(&agent::QUEUE_DEPTH, None, &[]);
        snapshot.family(&agent::QUEUE_DEPTH).push(depth, Value::Gauge(3.0));
        assert_eq!(snapshot.families().len(), 3);
        assert_eq!(snapshot.workload_series(), 2 + 15);
    }
}
