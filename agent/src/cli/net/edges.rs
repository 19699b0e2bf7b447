//! Two samples in, what happened on each edge in between out. Pure.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Sort, View};
use crate::cli::top::quantile::Buckets;
use crate::export::json::{Edge, Workload, Workloads};

/// One edge, over the interval.
#[derive(Clone, Debug)]
pub struct Row {
    /// The node; empty where it is this one.
    pub node: String,
    /// The workload's four identity labels.
    pub identity: [String; 4],
    /// The peer's namespace, workload and zone.
    pub peer: [String; 3],
    /// How far away it is.
    pub scope: String,
    /// Segments with data, a second.
    pub segments: f64,
    /// Segments sent again, a second.
    pub retransmits: f64,
    /// Those, as a part of the segments; `None` if there were none.
    pub retransmit_ratio: Option<f64>,
    /// Connects and those that failed, a second.
    pub connects: [f64; 2],
    /// Resets, a second.
    pub resets: f64,
    /// Segments that came out of order, a second; `None` if none ever did, or
    /// the kernel does not count them.
    pub out_of_order: Option<f64>,
    /// Stalls that began, by a window of zero, a second.
    pub stalls: f64,
    /// Connections in one, on average.
    pub stalled: f64,
    /// Round trips.
    pub rtt: Buckets,
    /// Their deviations.
    pub jitter: Buckets,
}

impl Row {
    /// The median round trip, seconds.
    #[must_use]
    pub fn rtt_p50(&self) -> Option<f64> {
        self.rtt.quantile(0.5)
    }

    /// The 90th percentile of the deviations, seconds.
    #[must_use]
    pub fn jitter_p90(&self) -> Option<f64> {
        self.jitter.quantile(0.9)
    }

    /// Who talks: `namespace/pod/container`, or the workload; with its node,
    /// where there are several.
    #[must_use]
    pub fn from(&self) -> String {
        let [namespace, pod, container, workload] = &self.identity;
        let name = match (pod.as_str(), container.as_str()) {
            ("", "") => workload.clone(),
            ("", container) => format!("{workload} [{container}]"),
            _ => [namespace.as_str(), pod, container].join("/"),
        };
        if self.node.is_empty() { name } else { format!("{name}@{}", self.node) }
    }

    /// With whom.
    #[must_use]
    pub fn to(&self) -> String {
        let [namespace, workload, zone] = &self.peer;
        let mut name = match (namespace.as_str(), workload.as_str()) {
            ("", "") => "-".to_owned(),
            ("", workload) => workload.to_owned(),
            (namespace, workload) => format!("{namespace}/{workload}"),
        };
        if !zone.is_empty() {
            name.push_str(&format!(" ({zone})"));
        }
        name
    }

    fn is_meant(&self, view: &View) -> bool {
        view.scope.is_none_or(|scope| scope.as_str() == self.scope)
            && view.peer.as_ref().is_none_or(|text| {
                self.peer.iter().take(2).any(|part| part.contains(text.as_str()))
            })
    }

    fn weight(&self, sort: Sort) -> f64 {
        match sort {
            Sort::Retransmits => self.retransmit_ratio.unwrap_or(-1.0),
            Sort::Jitter => self.jitter_p90().unwrap_or(-1.0),
            Sort::Rtt => self.rtt_p50().unwrap_or(-1.0),
            Sort::Traffic => self.segments,
        }
    }
}

