//! Durations of one label set, as the worker counts them one by one.
//!
//! Separate because requests and calls are counted alike.

use std::sync::Arc;

use agent_common::histogram::{CLASSIC_BUCKETS, Histogram, REQUEST_EDGES_NS, classic_index};

use super::histogram::{Exemplar, Exemplars, HistogramValue};
use super::snapshot::Value;

/// Native buckets, and classic ones by the edges of requests.
#[derive(Clone, Debug)]
pub struct Durations {
    native: Histogram,
    classic: [u64; CLASSIC_BUCKETS],
    /// Made with the first.
    exemplars: Option<Box<Exemplars>>,
}

impl Default for Durations {
    fn default() -> Self {
        Self { native: Histogram::new(), classic: [0; CLASSIC_BUCKETS], exemplars: None }
    }
}

impl Durations {
    /// What the kernel counted.
    #[must_use]
    pub const fn of(native: Histogram, classic: [u64; CLASSIC_BUCKETS]) -> Self {
        Self { native, classic, exemplars: None }
    }

    /// Adds one.
    pub fn observe(&mut self, ns: u64) {
        self.native.observe(ns);
        if let Some(bucket) = self.classic.get_mut(classic_index(ns, &REQUEST_EDGES_NS)) {
            *bucket += 1;
        }
    }

    /// One of those that were added has a span.
    pub fn exemplify(&mut self, exemplar: Exemplar) {
        let bucket = classic_index(exemplar.value_ns, &REQUEST_EDGES_NS);
        let exemplars = self.exemplars.get_or_insert_with(|| Box::new([None; CLASSIC_BUCKETS]));
        if let Some(last) = exemplars.get_mut(bucket) {
            *last = Some(exemplar);
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.native.merge(&other.native);
        for (sum, count) in self.classic.iter_mut().zip(other.classic) {
            *sum += count;
        }
    }

    /// Sum of all, nanoseconds.
    #[must_use]
    pub const fn sum_ns(&self) -> u64 {
        self.native.sum_ns
    }

    /// As a snapshot has it.
    #[must_use]
    pub fn value(&self) -> Value {
        let classic = Some(self.classic);
        let exemplars = self.exemplars.clone();
        Value::Histogram(Arc::new(HistogramValue { durations: self.native, classic, exemplars }))
    }
}
