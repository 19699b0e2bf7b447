//! The books of requests as spans: what was decided, what arrived, what did not.
//!
//! Separate because three tasks add to them: who chooses, who sends, and who is
//! asked for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use agent_common::record::request::{FLAG_TRACE, FLAG_TRACE_REFUSED, FLAG_TRACE_UNSEEN};

/// What is decided about a finished request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Kept: it failed.
    Error,
    /// Kept: slower than its service's running p99.
    Slow,
    /// Kept: one that it called on this node is.
    Linked,
    /// Kept: who called it says that the trace is sampled.
    Parent,
    /// Kept: one in so many.
    Ratio,
    /// Not kept: the others.
    Out,
    /// Not kept: enough were, in this second.
    Capped,
    /// Not kept: who called it says that the trace is not sampled.
    Unsampled,
    /// Not kept: its process sends spans itself.
    Instrumented,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 9] = [
        Self::Error,
        Self::Slow,
        Self::Linked,
        Self::Parent,
        Self::Ratio,
        Self::Out,
        Self::Capped,
        Self::Unsampled,
        Self::Instrumented,
    ];

    /// The value of the `decision` label, and of the attribute of spans.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Slow => "slow",
            Self::Linked => "linked",
            Self::Parent => "parent",
            Self::Ratio => "ratio",
            Self::Out => "out",
            Self::Capped => "capped",
            Self::Unsampled => "unsampled",
            Self::Instrumented => "instrumented",
        }
    }

    /// What it makes of the request at once; `None` if it is kept.
    const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Error | Self::Slow | Self::Linked | Self::Parent | Self::Ratio => None,
            Self::Out | Self::Capped | Self::Unsampled => Some(Outcome::Sampled),
            Self::Instrumented => Some(Outcome::Filtered),
        }
    }

    /// Whether the request is exported.
    #[must_use]
    pub const fn is_kept(self) -> bool {
        self.outcome().is_none()
    }
}

/// What became of a request, in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint has taken its spans.
    Exported,
    /// It was not chosen.
    Sampled,
    /// It is not exported on purpose.
    Filtered,
    /// It was chosen, and could not be exported.
    Dropped,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Exported, Self::Sampled, Self::Filtered, Self::Dropped];

    /// The value of the `outcome` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Sampled => "sampled",
            Self::Filtered => "filtered",
            Self::Dropped => "dropped",
        }
    }
}

/// Why a request that was chosen is not exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// There was no room in the queue.
    QueueFull,
    /// The endpoint could not be reached, or broke off, for too long.
    Unreachable,
    /// It did not answer in time, for too long.
    Timeout,
    /// It asked to come back later, for too long.
    Busy,
    /// It does not want it.
    Refused,
    /// It took the batch, but not these.
    Rejected,
}

impl Undelivered {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::QueueFull,
        Self::Unreachable,
        Self::Timeout,
        Self::Busy,
        Self::Refused,
        Self::Rejected,
    ];

    /// The value of the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
        }
    }
}

/// How one try to send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The endpoint took it.
    Ok,
    /// As [`Undelivered::Unreachable`].
    Unreachable,
    /// As [`Undelivered::Timeout`].
    Timeout,
    /// As [`Undelivered::Busy`].
    Busy,
    /// As [`Undelivered::Refused`].
    Refused,
}

impl Sent {
    /// Every result.
    pub const ALL: [Self; 5] =
        [Self::Ok, Self::Unreachable, Self::Timeout, Self::Busy, Self::Refused];

    /// The value of the `result` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Refused => "refused",
        }
    }
}

/// What came of the search for `traceparent` in a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// It was read.
    Read,
    /// There is none in what is looked at of the head, which goes on.
    Unseen,
    /// It is malformed, or there is more than one.
    Refused,
}

