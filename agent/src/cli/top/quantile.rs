//! Quantiles of the time between two samples, out of schema-3 buckets.
//!
//! Separate because it is arithmetic that deserves its own tests: a bucket is
//! 9 % wide, and inside of it a quantile is interpolated as Prometheus does for
//! native histograms.

use agent_common::histogram::{BUCKETS, PER_OCTAVE, native_index};

use crate::export::json::Durations;

/// Counts by bucket, of one histogram or of several added up.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    counts: Box<[u64; BUCKETS]>,
    count: u64,
    sum_ns: u64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), count: 0, sum_ns: 0 }
    }
}

impl Buckets {
    /// What came to `earlier` until `later`. A bucket that shrank counts for
    /// nothing.
    #[must_use]
    pub fn between(earlier: &Durations, later: &Durations) -> Self {
        let mut between = Self::default();
        for (index, count) in &later.buckets {
            if let Some(slot) = between.counts.get_mut(usize::from(*index)) {
                *slot = *count;
            }
        }
        for (index, count) in &earlier.buckets {
            if let Some(slot) = between.counts.get_mut(usize::from(*index)) {
                *slot = slot.saturating_sub(*count);
            }
        }
        between.count = between.counts.iter().sum();
        between.sum_ns = later.sum_ns.saturating_sub(earlier.sum_ns);
        between
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts.iter()) {
            *mine = mine.saturating_add(*theirs);
        }
        self.count = self.count.saturating_add(other.count);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// Number of values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Sum of the values, seconds.
    #[must_use]
    pub const fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// The value below which a share `q` (0 to 1) of the values lies, seconds;
    /// `None` without values. Off by no more than its bucket is wide.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * self.count as f64;
        let mut below = 0u64;
        let mut last = 0;
        for (index, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            last = index;
            if (below + count) as f64 >= rank {
                let share = (rank - below as f64) / *count as f64;
                return Some(inside(index, share));
            }
            below += count;
        }
        Some(inside(last, 1.0))
    }
}

/// The point of a bucket below which a share of its values is taken to lie:
/// values spread evenly by ratio, but in the first bucket, which reaches down
/// to nothing.
fn inside(bucket: usize, share: f64) -> f64 {
    let upper = f64::from(native_index(bucket)) / f64::from(PER_OCTAVE);
    if bucket == 0 {
        return share * upper.exp2();
    }
    (upper - (1.0 - share) / f64::from(PER_OCTAVE)).exp2()
}

#[cfg(test)]
mod tests {
    use agent_common::histogram::{Histogram, bucket_index};
    use proptest::prelude::*;

    use super::*;

    fn durations(values_ns: &[u64]) -> Durations {
        let mut histogram = Histogram::new();
        values_ns.iter().for_each(|value| histogram.observe(*value));
        let buckets = (0u16..).zip(histogram.buckets).filter(|(_, count)| *count > 0);
        Durations { sum_ns: histogram.sum_ns, buckets: buckets.collect() }
    }

    #[test]
    fn only_what_came_in_between_counts() {
        let earlier = durations(&[1_000_000; 50]);
        let mut all = vec![1_000_000; 50];
        all.extend([8_000_000; 10]);
        let between = Buckets::between(&earlier, &durations(&all));
        assert_eq!(between.count(), 10);
        assert!((between.sum_seconds() - 0.08).abs() < 1e-12);
        let p50 = between.quantile(0.5).unwrap();
        assert!((p50 / 0.008).log2().abs() < 1.0 / 8.0, "{p50}");
        assert_eq!(Buckets::between(&earlier, &earlier).quantile(0.5), None);
    }

    #[test]
    fn a_bucket_that_does_not_exist_is_left_out() {
        let strange = Durations { sum_ns: 1, buckets: vec![(9999, 5), (3, 1)] };
        assert_eq!(Buckets::between(&Durations::default(), &strange).count(), 1);
    }

    proptest! {
        #[test]
        fn a_quantile_lies_in_the_bucket_of_the_value_of_its_rank(
            mut values in prop::collection::vec(60u64..200_000_000_000, 1..200),
            q in 0.0f64..=1.0,
        ) {
            let buckets = Buckets::between(&Durations::default(), &durations(&values));
            values.sort_unstable();
            let rank = (q * values.len() as f64).ceil().max(1.0) as usize;
            let bucket = bucket_index(values[rank - 1]);
            let found = buckets.quantile(q).unwrap();
            let slack = 1e-9 + found * 1e-9;
            prop_assert!(found <= inside(bucket, 1.0) + slack);
            prop_assert!(found >= inside(bucket, 0.0) - slack);
        }

        #[test]
        fn quantiles_never_fall(
            values in prop::collection::vec(any::<u64>(), 1..200),
            a in 0.0f64..=1.0,
            b in 0.0f64..=1.0,
        ) {
            let buckets = Buckets::between(&Durations::default(), &durations(&values));
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(buckets.quantile(low) <= buckets.quantile(high));
        }
    }
}
