//! Medians and their intervals: what is said of a handful of noisy numbers.
//!
//! Separate because it is arithmetic, and tested without a machine.

/// A median with the interval that holds it in 95 of 100 resamplings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Median of the values.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How many values there were.
    pub count: usize,
}

impl Estimate {
    /// The same in another unit.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let ends = [self.low * factor, self.high * factor];
        Self {
            median: self.median * factor,
            low: ends[0].min(ends[1]),
            high: ends[0].max(ends[1]),
            count: self.count,
        }
    }
}

/// Resamplings of a bootstrap.
const RESAMPLINGS: usize = 2_000;

/// The median; of an even number of values the mean of the middle two. `None`
/// of none.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// The value below which this share of the values lies, 0 to 1: the nearest
/// rank. `None` of none.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// The median and its interval, by bootstrap. The same values give the same
/// interval. `None` of none.
#[must_use]
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    let center = median(values)?;
    let mut random = Random::new(0);
    let mut medians = Vec::with_capacity(RESAMPLINGS);
    let mut sample = vec![0.0; values.len()];
    for _ in 0..RESAMPLINGS {
        for slot in &mut sample {
            *slot = *values.get(random.below(values.len()))?;
        }
        medians.push(median(&sample)?);
    }
    Some(Estimate {
        median: center,
        low: quantile(&medians, 0.025)?,
        high: quantile(&medians, 0.975)?,
        count: values.len(),
    })
}

/// Half the width within which differences of like with like lie: the 90th
/// percentile of what they are without their sign. `None` of none.
#[must_use]
pub fn noise_floor(differences: &[f64]) -> Option<f64> {
    let sizes: Vec<f64> = differences.iter().map(|difference| difference.abs()).collect();
    quantile(&sizes, 0.9)
}

/// A generator that is good enough to draw with (xorshift64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that always gives the same; 0 stands for a seed like any other.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).max(1))
    }

    /// A number from 0 to below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % bound.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_ones() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.99), Some(99.0));
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&values, 1.0), Some(100.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn an_interval_holds_its_median_and_does_not_follow_one_outlier() {
        let values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, 50.0];
        let estimate = estimate(&values).unwrap();
        assert!(estimate.low <= estimate.median && estimate.median <= estimate.high);
        assert!(estimate.high < 2.0, "{estimate:?}");
        assert_eq!(estimate.count, 8);
    }

    #[test]
    fn a_negative_scale_keeps_the_ends_in_order() {
        let estimate = Estimate { median: 2.0, low: 1.0, high: 3.0, count: 3 }.scaled(-1.0);
        assert_eq!((estimate.low, estimate.median, estimate.high), (-3.0, -2.0, -1.0));
    }

    #[test]
    fn the_floor_is_near_the_largest_difference_of_like_with_like() {
        assert_eq!(noise_floor(&[-3.0, 1.0, 2.0]), Some(3.0));
        assert_eq!(noise_floor(&[]), None);
    }
}
