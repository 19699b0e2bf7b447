//! How many series a container and the node may have, and who may take them.
//!
//! Separate because the promise is on sums, over metrics that know nothing of
//! each other. Series are granted and never taken back while the container
//! lives: a label value that came and went would look like a counter that was
//! reset.
//!
//! A container's budget is, in this order: what every container has; room for
//! the values that others are folded into; what each group of metrics is sure
//! of; and the rest, first come, first served. What error numbers may take ends
//! before the rest does, so they are folded first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::aggregate::parts::{CONFIDENCE_SET, PART_SET, SLOW_SET};
use crate::metrics::workload::{
    CALL_DURATION, CONTAINER_INFO, CPU_TAKEN, CPU_THROTTLED, EDGE_CONNECTS, EDGE_RESETS, EDGE_RTT,
    EDGE_SEGMENTS_OUT_OF_ORDER, EDGE_ZERO_WINDOW_STALLS, HTTP_CLIENT_REQUEST_DURATION,
    HTTP_SERVER_REQUEST_DURATION, OFF_CPU, REQUESTS, RUNQUEUE_LATENCY, SYSCALL, SYSCALL_ERRORS,
    TCP_ACCEPT_WAIT, TCP_CONNECT, TCP_CONNECTS, TCP_RESETS, TCP_RTT, TURN_DURATION,
};
use crate::metrics::{CLASSIC_SERIES, CONTAINER_BUDGET, Metric, SUMMARY_SERIES};

/// Series of one set of labels of requests.
pub const REQUEST_SET: u32 = CLASSIC_SERIES;
/// Series of one scope: segments, retransmits by kind, RTT, jitter.
pub const SCOPE_SET: u32 = 1 + 3 + 2 * SUMMARY_SERIES;
/// Series of one class of system calls: time, calls, and the errors that have
/// no number of their own.
pub const CLASS_SET: u32 = 3;
/// What a service has once, with its first request: slow requests, their parts,
/// and how well parts are known.
pub const TAIL_SET: u32 = 1 + SLOW_SET + CONFIDENCE_SET;
/// Series of one set of labels of HTTP calls.
pub const CALL_SET: u32 = CLASSIC_SERIES;
/// Series of one set of labels of other calls.
pub const OTHER_CALL_SET: u32 = SUMMARY_SERIES;

/// Series of one edge: segments, retransmits by kind, RTT, jitter.
pub const EDGE_SET: u32 = SCOPE_SET;
/// Series of an edge's connects: by result, and their time.
pub const EDGE_CONNECT_SET: u32 = agent_common::counter::tcp::CONNECT_RESULTS.len() as u32 + 1;
/// Series of an edge's resets.
pub const EDGE_RESET_SET: u32 = agent_common::counter::tcp::RESET_DIRECTIONS.len() as u32;
/// Series of an edge's segments out of order.
pub const EDGE_ORDER_SET: u32 = 1;
/// Series of an edge's stalls: how many, and their time.
pub const EDGE_STALL_SET: u32 = 2;

/// What every container has, the most needed first: of a budget that is too
/// small, what comes first is exported.
const FIXED: [(&Metric, u32); 8] = [
    (&REQUESTS, 5),
    (&CONTAINER_INFO, 1),
    (&RUNQUEUE_LATENCY, CLASSIC_SERIES),
    (&OFF_CPU, agent_common::counter::cpu::OFF_CPU_REASONS as u32),
    (&CPU_THROTTLED, 1),
    (&TCP_RESETS, 2),
    (&TCP_ACCEPT_WAIT, SUMMARY_SERIES),
    (&TCP_CONNECT, SUMMARY_SERIES),
];

/// Metrics whose values may be folded.
pub const FOLDABLE: [&Metric; 14] = [
    &HTTP_SERVER_REQUEST_DURATION,
    &TURN_DURATION,
    &HTTP_CLIENT_REQUEST_DURATION,
    &CALL_DURATION,
    &CPU_TAKEN,
    &SYSCALL,
    &SYSCALL_ERRORS,
    &TCP_RTT,
    &TCP_CONNECTS,
    &EDGE_RTT,
    &EDGE_CONNECTS,
    &EDGE_RESETS,
    &EDGE_SEGMENTS_OUT_OF_ORDER,
    &EDGE_ZERO_WINDOW_STALLS,
];

