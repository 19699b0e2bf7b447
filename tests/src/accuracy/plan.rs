//! Which requests are touched: exactly half of them, in an order drawn by lot.
//!
//! Separate because it is pure: the same seed draws the same.

use crate::bench::statistics::Random;

/// `count` times true and `count` times false, shuffled.
#[must_use]
pub fn halves(count: usize, seed: u64) -> Vec<bool> {
    let mut lots: Vec<bool> = (0..count * 2).map(|index| index < count).collect();
    shuffle(&mut lots, seed);
    lots
}

/// Puts items into another order.
pub fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut random = Random::new(seed);
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_are_touched_in_an_order_that_depends_on_the_seed() {
        let plan = halves(400, 1);
        assert_eq!((plan.len(), plan.iter().filter(|lot| **lot).count()), (800, 400));
        assert_eq!(plan, halves(400, 1));
        assert_ne!(plan, halves(400, 2));
        let first = plan[..400].iter().filter(|lot| **lot).count();
        assert!((150..250).contains(&first), "{first} of the first half");
    }
}
