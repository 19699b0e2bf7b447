//! How long to wait before a batch is sent again. Pure but for the chance.
//!
//! Separate because all agents of a cluster lose the same endpoint at once, and
//! must not come back to it at once.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST: Duration = Duration::from_secs(16);
/// A batch is given up when it has been tried for this long: what is newer is
/// worth more.
pub(super) const GIVE_UP: Duration = Duration::from_secs(60);

/// Pauses between tries of one batch.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
    waited: Duration,
}

impl Backoff {
    /// The pause after another failure, not less than what was asked for;
    /// `None` when the batch is to be given up.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.after(asked, RandomState::new().hash_one(self.tries))
    }

    fn after(&mut self, asked: Option<Duration>, random: u64) -> Option<Duration> {
        if self.waited >= GIVE_UP {
            return None;
        }
        let full = FIRST.saturating_mul(1 << self.tries.min(16)).min(LONGEST);
        self.tries += 1;
        // From a half to all of it.
        let share = 0.5 + 0.5 * ((random >> 11) as f64 / (1u64 << 53) as f64);
        let jittered = full.mul_f64(share);
        let pause = asked.map_or(jittered, |asked| asked + jittered / 4).max(jittered);
        self.waited += pause;
        Some(pause)
    }

    /// Time that a try took counts too: one that hangs is one that is waited for.
    pub(super) fn add(&mut self, took: Duration) {
        self.waited += took;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pause_that_was_asked_for_is_kept() {
        let asked = Duration::from_secs(7);
        assert!(Backoff::default().next(Some(asked)).is_some_and(|pause| pause >= asked));
    }

    proptest! {
        #[test]
        fn pauses_grow_with_jitter_and_end(randoms in proptest::collection::vec(any::<u64>(), 50)) {
            let mut of = Backoff::default();
            let pauses: Vec<_> = randoms.into_iter().map_while(|random| of.after(None, random)).collect();
            prop_assert!(pauses.len() < 20);
            prop_assert!(pauses.iter().sum::<Duration>() >= GIVE_UP);
            for (n, pause) in pauses.iter().enumerate() {
                let full = FIRST.saturating_mul(1 << n.min(16)).min(LONGEST);
                prop_assert!((full / 2..=full).contains(pause), "{n}: {pause:?}");
            }
        }
    }
}
