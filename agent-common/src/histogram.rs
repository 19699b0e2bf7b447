//! Bucket arithmetic of every histogram, kernel and agent alike.
//!
//! Buckets are those of a Prometheus native histogram of schema 3 (eight to a
//! power of two, 9 % wide) over seconds, so that what the kernel counts is
//! exported without re-bucketing. The kernel has nanoseconds, which share no
//! power of two with the second, so a value is first scaled to units of
//! 2^-30 s: `v * 2^30 / 10^9`, an integer multiplication and a shift.

/// Prometheus native histogram schema: bucket bounds are powers of 2^(1/8).
pub const SCHEMA: i32 = 3;
/// Buckets to a power of two.
pub const PER_OCTAVE: u32 = 1 << SCHEMA;
/// Exponent (of two, in seconds) of the lower edge of bucket 0: 2^-24 s is 60 ns.
pub const MIN_EXPONENT: i32 = -24;
/// Buckets of a histogram: 32 octaves, up to 2^8 s = 256 s. Power of two, so
/// that an index can be masked.
pub const BUCKETS: usize = 256;

/// Where a power of two is cut: 2^(j/8) for j in 1..8 as 1.31 fixed point.
const CUTS: [u32; 7] = [
    2_341_847_524,
    2_553_802_834,
    2_784_941_738,
    3_037_000_500,
    3_311_872_529,
    3_611_622_603,
    3_938_502_376,
];

/// A histogram of durations, as it lies in a kernel map.
///
/// `count` is the sum of the buckets and not kept apart, so that a histogram
/// read while the kernel adds to it can never contradict itself.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Histogram {
    /// Sum of all values, nanoseconds.
    pub sum_ns: u64,
    /// Values per bucket.
    pub buckets: [u64; BUCKETS],
}

impl Histogram {
    /// A histogram without values.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum_ns: 0, buckets: [0; BUCKETS] }
    }

    /// Adds one value. (The kernel adds with its own atomic instruction.)
    pub fn observe(&mut self, value_ns: u64) {
        self.sum_ns = self.sum_ns.wrapping_add(value_ns);
        if let Some(bucket) = self.buckets.get_mut(bucket_index(value_ns)) {
            *bucket += 1;
        }
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *mine += theirs;
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// The bucket of a duration. Values outside the range land in the first or
/// the last bucket. A value on a bound may fall on either side of it: the
/// scaling rounds down by at most one part in ten million.
#[inline(always)]
#[must_use]
pub fn bucket_index(value_ns: u64) -> usize {
    // 281_475 / 2^18 is 2^30 / 10^9 to eight digits; values above 2^45 ns
    // (ten hours) would overflow and are above the last bucket anyway.
    let capped = if value_ns > 1 << 45 { 1 << 45 } else { value_ns };
    let scaled = (capped * 281_475) >> 18;
    // The range starts at 2^-24 s = 2^6 units.
    if scaled < 64 {
        return 0;
    }
    let octave = 63 - scaled.leading_zeros();
    let mantissa = ((scaled << (63 - octave)) >> 32) as u32;
    let mut step = 0;
    step += u32::from(mantissa > CUTS[0]);
    step += u32::from(mantissa > CUTS[1]);
    step += u32::from(mantissa > CUTS[2]);
    step += u32::from(mantissa > CUTS[3]);
    step += u32::from(mantissa > CUTS[4]);
    step += u32::from(mantissa > CUTS[5]);
    step += u32::from(mantissa > CUTS[6]);
    let index = ((octave - 6) * PER_OCTAVE + step) as usize;
    if index < BUCKETS { index } else { BUCKETS - 1 }
}

/// The index that Prometheus gives to our bucket: its bucket `k` ends at
/// 2^(k/8) seconds.
#[must_use]
pub const fn native_index(bucket: usize) -> i32 {
    MIN_EXPONENT * PER_OCTAVE as i32 + bucket as i32 + 1
}

/// Edges of the classic request-duration buckets: 100 us to 5 s.
pub const REQUEST_EDGES_NS: [u64; 12] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];

/// Edges of the classic run-queue buckets: 10 us to 1 s.
pub const RUNQUEUE_EDGES_NS: [u64; 12] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    1_000_000_000,
];

/// Buckets of a classic histogram, the one for +Inf included.
pub const CLASSIC_BUCKETS: usize = 13;

/// The classic bucket of a value: the first whose edge is not below it.
#[inline(always)]
#[must_use]
pub fn classic_index(value_ns: u64, edges_ns: &[u64; 12]) -> usize {
    let mut index = 0;
    let mut i = 0;
    while i < 12 {
        index += usize::from(value_ns > edges_ns[i]);
        i += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn upper_seconds(bucket: usize) -> f64 {
        f64::powf(2.0, f64::from(native_index(bucket)) / 8.0)
    }

    #[test]
    fn the_range_is_60_ns_to_256_s() {
        assert_eq!(bucket_index(0), 0);
        assert_eq!(bucket_index(59), 0);
        assert_eq!(bucket_index(255_000_000_000), BUCKETS - 1);
        assert_eq!(bucket_index(u64::MAX), BUCKETS - 1);
        assert!((upper_seconds(BUCKETS - 1) - 256.0).abs() < 1e-9);
    }

    #[test]
    fn classic_edges_are_inclusive() {
        assert_eq!(classic_index(100_000, &REQUEST_EDGES_NS), 0);
        assert_eq!(classic_index(100_001, &REQUEST_EDGES_NS), 1);
        assert_eq!(classic_index(u64::MAX, &REQUEST_EDGES_NS), 12);
    }

    proptest! {
        #[test]
        fn a_value_lies_between_the_bounds_of_its_bucket(ns in 60u64..250_000_000_000) {
            let bucket = bucket_index(ns);
            let seconds = ns as f64 / 1e9;
            // One unit of 2^-30 s is lost by rounding, visible only in the
            // smallest buckets.
            let slack = 2e-9 + seconds * 1e-6;
            prop_assert!(seconds <= upper_seconds(bucket) + slack);
            if bucket > 0 {
                prop_assert!(seconds > upper_seconds(bucket - 1) - slack);
            }
        }

        #[test]
        fn the_index_grows_with_the_value(a in any::<u64>(), b in any::<u64>()) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(bucket_index(low) <= bucket_index(high));
        }
    }
}
