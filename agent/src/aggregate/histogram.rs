//! A histogram in a snapshot: native buckets, and classic ones where the
//! kernel or the worker counted them.
//!
//! Separate because the conversion to cumulative classic buckets is arithmetic
//! that every format needs and that deserves its own tests.

use crate::metrics::Edges;
use agent_common::histogram::{BUCKETS, CLASSIC_BUCKETS, Histogram, PER_OCTAVE, native_index};

/// The values of one series of a histogram.
#[derive(Clone, Debug)]
pub struct HistogramValue {
    /// Native buckets (schema 3) and the sum.
    pub durations: Histogram,
    /// Classic buckets, each with its own values only (not cumulative), by the
    /// edges of the metric. Exact, where the native buckets are 9 % wide.
    pub classic: Option<[u64; CLASSIC_BUCKETS]>,
    /// A value of each classic bucket that is told about elsewhere.
    pub exemplars: Option<Box<Exemplars>>,
}

/// The last exemplar of each classic bucket.
pub type Exemplars = [Option<Exemplar>; CLASSIC_BUCKETS];

/// A value that has a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: u128,
    /// Its span.
    pub span_id: u64,
    /// The value, nanoseconds.
    pub value_ns: u64,
    /// When it was observed, unix time.
    pub unix_ns: u64,
}

impl HistogramValue {
    /// Values at or below each of `edges_ns`, and at last the count.
    ///
    /// The kernel adds to the native and to the classic buckets one after the
    /// other, so a sweep may see one value in only one of them. The count is
    /// that of the native buckets in every format; the classic ones are held to
    /// it, so that they never contradict it.
    #[must_use]
    pub fn cumulative(&self, edges_ns: Edges) -> [u64; CLASSIC_BUCKETS] {
        let count = self.durations.count();
        let mut cumulative = match &self.classic {
            Some(classic) => running_sums(classic),
            None => from_native(&self.durations.buckets, edges_ns),
        };
        for value in &mut cumulative {
            *value = (*value).min(count);
        }
        let [.., last] = &mut cumulative;
        *last = count;
        cumulative
    }
}

fn running_sums(classic: &[u64; CLASSIC_BUCKETS]) -> [u64; CLASSIC_BUCKETS] {
    let mut sum: u64 = 0;
    classic.map(|value| {
        sum = sum.saturating_add(value);
        sum
    })
}

/// Classic buckets out of native ones. An edge is moved to the nearest native
/// bound, at most 4.5 % away: what is counted at or below 1 ms is counted at or
/// below 0.957 to 1.045 ms, by the same bound in every scrape.
fn from_native(buckets: &[u64; BUCKETS], edges_ns: Edges) -> [u64; CLASSIC_BUCKETS] {
    let mut cumulative = [0; CLASSIC_BUCKETS];
    for (target, edge_ns) in cumulative.iter_mut().zip(edges_ns) {
        let nearest = nearest_native_index(*edge_ns);
        let inside =
            buckets.iter().enumerate().take_while(|(bucket, _)| native_index(*bucket) <= nearest);
        *target = inside.map(|(_, value)| value).sum();
    }
    cumulative
}

/// Index of the native bound that is nearest to `edge_ns`, by ratio.
fn nearest_native_index(edge_ns: u64) -> i32 {
    let seconds = edge_ns as f64 / 1e9;
    // Edges lie between 10 us and 5 s, so the result is between -133 and 19.
    (seconds.log2() * f64::from(PER_OCTAVE)).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_common::histogram::{REQUEST_EDGES_NS, RUNQUEUE_EDGES_NS, classic_index};
    use proptest::prelude::*;

    fn observe(values_ns: &[u64], edges_ns: Edges, has_classic: bool) -> HistogramValue {
        let mut durations = Histogram::new();
        let mut classic = [0; CLASSIC_BUCKETS];
        for value in values_ns {
            durations.observe(*value);
            classic[classic_index(*value, edges_ns)] += 1;
        }
        HistogramValue { durations, classic: has_classic.then_some(classic), exemplars: None }
    }

    #[test]
    fn classic_counts_are_exact() {
        let value =
            observe(&[1, 100_000, 100_001, 2_000_000, 9_000_000_000], &REQUEST_EDGES_NS, true);
        assert_eq!(value.cumulative(&REQUEST_EDGES_NS), [2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5]);
    }

    #[test]
    fn a_value_that_only_one_side_has_seen_contradicts_nothing() {
        let mut value = observe(&[200_000; 3], &REQUEST_EDGES_NS, true);
        value.classic = Some([0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(value.cumulative(&REQUEST_EDGES_NS), [0, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
        value.classic = Some([0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(value.cumulative(&REQUEST_EDGES_NS), [0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]);
    }

    proptest! {
        #[test]
        fn cumulative_counts_never_fall_and_end_at_the_count(
            values in prop::collection::vec(any::<u64>(), 0..50),
            has_classic: bool,
        ) {
            let value = observe(&values, &RUNQUEUE_EDGES_NS, has_classic);
            let cumulative = value.cumulative(&RUNQUEUE_EDGES_NS);
            prop_assert!(cumulative.is_sorted());
            prop_assert_eq!(cumulative[CLASSIC_BUCKETS - 1], values.len() as u64);
        }

        #[test]
        fn converted_edges_are_at_most_a_twentieth_off(ns in 60u64..5_000_000_000) {
            let value = observe(&[ns], &REQUEST_EDGES_NS, false);
            let cumulative = value.cumulative(&REQUEST_EDGES_NS);
            for (count, edge) in cumulative.iter().zip(REQUEST_EDGES_NS) {
                if (ns as f64) < edge as f64 * 0.95 { prop_assert_eq!(*count, 1); }
                if (ns as f64) > edge as f64 * 1.05 { prop_assert_eq!(*count, 0); }
            }
        }
    }
}
