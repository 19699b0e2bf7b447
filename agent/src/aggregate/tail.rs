//! What the slow tail of a service is made of.
//!
//! Separate because what counts as slow is an estimate with its own bounds:
//! a running 99th percentile of the service itself.
//!
//! The estimate: durations of the last minutes in native buckets (9 % wide),
//! all weights halved once a minute, so that a change of load is forgotten with
//! a half-life of one minute. A request is slow if its bucket lies above the one
//! in which the 99th percentile of those before it lies. So of a service that
//! behaves as before at most 1 % are slow, and fewer where the durations crowd
//! in one bucket (none, if all are alike). Requests that the kernel sampled out
//! are not in it. Memory is fixed: 2 KiB a service.

use std::sync::LazyLock;

use agent_common::histogram::{BUCKETS, bucket_index};
use agent_common::parts::Split;

use super::labels::{Identity, OwnLabels};
use super::parts::PartSums;
use super::snapshot::{Snapshot, Value};
use crate::metrics::workload::SLOW_REQUESTS;

/// Share of requests that are not slow.
const NOT_SLOW_PERCENT: u128 = 99;
/// Time after which a request counts half.
const HALF_LIFE_NS: u64 = 60_000_000_000;
/// Halvings after which nothing is left to speak of.
const MAX_HALVINGS: u64 = 20;
/// Weight of a new request: halved sixteen times it still counts.
const WEIGHT: u64 = 1 << 16;
/// Requests that must have come before one can be slow: below, one request
/// decides where the percentile lies.
const MIN_REQUESTS: u64 = 200;
/// Requests after which the percentile is looked for again.
const REFRESH: u64 = 64;

static LABELS: LazyLock<OwnLabels> = LazyLock::new(|| OwnLabels::new(&SLOW_REQUESTS, &[]));

/// A running 99th percentile.
#[derive(Debug)]
struct RunningP99 {
    weights: Box<[u64; BUCKETS]>,
    total: u64,
    /// Bucket of the percentile, once there were enough.
    threshold: Option<usize>,
    since_refresh: u64,
    halved_at_ns: u64,
}

impl RunningP99 {
    fn new() -> Self {
        Self {
            weights: Box::new([0; BUCKETS]),
            total: 0,
            threshold: None,
            since_refresh: 0,
            halved_at_ns: 0,
        }
    }

    /// Whether a request that ended at `end_ns` is slow, compared with those
    /// before it; then counts it.
    fn observe(&mut self, wall_ns: u64, end_ns: u64) -> bool {
        self.decay(end_ns);
        let bucket = bucket_index(wall_ns);
        let is_slow = self.threshold.is_some_and(|threshold| bucket > threshold);
        if let Some(weight) = self.weights.get_mut(bucket) {
            *weight += WEIGHT;
        }
        self.total += WEIGHT;
        self.since_refresh += 1;
        if self.since_refresh >= REFRESH {
            self.refresh();
        }
        is_slow
    }

    fn decay(&mut self, now_ns: u64) {
        let halvings = now_ns.saturating_sub(self.halved_at_ns) / HALF_LIFE_NS;
        if halvings == 0 {
            return;
        }
        self.halved_at_ns += halvings * HALF_LIFE_NS;
        for weight in self.weights.iter_mut() {
            *weight >>= halvings.min(MAX_HALVINGS);
        }
        self.total = self.weights.iter().sum();
        self.refresh();
    }

    fn refresh(&mut self) {
        self.since_refresh = 0;
        self.threshold = None;
        if self.total < MIN_REQUESTS * WEIGHT {
            return;
        }
        let rank = u128::from(self.total) * NOT_SLOW_PERCENT;
        let mut below = 0u128;
        self.threshold = self.weights.iter().position(|weight| {
            below += u128::from(*weight);
            below * 100 >= rank
        });
    }
}

/// Slow requests of one service.
#[derive(Debug)]
pub struct Tail {
    p99: RunningP99,
    count: u64,
    parts: PartSums,
}

impl Default for Tail {
    fn default() -> Self {
        Self { p99: RunningP99::new(), count: 0, parts: PartSums::default() }
    }
}

impl Tail {
    /// Counts a request that ended at `end_ns`, if it is slow; says whether it
    /// is.
    pub fn observe(&mut self, wall_ns: u64, end_ns: u64, split: &Split, estimated: u32) -> bool {
        let is_slow = self.p99.observe(wall_ns, end_ns);
        if is_slow {
            self.count += 1;
            self.parts.observe(split, estimated);
        }
        is_slow
    }

    /// Puts its series into a snapshot.
    pub fn snapshot(&self, identity: &Identity, to: &mut Snapshot) {
        let count = Value::Counter(self.count as f64);
        to.family(&SLOW_REQUESTS).push(LABELS.of(identity), count);
        self.parts.snapshot_slow(identity, to);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// Slow ones of these, a millisecond apart, from `start_ns` on.
    fn slow(p99: &mut RunningP99, walls_ns: &[u64], start_ns: u64) -> usize {
        let ends = (start_ns..).step_by(1_000_000);
        walls_ns.iter().zip(ends).filter(|(wall, end)| p99.observe(**wall, *end)).count()
    }

    #[test]
    fn requests_that_are_all_alike_have_no_tail() {
        assert_eq!(slow(&mut RunningP99::new(), &[1_000_000; 10_000], 0), 0);
    }

    #[test]
    fn one_in_two_hundred_is_found_and_one_in_ten_is_no_tail() {
        for (every, wanted) in [(200, 90..=100), (10, 0..=0)] {
            let walls: Vec<u64> =
                (0..20_000).map(|i| if i % every == 7 { 50_000_000 } else { 1_000_000 }).collect();
            let found = slow(&mut RunningP99::new(), &walls, 0);
            assert!(wanted.contains(&found), "{found} of one in {every}");
        }
    }

    #[test]
    fn too_few_requests_have_no_tail() {
        let mut walls = vec![1_000_000; 150];
        walls.push(9_000_000_000);
        assert_eq!(slow(&mut RunningP99::new(), &walls, 0), 0);
    }

    #[test]
    fn what_was_slow_before_is_ordinary_after_a_change_of_load() {
        let mut p99 = RunningP99::new();
        slow(&mut p99, &[1_000_000; 10_000], 0);
        let first = slow(&mut p99, &[5_000_000; 100], 10 * SECOND_NS);
        assert!(first > 30, "{first}: slower than before");
        slow(&mut p99, &[5_000_000; 10_000], 11 * SECOND_NS);
        assert_eq!(slow(&mut p99, &[5_000_000; 1_000], 30 * SECOND_NS), 0);
        // And back: what is fast again leaves the percentile high for minutes.
        slow(&mut p99, &[1_000_000; 300], 900 * SECOND_NS);
        assert!(slow(&mut p99, &[5_000_000; 200], 901 * SECOND_NS) > 0);
    }

    proptest! {
        #[test]
        fn of_a_steady_service_at_most_about_one_percent_are_slow(
            seed in 1u64..1_000_000,
            spread in 1u32..6,
        ) {
            // A linear congruential generator: uniform in the exponent.
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 40) as f64 / (1u64 << 24) as f64
            };
            let walls: Vec<u64> =
                (0..20_000).map(|_| (1e5 * 10f64.powf(next() * f64::from(spread))) as u64).collect();
            let found = slow(&mut RunningP99::new(), &walls, 0) as f64 / 20_000.0;
            prop_assert!(found < 0.015, "{found}");
        }
    }
}