/// Of the rest, what error numbers leave to others.
const KEPT_FROM_ERRNOS: u32 = 10;

/// Metrics that share a part of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// HTTP requests and turns, with the parts of their protocol.
    Requests,
    /// What has a scope or a result.
    Network,
    /// System calls.
    Syscalls,
    /// The slow tail, and how well parts are known.
    Tail,
    /// Who took the CPU.
    Culprits,
    /// Calls to peers, which are folded first: nothing is kept for them.
    Calls,
    /// The network by peer, the same.
    Edges,
}

impl Group {
    const ALL: [Self; 7] = [
        Self::Requests,
        Self::Network,
        Self::Syscalls,
        Self::Tail,
        Self::Culprits,
        Self::Calls,
        Self::Edges,
    ];

    /// Series of a set of labels.
    const fn set(self) -> u32 {
        match self {
            Self::Requests => REQUEST_SET,
            Self::Network => SCOPE_SET,
            Self::Syscalls => CLASS_SET,
            Self::Tail => TAIL_SET,
            Self::Culprits => 1,
            Self::Calls => CALL_SET,
            Self::Edges => EDGE_SET,
        }
    }

    /// Series that the first set of labels takes besides.
    const fn extra(self) -> u32 {
        match self {
            Self::Requests => PART_SET,
            _ => 0,
        }
    }

    /// Series kept for the set of labels that the others are folded into.
    const fn fold(self) -> u32 {
        match self {
            Self::Calls | Self::Edges => 0,
            _ => self.set() + self.extra(),
        }
    }

    /// Series that it is sure of with a budget of `max`; `fold` is in it. Whole
    /// sets of labels only.
    fn sure(self, max: u32) -> u32 {
        let planned = match self {
            Self::Requests => PART_SET + 3 * REQUEST_SET,
            Self::Network => SCOPE_SET,
            Self::Syscalls => 3 * CLASS_SET,
            // There are never more of these.
            Self::Tail => return TAIL_SET,
            Self::Culprits => return 5,
            Self::Calls | Self::Edges => return 0,
        };
        let share = u64::from(planned) * u64::from(max) / u64::from(CONTAINER_BUDGET);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        share.saturating_sub(self.extra()) / self.set() * self.set() + self.extra()
    }
}

/// The node's series, shared by its containers.
#[derive(Debug)]
pub struct NodeBudget {
    left: Cell<u32>,
    folded: RefCell<BTreeMap<&'static str, u64>>,
}

impl NodeBudget {
    /// `per_node` series for all containers.
    #[must_use]
    pub fn new(per_node: u32) -> Rc<Self> {
        let folded = FOLDABLE.iter().map(|metric| (metric.name, 0)).collect();
        Rc::new(Self { left: Cell::new(per_node), folded: RefCell::new(folded) })
    }

    /// Values folded so far, by metric.
    #[must_use]
    pub fn folded(&self) -> Vec<(&'static str, u64)> {
        self.folded.borrow().iter().map(|(name, count)| (*name, *count)).collect()
    }

    fn take(&self, series: u32) -> bool {
        let left = self.left.get().checked_sub(series);
        if let Some(left) = left {
            self.left.set(left);
        }
        left.is_some()
    }

    fn give(&self, series: u32) {
        self.left.set(self.left.get().saturating_add(series));
    }
}

/// What a group has.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    used: u32,
    /// It is sure of this many, used ones included.
    sure: u32,
    /// Room kept for what others are folded into, until it is used.
    fold: u32,
}

impl Account {
    /// What others must leave to it.
    const fn claim(&self) -> u32 {
        let rest = self.sure.saturating_sub(self.used);
        if rest > self.fold { rest } else { self.fold }
    }
}

/// One container's series. What it has goes back to the node when it is
/// dropped.
#[derive(Debug)]
pub struct Budget {
    node: Rc<NodeBudget>,
    max: u32,
    fixed: u32,
    errnos: u32,
    /// Metrics of [`FIXED`] that there was no room for.
    without: Vec<&'static Metric>,
    groups: [Account; Group::ALL.len()],
    /// What it holds of the node's.
    held: u32,
}

