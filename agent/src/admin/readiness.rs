//! When the agent is ready: a latch with two steps.
//!
//! Separate because whoever attaches lanes and whoever sweeps set it, and
//! neither knows of HTTP.

use std::sync::atomic::{AtomicBool, Ordering};

/// Ready when lanes are attached and the first sweep is done, until the agent
/// stops.
#[derive(Debug, Default)]
pub struct Readiness {
    has_lanes: AtomicBool,
    has_swept: AtomicBool,
    is_stopping: AtomicBool,
}

// Each flag is set once and guards no other data, so no ordering is needed.
impl Readiness {
    /// Not ready.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            has_lanes: AtomicBool::new(false),
            has_swept: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Every lane has been attached, or has been found unavailable.
    pub fn set_lanes_attached(&self) {
        self.has_lanes.store(true, Ordering::Relaxed);
    }

    /// Counters have been swept once: a scrape shows what there is.
    pub fn set_first_sweep_done(&self) {
        self.has_swept.store(true, Ordering::Relaxed);
    }

    /// The agent is stopping: not ready from now on.
    pub fn set_stopping(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// What is missing; `None` when ready.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        if self.is_stopping.load(Ordering::Relaxed) {
            Some("stopping")
        } else if !self.has_lanes.load(Ordering::Relaxed) {
            Some("lanes are not attached yet")
        } else if !self.has_swept.load(Ordering::Relaxed) {
            Some("the first sweep is not done yet")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_lanes_and_a_sweep_in_any_order() {
        let readiness = Readiness::new();
        assert_eq!(readiness.missing(), Some("lanes are not attached yet"));
        readiness.set_first_sweep_done();
        assert_eq!(readiness.missing(), Some("lanes are not attached yet"));
        readiness.set_lanes_attached();
        assert_eq!(readiness.missing(), None);
        readiness.set_stopping();
        assert_eq!(readiness.missing(), Some("stopping"));
    }
}
