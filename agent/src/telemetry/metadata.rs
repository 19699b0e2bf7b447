//! Health of the source of pods' names.
//!
//! Separate from what is known of pods: the watch of the API server and the
//! connection under it write here, the worker reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Why the API server could not be asked, or did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataError {
    /// How to reach it is not known.
    Config,
    /// It does not know who asks.
    Unauthorized,
    /// It knows, and refuses.
    Forbidden,
    /// There is no connection.
    Unreachable,
    /// It did not answer in time.
    Timeout,
    /// It has forgotten what happened since: everything is asked for again.
    Gone,
    /// It says that it cannot answer.
    Server,
    /// What it said is not what was asked for.
    Garbage,
}

impl MetadataError {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Config,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Unreachable,
        Self::Timeout,
        Self::Gone,
        Self::Server,
        Self::Garbage,
    ];

    /// The value of the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::Server => "server",
            Self::Garbage => "garbage",
        }
    }
}

/// What is asked of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataRequest {
    /// All pods.
    List,
    /// What changes from now on.
    Watch,
}

impl MetadataRequest {
    /// Both.
    pub const ALL: [Self; 2] = [Self::List, Self::Watch];

    /// The value of the `verb` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch => "watch",
        }
    }
}

/// How names of pods are come by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataState {
    /// Not at all: nobody said which node this is.
    Off,
    /// Pods have not been listed yet.
    Starting,
    /// What changes is told.
    Watching,
    /// The API server does not answer; what it said before is used.
    Failing,
}

impl MetadataState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Off, Self::Starting, Self::Watching, Self::Failing];

    /// The value of the `state` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::Watching => "watching",
            Self::Failing => "failing",
        }
    }
}

/// See the module. Nothing else depends on the order in which these are seen.
#[derive(Debug, Default)]
pub struct Metadata {
    is_on: AtomicBool,
    is_listed: AtomicBool,
    is_failing: AtomicBool,
    /// When the API server last said anything, `CLOCK_MONOTONIC` nanoseconds;
    /// 0 before it did.
    heard_ns: AtomicU64,
    errors: [AtomicU64; MetadataError::ALL.len()],
    requests: [AtomicU64; MetadataRequest::ALL.len()],
}

impl Metadata {
    /// Names are asked for.
    pub fn set_on(&self) {
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// All pods have been listed, and what changes is going to be told.
    pub fn set_listed(&self) {
        self.is_listed.store(true, Ordering::Relaxed);
        self.is_failing.store(false, Ordering::Relaxed);
    }

    /// A watch has begun.
    pub fn set_watching(&self) {
        self.is_failing.store(false, Ordering::Relaxed);
    }

    /// Something went wrong, and what changes is not told until a list or a
    /// watch begins.
    pub fn fail(&self, reason: MetadataError) {
        self.is_failing.store(true, Ordering::Relaxed);
        self.count_error(reason);
    }

    /// Something went wrong.
    pub fn count_error(&self, reason: MetadataError) {
        if let Some(count) = self.errors.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What went wrong so far, by reason.
    #[must_use]
    pub fn errors(&self, reason: MetadataError) -> u64 {
        self.errors.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Something is asked.
    pub fn count_request(&self, request: MetadataRequest) {
        if let Some(count) = self.requests.get(request as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was asked so far.
    #[must_use]
    pub fn requests(&self, request: MetadataRequest) -> u64 {
        self.requests.get(request as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// The API server said something, if only that it is there.
    pub fn set_heard(&self, now_ns: u64) {
        self.heard_ns.store(now_ns, Ordering::Relaxed);
    }

    /// Nanoseconds since the API server last said anything; `None` before it
    /// did.
    #[must_use]
    pub fn age_ns(&self, now_ns: u64) -> Option<u64> {
        let heard_ns = self.heard_ns.load(Ordering::Relaxed);
        (heard_ns != 0).then(|| now_ns.saturating_sub(heard_ns))
    }

    /// How things stand.
    #[must_use]
    pub fn state(&self) -> MetadataState {
        if !self.is_on.load(Ordering::Relaxed) {
            MetadataState::Off
        } else if self.is_failing.load(Ordering::Relaxed) {
            MetadataState::Failing
        } else if self.is_listed.load(Ordering::Relaxed) {
            MetadataState::Watching
        } else {
            MetadataState::Starting
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_until_the_next_watch_and_age_counts_from_the_last_word() {
        let metadata = Metadata::default();
        assert_eq!(metadata.state(), MetadataState::Off);
        metadata.set_on();
        assert_eq!((metadata.state(), metadata.age_ns(9)), (MetadataState::Starting, None));
        metadata.fail(MetadataError::Forbidden);
        assert_eq!(metadata.state(), MetadataState::Failing);
        metadata.set_listed();
        metadata.set_heard(5);
        assert_eq!((metadata.state(), metadata.age_ns(9)), (MetadataState::Watching, Some(4)));
        metadata.fail(MetadataError::Gone);
        assert_eq!(metadata.state(), MetadataState::Failing);
        metadata.set_watching();
        assert_eq!(metadata.state(), MetadataState::Watching);
        assert_eq!(metadata.errors(MetadataError::Forbidden), 1);
        assert_eq!(metadata.errors(MetadataError::Timeout), 0);
    }
}
