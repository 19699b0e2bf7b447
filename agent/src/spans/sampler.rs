//! Which requests are chosen. Pure.
//!
//! Separate because each rule is a promise: failed and slow ones always, one in
//! so many of the others, and never more than so many in a second.

use super::Choice;
use crate::telemetry::traces::Decision;

const SECOND_NS: u64 = 1_000_000_000;

/// What is known of a request when it is decided about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Its server failed, or its client left.
    pub(super) has_failed: bool,
    /// Slower than its service's running p99.
    pub(super) is_slow: bool,
    /// What who called it says of the trace: whether it is sampled; `None` if
    /// nothing is said.
    pub(super) parent: Option<bool>,
    /// One that it called is kept: without it that one would have no root.
    pub(super) is_linked: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sampler {
    choice: Choice,
    /// Time that is saved up for requests, at most a second of it: each costs its
    /// share of a second.
    credit_ns: u64,
    seen_ns: u64,
}

impl Sampler {
    /// One that can choose a second's worth at once.
    pub(super) const fn new(choice: Choice) -> Self {
        Self { choice, credit_ns: SECOND_NS, seen_ns: 0 }
    }

    /// Decides about a request that finished at `now_ns`. `random` is a number
    /// of 64 random bits.
    pub(super) fn decide(&mut self, seen: Seen, now_ns: u64, random: u64) -> Decision {
        if seen.parent == Some(false) {
            // Who began the trace has thrown it away: a part of it is of no use.
            return Decision::Unsampled;
        }
        if seen.is_linked {
            // Its trace was counted against the cap before.
            return Decision::Linked;
        }
        let decision = match seen {
            Seen { parent: Some(true), .. } => Decision::Parent,
            Seen { has_failed: true, .. } => Decision::Error,
            Seen { is_slow: true, .. } => Decision::Slow,
            _ if random.is_multiple_of(u64::from(self.choice.one_in.max(1))) => Decision::Ratio,
            _ => return Decision::Out,
        };
        let passed_ns = now_ns.saturating_sub(self.seen_ns);
        self.seen_ns = self.seen_ns.max(now_ns);
        self.credit_ns = self.credit_ns.saturating_add(passed_ns).min(SECOND_NS);
        let cost_ns = SECOND_NS / u64::from(self.choice.per_second.max(1));
        match self.credit_ns.checked_sub(cost_ns) {
            Some(left_ns) => {
                self.credit_ns = left_ns;
                decision
            }
            None => Decision::Capped,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTHING: Seen =
        Seen { has_failed: false, is_slow: false, parent: None, is_linked: false };

    fn sampler(one_in: u32, per_second: u32) -> Sampler {
        Sampler::new(Choice { one_in, per_second, takes_instrumented: false })
    }

    #[test]
    fn failed_and_slow_ones_are_chosen_and_the_others_by_chance() {
        let mut of = sampler(10, 10_000);
        let failed = Seen { has_failed: true, is_slow: true, ..NOTHING };
        let slow = Seen { is_slow: true, ..NOTHING };
        assert_eq!(of.decide(failed, 0, 7), Decision::Error);
        assert_eq!(of.decide(slow, 0, 7), Decision::Slow);
        assert_eq!(of.decide(NOTHING, 0, 7), Decision::Out);
        assert_eq!(of.decide(NOTHING, 0, 20), Decision::Ratio);
        assert_eq!(sampler(1, 1).decide(NOTHING, 0, 7), Decision::Ratio, "1 in 1 is all");
    }

    #[test]
    fn a_trace_is_kept_or_not_as_who_began_it_says_whatever_became_of_the_request() {
        let mut of = sampler(1, 10);
        for has_failed in [false, true] {
            for is_linked in [false, true] {
                let seen = Seen { has_failed, is_slow: true, is_linked, parent: Some(false) };
                assert_eq!(of.decide(seen, 0, 0), Decision::Unsampled);
            }
            let seen = Seen { has_failed, parent: Some(true), ..NOTHING };
            assert_eq!(of.decide(seen, 0, 7), Decision::Parent);
        }
        let sampled = Seen { parent: Some(true), ..NOTHING };
        let kept = (0..100).filter(|_| of.decide(sampled, 0, 7) == Decision::Parent).count();
        assert_eq!(kept, 8, "the cap holds, and two were kept before");
    }

    #[test]
    fn the_cap_holds_for_errors_too_and_a_quiet_time_saves_up_one_second() {
        let mut of = sampler(1, 100);
        let failed = Seen { has_failed: true, ..NOTHING };
        let mut kept = |now_ns, tries: u32| {
            (0..tries).filter(|_| of.decide(failed, now_ns, 1) == Decision::Error).count()
        };
        assert_eq!(kept(5, 1_000), 100);
        assert_eq!(kept(5 + SECOND_NS / 2, 1_000), 50);
        assert_eq!(kept(100 * SECOND_NS, 1_000), 100);
    }

    proptest! {
        #[test]
        fn never_more_than_the_cap_and_a_second_saved_up(
            per_second in 1u32..10_000,
            steps in proptest::collection::vec((0u64..200_000_000, 1u64..50), 1..200),
        ) {
            let mut of = sampler(1, per_second);
            let (mut now_ns, mut kept) = (0, 0u64);
            for (step_ns, tries) in steps {
                now_ns += step_ns;
                kept += (0..tries).filter(|_| of.decide(NOTHING, now_ns, 0).is_kept()).count() as u64;
            }
            let cost_ns = SECOND_NS / u64::from(per_second);
            prop_assert!(kept <= (now_ns + SECOND_NS) / cost_ns);
        }
    }
}
