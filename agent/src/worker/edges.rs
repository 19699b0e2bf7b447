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
use crate::event::peer::{PeersTold, PeersWanted};
use crate::metrics::agent as own_metrics;
use crate::sys::clock;
use crate::telemetry::peers::PeersAnswer;

use agent_common::limits::MAX_EDGES;

/// Names that hold for less than this are asked again: twice what lies between
/// two answers.
const SOON_NS: u64 = 10_000_000_000;

impl Worker {
    /// Adds what was counted since the last time. To be called every few
    /// seconds.
    pub fn sweep_edges(&mut self) {
        self.name_edges(clock::monotonic_ns(), false);
    }

    fn name_edges(&mut self, now_ns: u64, is_confirmed: bool) {
        self.refresh_entries();
        let (peers, series) = (&mut self.peers, &mut self.series);
        self.parts.edges.sweep(now_ns, |service, remote, change| {
            // One without series does not serve yet, or not any more.
            let Some(entry) = series.get_mut(&service) else { return false };
            let Some(peer) = peers.name(remote, now_ns, is_confirmed) else { return false };
            entry.edges.observe(&peer, change);
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

    /// Peers on other nodes are asked about from now on.
    pub fn expect_peers(&mut self) {
        self.peers.expect_answers(clock::monotonic_ns());
    }

    /// What is to be asked about peers on other nodes: those that were met.
    pub fn wanted_peers(&mut self) -> PeersWanted {
        self.sweep_edges();
        self.peers.wanted(clock::monotonic_ns(), SOON_NS)
    }

    /// Takes up what was told of peers on other nodes, of the moment at which it
    /// was asked: what was counted until now waited for it.
    pub fn take_peers(&mut self, told: &PeersTold) {
        let now_ns = clock::monotonic_ns();
        self.peers.take(told, now_ns);
        self.name_edges(now_ns, true);
        self.peers.settle();
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
        self.snapshot_peers(snapshot);
    }

    fn snapshot_peers(&self, snapshot: &mut Snapshot) {
        let (own, Some(asked)) = (&self.parts.own.peers, self.peers.asked()) else { return };
        for result in PeersAnswer::ALL {
            let count = own.asks(result) as f64;
            counter(snapshot, &own_metrics::PEER_ASKS, &[result.as_str()], count);
        }
        let (addresses, named) = own.addresses();
        counter(snapshot, &own_metrics::PEER_LOOKUPS, &["named"], named as f64);
        let nobody = addresses.saturating_sub(named) as f64;
        counter(snapshot, &own_metrics::PEER_LOOKUPS, &["nobody"], nobody);
        gauge(snapshot, &own_metrics::PEER_ADDRESSES, &[], asked.len() as f64);
        counter(snapshot, &own_metrics::PEER_LEFT_OUT, &[], asked.left_out() as f64);
    }

    /// Whether what is shown of edges is older than an answer that may come at
    /// once.
    #[must_use]
    pub fn awaits_peers(&self) -> bool {
        self.parts.own.peers.is_answering() && self.peers.awaits_answer()
    }
}