type Key<'a> = ([&'a str; 4], [&'a str; 4]);

fn key<'a>(workload: &'a Workload, edge: &'a Edge) -> Key<'a> {
    (
        [&workload.namespace, &workload.pod, &workload.container, &workload.workload],
        [&edge.peer_namespace, &edge.peer_workload, &edge.peer_zone, &edge.scope],
    )
}

/// Edges of the workloads that are meant, in the order that the view wants.
/// Those on which nothing happened are left out. `None` if no time has passed.
#[must_use]
pub fn between(
    earlier: &Workloads,
    later: &Workloads,
    view: &View,
    is_meant: impl Fn(&Workload) -> bool,
) -> Option<(f64, Vec<Row>)> {
    let ns = later.taken_unix_ns.checked_sub(earlier.taken_unix_ns).filter(|ns| *ns > 0)?;
    let interval_s = ns as f64 / 1e9;
    let mut before: HashMap<Key<'_>, &Edge> = HashMap::new();
    for workload in &earlier.workloads {
        before.extend(workload.edges.iter().map(|edge| (key(workload, edge), edge)));
    }
    let nothing = Edge::default();
    let mut rows = Vec::new();
    for workload in later.workloads.iter().filter(|workload| is_meant(workload)) {
        for edge in &workload.edges {
            let key = key(workload, edge);
            let known = before.get(&key).copied().unwrap_or(&nothing);
            rows.extend(row(key, known, edge, interval_s).filter(|row| row.is_meant(view)));
        }
    }
    sort(&mut rows, view.sort);
    Some((interval_s, rows))
}

/// Puts rows in order.
pub fn sort(rows: &mut [Row], by: Sort) {
    rows.sort_by(|a, b| {
        let by_weight = b.weight(by).partial_cmp(&a.weight(by));
        let by_traffic = b.segments.partial_cmp(&a.segments);
        by_weight
            .unwrap_or(Ordering::Equal)
            .then(by_traffic.unwrap_or(Ordering::Equal))
            .then_with(|| (a.from(), a.to()).cmp(&(b.from(), b.to())))
    });
}

fn row(key: Key<'_>, earlier: &Edge, later: &Edge, interval_s: f64) -> Option<Row> {
    // What counts back belongs to an agent that was started anew.
    let grown = |get: fn(&Edge) -> u64| get(later).saturating_sub(get(earlier)) as f64;
    let segments = grown(|edge| edge.segments_sent);
    let retransmits = grown(|edge| edge.retransmits);
    let connects = [grown(|edge| edge.connects), grown(|edge| edge.connects_failed)];
    let resets = grown(|edge| edge.resets);
    // An end that only reads has nothing else to tell.
    let out_of_order = grown(|edge| edge.out_of_order.unwrap_or(0));
    let stalls = grown(|edge| edge.zero_window_stalls);
    let stall_s = grown(|edge| edge.zero_window_ns) / 1e9;
    let counts = [segments, retransmits, resets, out_of_order, stalls, stall_s];
    if counts.iter().chain(&connects).sum::<f64>() <= 0.0 {
        return None;
    }
    let [namespace, workload, zone, scope] = key.1.map(str::to_owned);
    Some(Row {
        node: String::new(),
        identity: key.0.map(str::to_owned),
        peer: [namespace, workload, zone],
        scope,
        segments: segments / interval_s,
        retransmits: retransmits / interval_s,
        retransmit_ratio: (segments > 0.0).then(|| retransmits / segments),
        connects: connects.map(|count| count / interval_s),
        resets: resets / interval_s,
        out_of_order: later.out_of_order.map(|_| out_of_order / interval_s),
        stalls: stalls / interval_s,
        stalled: stall_s / interval_s,
        rtt: Buckets::between(&earlier.rtt, &later.rtt),
        jitter: Buckets::between(&earlier.jitter, &later.jitter),
    })
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use super::super::Scope;
    use super::*;
    use crate::export::json::Durations;

    fn edge(peer: &str, scope: &str, step: u64, again: u64, bucket: u16) -> Edge {
        let durations = |bucket| Durations { sum_ns: step, buckets: vec![(bucket, 50 * step)] };
        Edge {
            peer_namespace: "shop".to_owned(),
            peer_workload: peer.to_owned(),
            scope: scope.to_owned(),
            segments_sent: 1_000 * step,
            retransmits: again * step,
            connects: 4 * step,
            connects_failed: step,
            rtt: durations(bucket),
            jitter: durations(bucket - 8),
            ..Edge::default()
        }
    }

    /// A workload with three edges, `step` times.
    pub(in crate::cli) fn sample(at_s: u64, step: u64) -> Workloads {
        let workload = Workload {
            namespace: "shop".to_owned(),
            pod: "cart-1".to_owned(),
            container: "cart".to_owned(),
            workload: "deployment/cart".to_owned(),
            edges: vec![
                edge("deployment/db", "node", step, 0, 110),
                edge("deployment/pay", "zone", step * 3, 20, 140),
                edge("", "external", 0, 0, 100),
            ],
            ..Workload::default()
        };
        Workloads {
            taken_unix_ns: at_s * 1_000_000_000,
            workloads: vec![workload],
            ..Workloads::default()
        }
    }

    fn rows(view: &View) -> Vec<String> {
        let (interval_s, rows) = between(&sample(10, 1), &sample(12, 2), view, |_| true).unwrap();
        assert_eq!(interval_s, 2.0);
        rows.iter().map(Row::to).collect()
    }

    #[test]
    fn what_happened_in_between_is_divided_by_the_time() {
        let (_, rows) =
            between(&sample(10, 1), &sample(12, 2), &View::default(), |_| true).unwrap();
        assert_eq!(rows.len(), 2, "the silent one is left out");
        let pay = &rows[0];
        assert_eq!(
            (pay.from().as_str(), pay.to().as_str()),
            ("shop/cart-1/cart", "shop/deployment/pay")
        );
        assert_eq!((pay.segments, pay.retransmits), (1_500.0, 30.0));
        assert_eq!(pay.retransmit_ratio, Some(0.02));
        assert_eq!(pay.connects, [6.0, 1.5]);
        assert!(pay.rtt_p50() > pay.jitter_p90());
        assert!(between(&sample(12, 1), &sample(12, 2), &View::default(), |_| true).is_none());
        let none = between(&sample(10, 1), &sample(12, 2), &View::default(), |_| false).unwrap();
        assert!(none.1.is_empty());
    }

    #[test]
    fn an_edge_that_stalls_or_only_reads_is_there() {
        let mut later = sample(12, 1);
        let [db, pay, quiet] = later.workloads[0].edges.as_mut_slice() else { panic!() };
        (db.zero_window_stalls, db.zero_window_ns) = (1, 1_500_000_000);
        pay.zero_window_ns = 2_000_000_000;
        quiet.out_of_order = Some(6);
        let (_, mut rows) = between(&sample(10, 1), &later, &View::default(), |_| true).unwrap();
        rows.sort_by_key(Row::to);
        let seen: Vec<_> =
            rows.iter().map(|row| (row.out_of_order, row.stalls, row.stalled)).collect();
        assert_eq!(seen, [(Some(3.0), 0.0, 0.0), (None, 0.5, 0.75), (None, 0.0, 1.0)]);
    }

    #[test]
    fn edges_are_sorted_and_left_out_as_asked() {
        let view = |sort| View { sort, ..View::default() };
        for sort in [Sort::Retransmits, Sort::Jitter, Sort::Rtt, Sort::Traffic] {
            assert_eq!(
                rows(&view(sort)),
                ["shop/deployment/pay", "shop/deployment/db"],
                "{sort:?}"
            );
        }
        let near = View { scope: Some(Scope::Node), ..View::default() };
        assert_eq!(rows(&near), ["shop/deployment/db"]);
        let named = View { peer: Some("pay".to_owned()), ..View::default() };
        assert_eq!(rows(&named), ["shop/deployment/pay"]);
    }
}
