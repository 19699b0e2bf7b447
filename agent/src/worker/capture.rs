//! Captures: which services' threads say what they do, and to whom.
//!
//! Separate from the data path of every day: nothing here happens while nobody
//! captures.

use agent_common::stats::Loss;

use super::Worker;
use crate::event::point::Point;
use crate::load::policies::ServiceSet;
use crate::tap::Unseen;
use crate::telemetry::Dropped;

impl Worker {
    /// Shows a point to who captures.
    pub(super) fn take_point(&mut self, point: &Point) {
        if !self.tap.is_idle() {
            let service = self.parts.attributor.services().get(point.service);
            self.tap.point(point, service);
        }
    }

    /// Has the kernel say what the threads of those services do that are
    /// captured now, and of no others.
    pub(super) fn keep_capture(&mut self) {
        let mut captured = ServiceSet::default();
        if self.tap.is_capturing() {
            for (index, service) in self.parts.attributor.services().iter() {
                if self.tap.captures(index, service)
                    && let Some(word) = captured.get_mut(usize::from(index / 64))
                {
                    *word |= 1 << (index % 64);
                }
            }
        }
        self.parts.policies.set_capture(&captured);
    }

    /// Points that never came here.
    pub(super) fn unseen_points(&self) -> Unseen {
        let losses = self.parts.counters.losses();
        Unseen {
            lost: losses.get(Loss::Capture as usize).copied().unwrap_or_default(),
            dropped: self.parts.own.dropped(Dropped::QueueFullPoint),
        }
    }
}
