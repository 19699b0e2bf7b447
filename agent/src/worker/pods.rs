//! Names of pods: taken up, and shown for what they are.
//!
//! Separate from the data path: what is measured does not depend on a name, only
//! whether and how it is shown.

use super::{Worker, counter, gauge};
use crate::aggregate::snapshot::Snapshot;
use crate::attribution::pods::Pods;
use crate::attribution::pods::select::Unselected;
use crate::event::pod::PodUpdate;
use crate::metrics::agent as own_metrics;
use crate::sys::clock;
use crate::telemetry::metadata::{MetadataError, MetadataRequest, MetadataState};

impl Worker {
    /// Takes up what the API server said of the pods of this node.
    pub fn take_pods(&mut self, update: PodUpdate) {
        // What was counted until now belongs to who had the addresses.
        self.sweep_edges();
        if self.parts.attributor.on_pods(update, clock::monotonic_ns()) {
            self.rescan_now();
        }
        self.peers.set_pods(self.parts.attributor.local_pods());
    }

    /// Lets time pass for containers whose names are not known. To be called
    /// once a second.
    pub fn tick_pods(&mut self) {
        let is_watching = self.parts.own.metadata.state() == MetadataState::Watching;
        for index in self.parts.attributor.tick(clock::monotonic_ns(), is_watching) {
            self.series.remove(&index);
        }
        // At most once a second, however many pods came: it reads all of /proc.
        if self.parts.attributor.wants_rescan() {
            self.rescan_now();
        }
    }

    pub(super) fn snapshot_pods(&self, snapshot: &mut Snapshot) {
        let metadata = &self.parts.own.metadata;
        let current = metadata.state();
        for state in MetadataState::ALL {
            let value = f64::from(u8::from(state == current));
            gauge(snapshot, &own_metrics::METADATA_STATE, &[state.as_str()], value);
        }
        let attributor = &self.parts.attributor;
        if current == MetadataState::Off {
            return;
        }
        if let Some(age_ns) = metadata.age_ns(clock::monotonic_ns()) {
            gauge(snapshot, &own_metrics::METADATA_AGE, &[], age_ns as f64 / 1e9);
        }
        for reason in MetadataError::ALL {
            let count = metadata.errors(reason) as f64;
            counter(snapshot, &own_metrics::METADATA_ERRORS, &[reason.as_str()], count);
        }
        for request in MetadataRequest::ALL {
            let count = metadata.requests(request) as f64;
            counter(snapshot, &own_metrics::METADATA_REQUESTS, &[request.as_str()], count);
        }
        let pods = attributor.pods().map_or(0, Pods::count) as f64;
        gauge(snapshot, &own_metrics::METADATA_PODS, &[], pods);
        let left_out = attributor.pods().map_or(0, Pods::left_out) as f64;
        counter(snapshot, &own_metrics::METADATA_PODS_LEFT_OUT, &[], left_out);
        for (reason, count) in Unselected::ALL.iter().zip(attributor.unselected_pods()) {
            gauge(snapshot, &own_metrics::PODS_UNSELECTED, &[reason.as_str()], count as f64);
        }
        let counts = attributor.name_counts();
        for (state, count) in
            [("named", counts.named), ("waiting", counts.waiting), ("unnamed", counts.unnamed)]
        {
            gauge(snapshot, &own_metrics::POD_CONTAINERS, &[state], count as f64);
        }
    }
}
