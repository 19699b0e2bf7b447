//! Series of what one service has with its peers.
//!
//! Separate from what the kernel counts per service: the peers are not ours to
//! bound. The first few of a container have series for good, the others share
//! one set.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use agent_common::counter::tcp::{CONNECT_OK, CONNECT_RESULTS, RESET_DIRECTIONS, RETRANSMIT_KINDS};
use agent_common::histogram::Histogram;

use super::budget::{
    Budget, EDGE_CONNECT_SET, EDGE_ORDER_SET, EDGE_RESET_SET, EDGE_SET, EDGE_STALL_SET, Group,
};
use super::histogram::HistogramValue;
use super::labels::{Identity, LabelSet};
use super::snapshot::{Snapshot, Value};
use crate::attribution::peers::{Distance, OTHER, Peer};
use crate::event::edge::EdgeChange;
use crate::event::peer::PeerName;
use crate::metrics::Metric;
use crate::metrics::workload::{
    EDGE_CONNECT_TIME, EDGE_CONNECTS, EDGE_JITTER, EDGE_RESETS, EDGE_RETRANSMITS, EDGE_RTT,
    EDGE_SEGMENTS_OUT_OF_ORDER, EDGE_SEGMENTS_SENT, EDGE_ZERO_WINDOW_STALLS, EDGE_ZERO_WINDOW_TIME,
};

/// Peers that a container may have series of.
pub const MAX_PEERS: usize = 6;
/// Folded peers that are told apart in order to count them.
const MAX_FOLDED: usize = 256;

/// Whether series are exported; decided when there is first something to show.
type IsShown = Option<bool>;

/// What was counted with one peer.
#[derive(Debug)]
struct Edge {
    sums: Box<EdgeChange>,
    is_shown: IsShown,
    shows_connects: IsShown,
    shows_resets: IsShown,
    shows_order: IsShown,
    shows_stalls: IsShown,
}

impl Default for Edge {
    fn default() -> Self {
        let sums = EdgeChange {
            segments_sent: 0,
            retransmits: [0; RETRANSMIT_KINDS.len()],
            resets: [0; RESET_DIRECTIONS.len()],
            connects: [0; CONNECT_RESULTS.len()],
            connect_ns: 0,
            out_of_order: 0,
            stalls: 0,
            stall_ns: 0,
            rtt: Histogram::new(),
            jitter: Histogram::new(),
        };
        Self {
            sums: Box::new(sums),
            is_shown: None,
            shows_connects: None,
            shows_resets: None,
            shows_order: None,
            shows_stalls: None,
        }
    }
}

impl Edge {
    fn add(&mut self, change: &EdgeChange) {
        let sums = &mut self.sums;
        sums.segments_sent += change.segments_sent;
        add_all(&mut sums.retransmits, &change.retransmits);
        add_all(&mut sums.resets, &change.resets);
        add_all(&mut sums.connects, &change.connects);
        sums.connect_ns += change.connect_ns;
        sums.out_of_order += change.out_of_order;
        sums.stalls += change.stalls;
        sums.stall_ns += change.stall_ns;
        sums.rtt.merge(&change.rtt);
        sums.jitter.merge(&change.jitter);
    }

    /// Puts its series into a snapshot; what was shown once is shown for good.
    fn snapshot(
        &mut self,
        peer: &Peer,
        identity: &Identity,
        budget: &mut Budget,
        to: &mut Snapshot,
    ) {
        let PeerName { namespace, workload, zone } = &peer.name;
        let mut push = |metric: &'static Metric, more: Option<&'static str>, value: Value| {
            let mut values: Vec<&str> = vec![namespace, workload, zone, peer.distance.as_str()];
            values.extend(more);
            to.family(metric).push(LabelSet::new(metric, Some(identity), &values), value);
        };
        let sums = &self.sums;
        push(&EDGE_SEGMENTS_SENT, None, count(sums.segments_sent));
        for (kind, again) in RETRANSMIT_KINDS.iter().zip(sums.retransmits) {
            push(&EDGE_RETRANSMITS, Some(kind), count(again));
        }
        push(&EDGE_RTT, None, histogram(&sums.rtt));
        push(&EDGE_JITTER, None, histogram(&sums.jitter));
        let has_connects = sums.connects.iter().any(|number| *number > 0);
        let wanted = (EDGE_CONNECT_SET, &EDGE_CONNECTS);
        if has_connects && may_show(&mut self.shows_connects, wanted, budget) {
            for (result, number) in CONNECT_RESULTS.iter().zip(sums.connects) {
                push(&EDGE_CONNECTS, Some(result), count(number));
            }
            push(&EDGE_CONNECT_TIME, None, Value::Counter(sums.connect_ns as f64 / 1e9));
        }
        let has_resets = sums.resets.iter().any(|number| *number > 0);
        let wanted = (EDGE_RESET_SET, &EDGE_RESETS);
        if has_resets && may_show(&mut self.shows_resets, wanted, budget) {
            for (direction, number) in RESET_DIRECTIONS.iter().zip(sums.resets) {
                push(&EDGE_RESETS, Some(direction), count(number));
            }
        }
        let wanted = (EDGE_ORDER_SET, &EDGE_SEGMENTS_OUT_OF_ORDER);
        if sums.out_of_order > 0 && may_show(&mut self.shows_order, wanted, budget) {
            push(&EDGE_SEGMENTS_OUT_OF_ORDER, None, count(sums.out_of_order));
        }
        let wanted = (EDGE_STALL_SET, &EDGE_ZERO_WINDOW_STALLS);
        if sums.stalls > 0 && may_show(&mut self.shows_stalls, wanted, budget) {
            push(&EDGE_ZERO_WINDOW_STALLS, None, count(sums.stalls));
            push(&EDGE_ZERO_WINDOW_TIME, None, Value::Counter(sums.stall_ns as f64 / 1e9));
        }
    }
}

