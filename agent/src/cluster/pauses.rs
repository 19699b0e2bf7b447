//! Pauses between attempts to reach the API server.
//!
//! Separate and pure but for the clock: a thousand agents lose the API server
//! at one moment, and must not come back at one.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use kube::runtime::utils::Backoff;

/// The first pause, without its share of chance.
const FIRST: Duration = Duration::from_millis(500);
/// The longest, without its share: pods are named again this soon after the API
/// server is back.
const LONGEST: Duration = Duration::from_secs(8);
/// Without an error for this long, pauses begin anew. Not with the first success:
/// a server that takes requests and answers none would be asked without end.
const CALM: Duration = Duration::from_secs(60);

/// Pauses of one node's agent: each twice the one before, up to a bound, and up
/// to as long again, by chance.
#[derive(Clone, Debug)]
pub(super) struct Pauses {
    node_name: String,
    /// Errors so far: another one draws another lot.
    count: u64,
    /// Errors since it was calm.
    in_a_row: u32,
    last: Option<Instant>,
}

impl Pauses {
    /// Pauses of the agent of this node.
    pub(super) fn new(node_name: &str) -> Self {
        Self { node_name: node_name.to_owned(), count: 0, in_a_row: 0, last: None }
    }

    /// The next pause, after an error at `now`.
    fn after(&mut self, now: Instant) -> Duration {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) >= CALM) {
            self.in_a_row = 0;
        }
        self.last = Some(now);
        self.count += 1;
        let base = (FIRST * 2_u32.saturating_pow(self.in_a_row.min(8))).min(LONGEST);
        self.in_a_row += 1;
        let mut hasher = DefaultHasher::new();
        (&self.node_name, self.count).hash(&mut hasher);
        // In thousandths; names of nodes are chance enough.
        let share = u32::try_from(hasher.finish() % 1_000).unwrap_or_default();
        base + base * share / 1_000
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.after(Instant::now()))
    }
}

impl Backoff for Pauses {
    /// By [`CALM`] alone.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew_after_a_calm() {
        let mut pauses = Pauses::new("n1");
        let mut now = Instant::now();
        for base in [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000] {
            pauses.reset();
            let pause = pauses.after(now).as_millis();
            assert!((base..2 * base).contains(&pause), "{pause} after {base}");
            now += Duration::from_secs(59);
        }
        now += Duration::from_secs(1);
        assert!(pauses.after(now).as_millis() < 1_000);
    }

    #[test]
    fn a_thousand_agents_do_not_come_back_at_once() {
        let now = Instant::now();
        let first = |n: u32| Pauses::new(&format!("node-{n}")).after(now).as_millis();
        let mut per_tenth = [0; 10];
        for n in 0..1_000 {
            per_tenth[usize::try_from((first(n) - 500) / 50).unwrap()] += 1;
        }
        assert!(per_tenth.iter().all(|count| (50..200).contains(count)), "{per_tenth:?}");
    }
}
