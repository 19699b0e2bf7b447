//! Edges: swept, named, and added to the series of their services.
//!
//! Separate from the counters that are read at a snapshot: what was counted
//! belongs to whoever had the address at that time, so it is named every few
//! seconds and before names change.

use super::{Worker, counter, gauge};
use crate::aggregate::snapshot::Snapshot;
use crate::attribution::peers::cidr::Names;
use crate::attribution::peers::local;
use crate::config::Network;
use crate::event::peer::PeerUpdate;
use crate::metrics::agent as own_metrics;
use crate::sys::clock;

use agent_common::limits::MAX_EDGES;

impl Worker {
    /// Adds what was counted since the last time. To be called every few
    /// seconds.
    pub fn sweep_edges(&mut self) {
        self.refresh_entries();
        let now_ns = clock::monotonic_ns();
        let (peers, series) = (&self.peers, &mut self.series);
        self.parts.edges.sweep(now_ns, |service, remote, change| {
            // One without series does not serve yet, or not any more.
            let Some(entry) = series.get_mut(&service) else { return false };
            entry.edges.observe(&peers.name(remote, now_ns), change);
            true
        });
    }

    /// Looks who is on this node: addresses that it has, pods that it runs.
    pub(super) fn refresh_peers(&mut self) {
        // What was counted until now belongs to who was there until now.
        self.sweep_edges();
        self.peers.set_node(local::addresses(&self.parts.proc));
        self.peers.set_pods(self.parts.attributor.local_pods());
    }

    /// Takes up what was found out about peers on other nodes: for whoever
    /// looks them up.
    pub fn take_peer(&mut self, update: PeerUpdate) {
        self.sweep_edges();
        self.peers.update(update, clock::monotonic_ns());
    }

    /// Takes up other names of networks.
    pub(super) fn name_networks(&mut self, networks: &[Network]) {
        self.sweep_edges();
        self.peers.set_names(Names::new(networks));
    }

    pub(super) fn snapshot_edges(&self, snapshot: &mut Snapshot) {
        let edges = &self.parts.edges;
        gauge(snapshot, &own_metrics::MAP_ENTRIES, &["edges"], edges.len() as f64);
        gauge(snapshot, &own_metrics::MAP_CAPACITY, &["edges"], f64::from(MAX_EDGES));
        counter(snapshot, &own_metrics::EDGE_SWEEPS_FAILED, &[], edges.failures() as f64);
    }
}