impl Parent {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Read, Self::Unseen, Self::Refused];

    /// The value of the `result` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Unseen => "unseen",
            Self::Refused => "refused",
        }
    }

    /// The bit of a record that says so.
    const fn flag(self) -> u32 {
        match self {
            Self::Read => FLAG_TRACE,
            Self::Unseen => FLAG_TRACE_UNSEEN,
            Self::Refused => FLAG_TRACE_REFUSED,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Traces {
    is_on: AtomicBool,
    decisions: [AtomicU64; Decision::ALL.len()],
    outcomes: [AtomicU64; Outcome::ALL.len()],
    undelivered: [AtomicU64; Undelivered::ALL.len()],
    sent: [AtomicU64; Sent::ALL.len()],
    parents: [AtomicU64; Parent::ALL.len()],
    spans: AtomicU64,
    queue_bytes: AtomicU64,
}

fn add(counts: &[AtomicU64], index: usize, count: u64) {
    if let Some(total) = counts.get(index) {
        total.fetch_add(count, Ordering::Relaxed);
    }
}

fn read(counts: &[AtomicU64], index: usize) -> u64 {
    counts.get(index).map_or(0, |count| count.load(Ordering::Relaxed))
}

impl Traces {
    /// Spans are exported.
    pub fn set_on(&self) {
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// Whether they are.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Counts a finished request by what was decided about it.
    pub fn decided(&self, decision: Decision) {
        add(&self.decisions, decision as usize, 1);
        if let Some(outcome) = decision.outcome() {
            add(&self.outcomes, outcome as usize, 1);
        }
    }

    /// Counts requests that were chosen and are not exported.
    pub fn undelivered(&self, reason: Undelivered, requests: u64) {
        add(&self.undelivered, reason as usize, requests);
        add(&self.outcomes, Outcome::Dropped as usize, requests);
    }

    /// Counts requests that were chosen and are not exported on purpose.
    pub fn filtered(&self, requests: u64) {
        add(&self.outcomes, Outcome::Filtered as usize, requests);
    }

    /// Counts requests that the endpoint has taken, and their spans.
    pub fn delivered(&self, requests: u64, spans: u64) {
        add(&self.outcomes, Outcome::Exported as usize, requests);
        self.spans.fetch_add(spans, Ordering::Relaxed);
    }

    /// Counts a request by what its flags say of its `traceparent`.
    pub fn parent_read(&self, flags: u32) {
        for parent in Parent::ALL {
            if flags & parent.flag() != 0 {
                add(&self.parents, parent as usize, 1);
            }
        }
    }

    /// Requests whose `traceparent` was this.
    #[must_use]
    pub fn parents(&self, parent: Parent) -> u64 {
        read(&self.parents, parent as usize)
    }

    /// Counts a try to send.
    pub fn sent(&self, result: Sent) {
        add(&self.sent, result as usize, 1);
    }

    /// Takes room in the queue, of `max` bytes in all.
    #[must_use]
    pub fn reserve(&self, bytes: u64, max: u64) -> bool {
        let has_room = self.queue_bytes.load(Ordering::Relaxed).saturating_add(bytes) <= max;
        if has_room {
            self.queue_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        has_room
    }

    /// Gives room back.
    pub fn release(&self, bytes: u64) {
        self.queue_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of the queue.
    #[must_use]
    pub fn queue_bytes(&self) -> u64 {
        self.queue_bytes.load(Ordering::Relaxed)
    }

    /// Requests with this decision.
    #[must_use]
    pub fn decisions(&self, decision: Decision) -> u64 {
        read(&self.decisions, decision as usize)
    }

    /// Requests with this outcome.
    #[must_use]
    pub fn outcomes(&self, outcome: Outcome) -> u64 {
        read(&self.outcomes, outcome as usize)
    }

    /// Requests that were dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: Undelivered) -> u64 {
        read(&self.undelivered, reason as usize)
    }

    /// Tries with this result.
    #[must_use]
    pub fn sends(&self, result: Sent) -> u64 {
        read(&self.sent, result as usize)
    }

    /// Spans that the endpoint has taken.
    #[must_use]
    pub fn spans(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }

    /// Requests that were decided about and have no outcome yet.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let decided: u64 = Decision::ALL.into_iter().map(|one| self.decisions(one)).sum();
        let ended: u64 = Outcome::ALL.into_iter().map(|one| self.outcomes(one)).sum();
        decided.saturating_sub(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decision_ends_in_one_outcome_or_waits() {
        let books = Traces::default();
        Decision::ALL.into_iter().for_each(|decision| books.decided(decision));
        assert_eq!(books.waiting(), 5);
        books.delivered(2, 7);
        books.undelivered(Undelivered::Refused, 1);
        assert_eq!(books.waiting(), 2);
        let outcomes = Outcome::ALL.map(|outcome| books.outcomes(outcome));
        assert_eq!(outcomes, [2, 3, 1, 1]);
        assert_eq!(books.spans(), 7);
    }

    #[test]
    fn the_queue_takes_no_more_than_its_bound() {
        let books = Traces::default();
        assert!(books.reserve(6, 10));
        assert!(!books.reserve(5, 10));
        assert!(books.reserve(4, 10));
        books.release(6);
        assert!(books.reserve(5, 10));
        assert_eq!(books.queue_bytes(), 9);
    }
}