impl Budget {
    /// A container's budget of at most `max` series. `None` if the node has no
    /// room for another container.
    #[must_use]
    pub fn new(node: &Rc<NodeBudget>, max: u32) -> Option<Self> {
        let mut budget = Self {
            node: Rc::clone(node),
            max,
            fixed: 0,
            errnos: 0,
            without: Vec::new(),
            groups: Default::default(),
            held: 0,
        };
        let mut left = max;
        let mut fits = |series: u32| match left.checked_sub(series) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        for (metric, series) in FIXED {
            if fits(series) {
                budget.fixed += series;
            } else {
                budget.without.push(metric);
            }
        }
        for (group, account) in Group::ALL.into_iter().zip(&mut budget.groups) {
            if fits(group.fold()) {
                account.fold = group.fold();
            }
        }
        for (group, account) in Group::ALL.into_iter().zip(&mut budget.groups) {
            let sure = group.sure(max);
            if account.fold > 0 && sure > account.fold && fits(sure - account.fold) {
                account.sure = sure;
            }
        }
        let held = budget.fixed + budget.groups.iter().map(|account| account.fold).sum::<u32>();
        if !node.take(held) {
            return None;
        }
        budget.held = held;
        Some(budget)
    }

    /// Whether a metric that every container has is exported.
    #[must_use]
    pub fn has(&self, metric: &'static Metric) -> bool {
        !self.without.iter().any(|without| std::ptr::eq(*without, metric))
    }

    /// Grants a set of labels of so many series, or not.
    pub fn grant(&mut self, group: Group, series: u32) -> bool {
        let mut groups = self.groups;
        if let Some(account) = groups.get_mut(group as usize) {
            account.used = account.used.saturating_add(series);
        }
        let is_granted = self.take(groups, 0, series);
        if is_granted {
            self.groups = groups;
        }
        is_granted
    }

    /// Grants a set of labels of requests, or not; with the parts of its
    /// protocol, if it is the first. Those are taken from what is kept for the
    /// set that others are folded into, which then has them already.
    pub fn grant_requests(&mut self, is_first: bool) -> bool {
        if !is_first {
            return self.grant(Group::Requests, REQUEST_SET);
        }
        let mut groups = self.groups;
        let Some(account) = groups.get_mut(Group::Requests as usize) else { return false };
        let kept = account.fold.saturating_sub(REQUEST_SET).min(PART_SET);
        account.fold -= kept;
        account.used = account.used.saturating_add(REQUEST_SET + PART_SET);
        let is_granted = self.take(groups, 0, REQUEST_SET + PART_SET - kept);
        if is_granted {
            self.groups = groups;
        }
        is_granted
    }

    /// Grants a series to an error number, or not.
    pub fn grant_errno(&mut self) -> bool {
        // Not from what system calls are sure of: that is for their classes.
        let is_granted = self.take(self.groups, 1 + KEPT_FROM_ERRNOS, 1);
        self.errnos += u32::from(is_granted);
        is_granted
    }

    /// Grants the set of labels that a group's others are folded into, of so
    /// many series; to be asked once. What is kept for it beyond those is given
    /// back. Not granted only where the budget is too small for it.
    pub fn grant_fold(&mut self, group: Group, series: u32) -> bool {
        let mut groups = self.groups;
        let Some(account) = groups.get_mut(group as usize) else { return false };
        let fold = std::mem::take(&mut account.fold);
        account.used = account.used.saturating_add(series);
        if series <= fold {
            self.node.give(fold - series);
            self.held -= fold - series;
            self.groups = groups;
            return true;
        }
        let is_granted = self.take(groups, 0, series - fold);
        if is_granted {
            self.groups = groups;
        }
        is_granted
    }

    /// Counts a value that was folded.
    pub fn count_folded(&self, metric: &'static Metric) {
        *self.node.folded.borrow_mut().entry(metric.name).or_insert(0) += 1;
    }

    /// Series granted.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.fixed + self.errnos + self.groups.iter().map(|account| account.used).sum::<u32>()
    }

    /// Takes series from the node if the groups with what they are sure of, and
    /// so many more, are within the maximum.
    fn take(&mut self, groups: [Account; Group::ALL.len()], more: u32, series: u32) -> bool {
        let wanted = groups
            .iter()
            .map(|account| account.used.saturating_add(account.claim()))
            .fold(self.fixed + self.errnos + more, u32::saturating_add);
        let is_taken = wanted <= self.max && self.node.take(series);
        if is_taken {
            self.held += series;
        }
        is_taken
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.node.give(self.held);
    }
}

#[cfg(test)]
mod tests;
