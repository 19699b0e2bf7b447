//! Health of the agent's questions about peers on other nodes.
//!
//! Separate from what is known of them: whoever asks writes here, the worker
//! reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeersAnswer {
    /// An answer.
    Ok,
    /// There is no connection.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// It has not seen all of the cluster yet, or has too much to do.
    NotReady,
    /// Its watch has been out of touch for too long.
    Stale,
    /// What it said is no answer.
    Garbage,
}

impl PeersAnswer {
    /// Every result.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Unreachable, Self::Timeout, Self::NotReady, Self::Stale, Self::Garbage];

    /// The value of the `result` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::NotReady => "not_ready",
            Self::Stale => "stale",
            Self::Garbage => "garbage",
        }
    }
}

/// See the module. Nothing else depends on the order in which these are seen.
#[derive(Debug, Default)]
pub struct Peers {
    is_on: AtomicBool,
    is_answering: AtomicBool,
    asks: [AtomicU64; PeersAnswer::ALL.len()],
    addresses: AtomicU64,
    named: AtomicU64,
}

impl Peers {
    /// Somebody is asked.
    pub fn set_on(&self) {
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// Whether anybody is.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Whether the last question was answered.
    #[must_use]
    pub fn is_answering(&self) -> bool {
        self.is_answering.load(Ordering::Relaxed)
    }

    /// The last question was answered, or not.
    pub fn set_answering(&self, is_answering: bool) {
        self.is_answering.store(is_answering, Ordering::Relaxed);
    }

    /// A question has come to this.
    pub fn count(&self, result: PeersAnswer) {
        if let Some(count) = self.asks.get(result as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Questions so far, by result.
    #[must_use]
    pub fn asks(&self, result: PeersAnswer) -> u64 {
        self.asks.get(result as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// So many addresses were asked about, and so many of them had names.
    pub fn count_addresses(&self, asked: usize, named: usize) {
        self.addresses.fetch_add(asked as u64, Ordering::Relaxed);
        self.named.fetch_add(named as u64, Ordering::Relaxed);
    }

    /// Addresses that were asked about so far, and those of them that had names.
    #[must_use]
    pub fn addresses(&self) -> (u64, u64) {
        (self.addresses.load(Ordering::Relaxed), self.named.load(Ordering::Relaxed))
    }
}