/// Whether series may be shown, asked of the budget once.
fn may_show(place: &mut IsShown, wanted: (u32, &'static Metric), budget: &mut Budget) -> bool {
    *place.get_or_insert_with(|| {
        let is_granted = budget.grant(Group::Edges, wanted.0);
        if !is_granted {
            budget.count_folded(wanted.1);
        }
        is_granted
    })
}

fn add_all(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

fn count(number: u64) -> Value {
    Value::Counter(number as f64)
}

fn histogram(durations: &Histogram) -> Value {
    Value::Histogram(Arc::new(HistogramValue {
        durations: *durations,
        classic: None,
        exemplars: None,
    }))
}

/// Edges of one service.
#[derive(Debug)]
pub struct EdgeSeries {
    identity: Identity,
    /// Those that have series, or may still get some.
    edges: HashMap<Peer, Edge>,
    folded: HashSet<Peer>,
    /// All others.
    rest: Option<Edge>,
}

impl EdgeSeries {
    /// A service that has talked to nobody.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, edges: HashMap::new(), folded: HashSet::new(), rest: None }
    }

    /// Counts what happened with a peer.
    pub fn observe(&mut self, peer: &Peer, change: &EdgeChange) {
        let is_known = self.edges.contains_key(peer);
        let is_full = self.edges.len() >= MAX_PEERS || self.folded.contains(peer);
        if *peer.name.workload == *OTHER || (is_full && !is_known) {
            if self.folded.len() < MAX_FOLDED {
                self.folded.insert(peer.clone());
            }
            self.rest.get_or_insert_default().add(change);
            return;
        }
        self.edges.entry(peer.clone()).or_default().add(change);
    }

    /// Puts its series into a snapshot.
    pub fn snapshot(&mut self, budget: &mut Budget, to: &mut Snapshot) {
        let mut refused = Vec::new();
        for (peer, edge) in &mut self.edges {
            if may_show(&mut edge.is_shown, (EDGE_SET, &EDGE_RTT), budget) {
                edge.snapshot(peer, &self.identity, budget, to);
            } else {
                refused.push(peer.clone());
            }
        }
        for peer in refused {
            // There was no room: it was never shown, and never will be.
            if let Some(edge) = self.edges.remove(&peer) {
                self.rest.get_or_insert_default().add(&edge.sums);
                self.folded.insert(peer);
            }
        }
        let Some(rest) = &mut self.rest else { return };
        if may_show(&mut rest.is_shown, (EDGE_SET, &EDGE_RTT), budget) {
            let name = PeerName { workload: OTHER.into(), ..PeerName::default() };
            let peer = Peer { name, distance: Distance::Unknown };
            rest.snapshot(&peer, &self.identity, budget, to);
        }
    }
}

/// A connect that succeeded is one whose time is counted.
const _: () = assert!(CONNECT_OK == 0);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::budget::NodeBudget;
    use super::*;

    fn peer(number: usize) -> Peer {
        let workload = format!("deployment/{number}").into();
        let name = PeerName { namespace: "shop".into(), workload, zone: "".into() };
        Peer { name, distance: Distance::Node }
    }

    fn change(segments: u64) -> EdgeChange {
        let mut change = *Edge::default().sums;
        change.segments_sent = segments;
        change.retransmits[0] = segments / 10;
        change.rtt.observe(2_000_000);
        change
    }

    fn series() -> EdgeSeries {
        EdgeSeries::new(Identity::new("shop", "api-1", "api", "deployment/api"))
    }

    fn budget(max: u32) -> Budget {
        Budget::new(&NodeBudget::new(1_000_000), max).unwrap()
    }

    /// Segments by peer, as a snapshot shows them.
    fn segments(series: &mut EdgeSeries, budget: &mut Budget) -> Vec<(String, f64)> {
        let mut snapshot = Snapshot::new(1);
        series.snapshot(budget, &mut snapshot);
        let family = snapshot.family(&EDGE_SEGMENTS_SENT);
        let mut all: Vec<_> = family
            .series()
            .iter()
            .map(|series| {
                let peer = series.labels.iter().find(|(name, _)| *name == "peer_workload");
                let Value::Counter(count) = series.value else { panic!() };
                (peer.map_or(String::new(), |(_, value)| value.to_owned()), count)
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    #[test]
    fn the_first_few_peers_have_series_and_the_rest_one_set() {
        let (mut series, mut budget) = (series(), budget(1_000));
        for number in 0..10 {
            series.observe(&peer(number), &change(10));
        }
        let shown = segments(&mut series, &mut budget);
        assert_eq!(shown.len(), MAX_PEERS + 1);
        assert_eq!(shown[0], ("_other".to_owned(), 40.0));
        assert!(shown[1..].iter().all(|(_, count)| *count == 10.0));
    }

    #[test]
    fn connects_and_resets_are_shown_where_there_are_some() {
        let (mut series, mut budget) = (series(), budget(1_000));
        series.observe(&peer(0), &change(10));
        let mut snapshot = Snapshot::new(1);
        series.snapshot(&mut budget, &mut snapshot);
        assert!(snapshot.family(&EDGE_CONNECTS).series().is_empty());
        assert_eq!(snapshot.family(&EDGE_RETRANSMITS).series().len(), 3);
        let mut more = change(0);
        more.connects = [2, 1, 0, 0];
        more.connect_ns = 3_000_000_000;
        more.resets[1] = 1;
        series.observe(&peer(0), &more);
        let mut snapshot = Snapshot::new(2);
        series.snapshot(&mut budget, &mut snapshot);
        assert_eq!(snapshot.family(&EDGE_CONNECTS).series().len(), 4);
        assert_eq!(snapshot.family(&EDGE_RESETS).series().len(), 2);
        let time = &snapshot.family(&EDGE_CONNECT_TIME).series()[0].value;
        assert!(matches!(time, Value::Counter(seconds) if (seconds - 3.0).abs() < 1e-9));
        assert_eq!(snapshot.workload_series(), 8 + 4 + 1 + 2);
    }

    #[test]
    fn disorder_and_stalls_are_shown_where_there_were_some() {
        let (mut series, mut budget) = (series(), budget(1_000));
        let mut more = change(10);
        more.out_of_order = 4;
        series.observe(&peer(0), &more);
        series.observe(&peer(1), &change(10));
        let mut snapshot = Snapshot::new(1);
        series.snapshot(&mut budget, &mut snapshot);
        assert_eq!(snapshot.family(&EDGE_SEGMENTS_OUT_OF_ORDER).series().len(), 1);
        assert!(snapshot.family(&EDGE_ZERO_WINDOW_STALLS).series().is_empty());
        assert_eq!(snapshot.workload_series(), 8 + 8 + 1);
        let mut more = change(0);
        (more.stalls, more.stall_ns) = (1, 2_500_000_000);
        series.observe(&peer(1), &more);
        let mut snapshot = Snapshot::new(2);
        series.snapshot(&mut budget, &mut snapshot);
        let time = &snapshot.family(&EDGE_ZERO_WINDOW_TIME).series()[0].value;
        assert!(matches!(time, Value::Counter(seconds) if (seconds - 2.5).abs() < 1e-9));
        assert_eq!(snapshot.workload_series(), 8 + 8 + 1 + 2);
        assert_eq!(
            budget.used(),
            Budget::new(&NodeBudget::new(1_000_000), 1_000).unwrap().used() + 19
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_whatever_room_there_is(
            max in 60u32..400,
            asks in prop::collection::vec((0usize..20, 1u64..100, any::<bool>()), 1..60),
        ) {
            let (mut series, mut budget) = (series(), budget(max));
            // The set of the rest, which nothing else may take here.
            let mut total = 0;
            let mut before: Vec<(String, f64)> = Vec::new();
            for (number, count, is_shown) in asks {
                series.observe(&peer(number), &change(count));
                total += count;
                if !is_shown {
                    continue;
                }
                let shown = segments(&mut series, &mut budget);
                prop_assert!(budget.used() <= max);
                // No series ever goes, or counts back.
                for (name, value) in &before {
                    let now = shown.iter().find(|(known, _)| known == name);
                    prop_assert!(now.is_some_and(|(_, now)| now >= value), "{name}");
                }
                before = shown;
            }
            let shown = segments(&mut series, &mut budget);
            let sum: f64 = shown.iter().map(|(_, count)| count).sum();
            let has_rest = shown.iter().any(|(name, _)| name == OTHER);
            if series.rest.is_none() || has_rest {
                prop_assert_eq!(sum, total as f64);
            }
        }
    }
}
