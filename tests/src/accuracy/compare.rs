//! Differences of means between touched and untouched requests, with what
//! chance can do to them. Pure.
//!
//! Separate because it is arithmetic, and tested without a machine.

use crate::bench::statistics::{Random, quantile};

/// Resamplings of a bootstrap.
const RESAMPLINGS: usize = 1_000;

/// A difference of two means with its interval of 95 %, in the values' unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Mean of the touched less mean of the untouched.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Difference {
    /// How far from zero it may be, whatever its sign: of like with like, the
    /// noise floor.
    #[must_use]
    pub fn reach(&self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    /// Whether its interval meets 0.9 to 1.1 of the truth, `floor` allowed.
    #[must_use]
    pub fn meets(&self, truth: f64, floor: f64) -> bool {
        self.high >= truth * 0.9 - floor && self.low <= truth * 1.1 + floor
    }
}

/// Mean; 0 of none.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The difference with its interval, by bootstrap within each group. The same
/// values give the same interval. `None` where a group is empty.
#[must_use]
pub fn difference(touched: &[f64], untouched: &[f64]) -> Option<Difference> {
    if touched.is_empty() || untouched.is_empty() {
        return None;
    }
    let mut random = Random::new(touched.len() as u64);
    let mut means = Vec::with_capacity(RESAMPLINGS);
    for _ in 0..RESAMPLINGS {
        let [one, other] = [touched, untouched].map(|group| {
            let drawn = (0..group.len()).filter_map(|_| group.get(random.below(group.len())));
            drawn.sum::<f64>() / group.len() as f64
        });
        means.push(one - other);
    }
    Some(Difference {
        mean: mean(touched) - mean(untouched),
        low: quantile(&means, 0.025)?,
        high: quantile(&means, 0.975)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(from: f64) -> Vec<f64> {
        (0..100).map(|index| from + f64::from(index % 10)).collect()
    }

    #[test]
    fn a_shift_is_found_with_an_interval_around_it() {
        let found = difference(&ramp(50.0), &ramp(0.0)).unwrap();
        assert!((found.mean - 50.0).abs() < 1e-9, "{found:?}");
        assert!(found.low < 50.0 && 50.0 < found.high && found.high - found.low < 3.0);
        assert!(found.meets(50.0, 0.0) && found.meets(46.0, 0.0) && !found.meets(80.0, 0.0));
        assert!(!found.meets(20.0, 0.0) && found.meets(20.0, 30.0));
    }

    #[test]
    fn like_with_like_reaches_not_far_from_zero() {
        let found = difference(&ramp(0.0), &ramp(0.0)).unwrap();
        assert!(found.mean.abs() < 1e-9 && found.reach() < 2.0, "{found:?}");
        assert_eq!(difference(&[], &ramp(0.0)), None);
        assert!(mean(&[]).abs() < 1e-9);
    }
}
