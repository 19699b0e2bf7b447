//! Asks, from an agent: what the worker wants to know, again and again, and what
//! has changed since.
//!
//! Separate from the table that the answers go to: this is the loop, its pauses
//! and its deadlines. Errors are counted and never end it.

mod link;
mod rounds;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::event::peer::{PeersTold, PeersWanted};
use crate::telemetry::Own;
use crate::telemetry::peers::PeersAnswer;
use link::Link;
use rounds::Rounds;

/// What lies between two rounds while all is well, without its share of chance.
const INTERVAL: Duration = Duration::from_millis(4_500);
/// The most of that share.
const SPREAD_MS: u64 = 1_000;
/// How long a round may take, with a look-up of the server's name in it.
const ROUND: Duration = Duration::from_secs(3);
/// The pause after a first failure; each further is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Doublings of the pause, at most.
const MAX_DOUBLINGS: u32 = 3;
/// The least time from one round to another that is asked for.
const LEAST: Duration = Duration::from_millis(200);

/// Whom to ask, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The server's URL: `http://strata-peers.strata.svc:9465`.
    pub url: String,
    /// This node's name; empty if it has none.
    pub node: String,
}

/// Asks until nobody listens. `wanted` says what to ask about, `tell` takes what
/// was answered; `prompt` has a round begin at once.
pub async fn run(
    place: Place,
    own: Arc<Own>,
    prompt: Arc<Notify>,
    wanted: impl AsyncFn() -> Option<PeersWanted>,
    tell: impl AsyncFn(PeersTold) -> bool,
) {
    let mut rounds = Rounds::new(&place.node);
    let mut pauses = Pauses { node: place.node.clone(), count: 0, failures: 0 };
    loop {
        let Some(wanted) = wanted().await else { return };
        let begun = Instant::now();
        if rounds.is_needed(&wanted) {
            let outcome = timeout(
                ROUND,
                Link::with(&place.url, async |link| rounds.ask(&wanted, link, &own).await),
            );
            match outcome.await.unwrap_or(Err(PeersAnswer::Timeout)) {
                Ok(told) => {
                    own.peers.count(PeersAnswer::Ok);
                    if pauses.failures > 0 || !own.peers.is_answering() {
                        tracing::info!(url = place.url, "peers on other nodes have names");
                    }
                    own.peers.set_answering(true);
                    pauses.failures = 0;
                    if !tell(told).await {
                        return;
                    }
                }
                Err(result) => {
                    own.peers.count(result);
                    own.peers.set_answering(false);
                    if pauses.failures == 0 {
                        let result = result.as_str();
                        tracing::warn!(
                            url = place.url,
                            result,
                            "peers on other nodes are not told; they go without names"
                        );
                    }
                    pauses.failures = pauses.failures.saturating_add(1);
                }
            }
        }
        let (pause, may_be_prompted) = (pauses.next(), pauses.failures == 0);
        tokio::select! {
            () = sleep(pause) => {}
            () = prompt.notified(), if may_be_prompted => {
                tokio::time::sleep_until(begun + LEAST).await;
            }
        }
    }
}

/// Pauses between rounds, each with its share of chance: agents that began
/// together, or lost the server together, do not ask together.
#[derive(Debug)]
struct Pauses {
    node: String,
    count: u64,
    failures: u32,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        self.count += 1;
        let mut hasher = DefaultHasher::new();
        (&self.node, self.count).hash(&mut hasher);
        let chance = hasher.finish() % SPREAD_MS;
        if self.failures == 0 {
            return INTERVAL + Duration::from_millis(chance);
        }
        let base = FIRST_PAUSE * 2_u32.pow((self.failures - 1).min(MAX_DOUBLINGS));
        base + base.mul_f64(chance as f64 / SPREAD_MS as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_and_are_spread() {
        let mut pauses = Pauses { node: "n1".to_owned(), count: 0, failures: 0 };
        let between = |pauses: &mut Pauses, from: u64, to: u64| {
            let pause = pauses.next().as_millis() as u64;
            assert!((from..to).contains(&pause), "{pause}");
        };
        between(&mut pauses, 4_500, 5_500);
        for (failures, base) in [(1, 1_000), (2, 2_000), (3, 4_000), (4, 8_000), (99, 8_000)] {
            pauses.failures = failures;
            between(&mut pauses, base, 2 * base);
        }
        let first = |n: u32| {
            Pauses { node: format!("n{n}"), count: 0, failures: 0 }.next().as_millis() / 100
        };
        let mut tenths = [0; 10];
        (0..1_000).for_each(|n| tenths[first(n) as usize - 45] += 1);
        assert!(tenths.iter().all(|count| (50..200).contains(count)), "{tenths:?}");
    }
}
