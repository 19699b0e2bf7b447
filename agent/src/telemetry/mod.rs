//! The agent's own health: counters that several tasks add to, and its log.

pub mod log;
pub mod metadata;
pub mod peers;
pub mod starts;
pub mod traces;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use agent_common::limits::MAX_SERVICES;

use crate::event::{Event, Malformed};

/// Why the agent discarded something against its will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The queue between reader and worker was full: requests.
    QueueFull,
    /// The same, for calls to downstreams.
    QueueFullCall,
    /// The same, for changes of processes and cgroups.
    QueueFullChange,
    /// The same, half full, for points of a capture.
    QueueFullPoint,
    /// A request of a service that is not known (any more).
    UnknownService,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::QueueFull,
        Self::QueueFullCall,
        Self::QueueFullChange,
        Self::QueueFullPoint,
        Self::UnknownService,
    ];

    /// The value of the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full_request",
            Self::QueueFullCall => "queue_full_call",
            Self::QueueFullChange => "queue_full_change",
            Self::QueueFullPoint => "queue_full_point",
            Self::UnknownService => "unknown_service",
        }
    }
}

/// Counters of the agent itself.
#[derive(Debug)]
pub struct Own {
    malformed: [AtomicU64; Malformed::ALL.len()],
    dropped: [AtomicU64; Dropped::ALL.len()],
    /// Requests dropped, by service, for its books.
    dropped_of: Vec<AtomicU64>,
    queue_depth: AtomicU64,
    /// When a valid configuration was last loaded, unix time, nanoseconds.
    config_loaded_unix_ns: AtomicU64,
    /// Whether the last one that was looked at was refused.
    is_config_refused: AtomicBool,
    /// Where names of pods come from.
    pub metadata: metadata::Metadata,
    /// Questions about peers on other nodes.
    pub peers: peers::Peers,
    /// Requests as spans.
    pub traces: traces::Traces,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            malformed: Default::default(),
            dropped: Default::default(),
            dropped_of: (0..MAX_SERVICES).map(|_| AtomicU64::new(0)).collect(),
            queue_depth: AtomicU64::new(0),
            config_loaded_unix_ns: AtomicU64::new(0),
            is_config_refused: AtomicBool::new(false),
            metadata: metadata::Metadata::default(),
            peers: peers::Peers::default(),
            traces: traces::Traces::default(),
        }
    }
}

impl Own {
    /// Counts bytes that were no record.
    pub fn count_malformed(&self, reason: Malformed) {
        if let Some(count) = self.malformed.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Malformed records by reason.
    #[must_use]
    pub fn malformed(&self, reason: Malformed) -> u64 {
        self.malformed.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Counts things that were dropped.
    pub fn count_dropped(&self, reason: Dropped, count: u64) {
        if let Some(total) = self.dropped.get(reason as usize) {
            total.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Things dropped by reason.
    #[must_use]
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Counts a dropped request in its service's books.
    pub fn count_dropped_request(&self, service: u16) {
        if let Some(count) = self.dropped_of.get(usize::from(service)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Dropped requests of a service.
    #[must_use]
    pub fn dropped_requests(&self, service: u16) -> u64 {
        self.dropped_of.get(usize::from(service)).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Counts what is thrown away because the queue is full.
    pub fn count_queue_full(&self, events: &[Event]) {
        for event in events {
            match event {
                Event::Request(request) => {
                    self.count_dropped(Dropped::QueueFull, 1);
                    self.count_dropped_request(request.service);
                }
                Event::Call(_) => self.count_dropped(Dropped::QueueFullCall, 1),
                Event::Process(_) | Event::Cgroup(_) => {
                    self.count_dropped(Dropped::QueueFullChange, 1);
                }
                Event::Point(_) => self.count_dropped(Dropped::QueueFullPoint, 1),
            }
        }
    }

    /// A valid configuration was loaded.
    pub fn set_config_loaded(&self, unix_ns: u64) {
        self.config_loaded_unix_ns.store(unix_ns, Ordering::Relaxed);
        self.is_config_refused.store(false, Ordering::Relaxed);
    }

    /// A configuration was refused; the one before stays.
    pub fn set_config_refused(&self) {
        self.is_config_refused.store(true, Ordering::Relaxed);
    }

    /// Whether the last configuration was valid, and when the last valid one
    /// was loaded, unix time, nanoseconds.
    #[must_use]
    pub fn config_load(&self) -> (bool, u64) {
        (
            !self.is_config_refused.load(Ordering::Relaxed),
            self.config_loaded_unix_ns.load(Ordering::Relaxed),
        )
    }

    /// A service's index is given to another.
    pub fn clear_service(&self, service: u16) {
        if let Some(count) = self.dropped_of.get(usize::from(service)) {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// Inputs that wait in the queue.
    #[must_use]
    pub fn queue_depth(&self) -> u64 {
        self.queue_depth.load(Ordering::Relaxed)
    }

    /// Says how many inputs wait.
    pub fn set_queue_depth(&self, depth: usize) {
        self.queue_depth.store(depth as u64, Ordering::Relaxed);
    }
}
