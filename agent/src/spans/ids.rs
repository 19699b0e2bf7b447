//! Random numbers for the ids of traces and spans.
//!
//! Separate because they need to be different on every node and after every
//! start, not to be a secret: a generator of 64 bits (`splitmix64`), seeded by
//! the randomness that the standard library has for its hash maps.

use std::hash::{BuildHasher as _, RandomState};

/// A generator; two of them give different numbers.
#[derive(Debug)]
pub(super) struct Ids {
    state: u64,
    /// A second stream, so that ids of traces have 128 bits of their own.
    other: u64,
}

impl Ids {
    /// A generator with a seed of the system's.
    pub(super) fn new() -> Self {
        let hasher = RandomState::new();
        Self { state: hasher.hash_one(1_u8), other: hasher.hash_one(2_u8) }
    }

    /// A number.
    pub(super) const fn next(&mut self) -> u64 {
        step(&mut self.state)
    }

    /// The id of a span; not zero, which is none.
    pub(super) const fn span(&mut self) -> u64 {
        loop {
            let id = self.next();
            if id != 0 {
                return id;
            }
        }
    }

    /// The id of a trace; not zero, and its lower half random, by which others
    /// sample.
    pub(super) const fn trace(&mut self) -> u128 {
        ((step(&mut self.other) as u128) << 64) | self.span() as u128
    }
}

const fn step(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_within_a_generator_and_between_two() {
        let (mut one, mut two) = (Ids::new(), Ids::new());
        let ids: HashSet<u64> = (0..10_000).flat_map(|_| [one.span(), two.span()]).collect();
        assert_eq!(ids.len(), 20_000);
        let traces: HashSet<u128> = (0..1_000).flat_map(|_| [one.trace(), two.trace()]).collect();
        assert_eq!(traces.len(), 2_000);
    }
}
