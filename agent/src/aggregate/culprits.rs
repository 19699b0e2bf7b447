//! Who ran while a service's requests waited for a CPU.
//!
//! Separate because the names are of others, and a node has many: the first
//! four of a service are told apart for good, the others together.

use super::budget::{Budget, Group};
use super::labels::{Identity, LabelSet};
use super::snapshot::{Snapshot, Value};
use crate::metrics::workload::CPU_TAKEN;

/// Culprits that a service may have series of.
const MAX_CULPRITS: usize = 4;

/// Whoever ran instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taker {
    /// Namespace of its pod; empty outside Kubernetes.
    pub namespace: String,
    /// A workload, or `process/<thread name>`.
    pub workload: String,
}

/// CPU time that one service's requests waited for, by who had it.
#[derive(Debug)]
pub struct TakenSeries {
    identity: Identity,
    own: Vec<(Taker, LabelSet, u64)>,
    rest_ns: u64,
    /// Whether the rest has a series; decided when it is first shown.
    has_rest: Option<bool>,
}

impl TakenSeries {
    /// A service that never waited.
    #[must_use]
    pub const fn new(identity: Identity) -> Self {
        Self { identity, own: Vec::new(), rest_ns: 0, has_rest: None }
    }

    /// Counts a wait in which `taker` ran.
    pub fn observe(&mut self, taker: &Taker, wait_ns: u64, budget: Option<&mut Budget>) {
        if let Some((.., ns)) = self.own.iter_mut().find(|(known, ..)| known == taker) {
            *ns += wait_ns;
            return;
        }
        let is_granted = budget.is_some_and(|budget| {
            let is_granted = self.own.len() < MAX_CULPRITS && budget.grant(Group::Culprits, 1);
            if !is_granted {
                budget.count_folded(&CPU_TAKEN);
            }
            is_granted
        });
        if is_granted {
            let values = [taker.namespace.as_str(), taker.workload.as_str()];
            let labels = LabelSet::new(&CPU_TAKEN, Some(&self.identity), &values);
            self.own.push((taker.clone(), labels, wait_ns));
        } else {
            self.rest_ns += wait_ns;
        }
    }

    /// Puts its series into a snapshot.
    pub fn snapshot(&mut self, budget: &mut Budget, to: &mut Snapshot) {
        for (_, labels, ns) in &self.own {
            to.family(&CPU_TAKEN).push(labels.clone(), Value::Nanoseconds(*ns));
        }
        if self.rest_ns == 0 {
            return;
        }
        if *self.has_rest.get_or_insert_with(|| budget.grant_fold(Group::Culprits, 1)) {
            let labels = LabelSet::new(&CPU_TAKEN, Some(&self.identity), &["_other", "_other"]);
            to.family(&CPU_TAKEN).push(labels, Value::Nanoseconds(self.rest_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::budget::NodeBudget;

    #[test]
    fn four_are_named_for_good_and_every_nanosecond_is_somebodys() {
        let node = NodeBudget::new(30_000);
        let mut budget = Budget::new(&node, 300).unwrap();
        let mut series = TakenSeries::new(Identity::new("shop", "api-1", "api", "deployment/api"));
        for round in 0..3 {
            for number in 0..7 {
                let taker =
                    Taker { namespace: "jobs".to_owned(), workload: format!("job/batch-{number}") };
                series.observe(&taker, 10 + round, Some(&mut budget));
            }
            let mut snapshot = Snapshot::new(1);
            series.snapshot(&mut budget, &mut snapshot);
            let family = &snapshot.families()[0];
            let seen: Vec<(String, u64)> = family
                .series()
                .iter()
                .map(|series| {
                    let Value::Nanoseconds(ns) = series.value else { panic!("no sum") };
                    (series.labels.iter().last().unwrap().1.to_owned(), ns)
                })
                .collect();
            assert_eq!(seen.len(), 5);
            assert_eq!((seen[0].0.as_str(), seen[4].0.as_str()), ("job/batch-0", "_other"));
            let wanted: u64 = (0..=round).map(|round| 7 * (10 + round)).sum();
            assert_eq!(seen.iter().map(|(_, ns)| ns).sum::<u64>(), wanted);
        }
    }
}
