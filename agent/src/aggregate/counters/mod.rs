//! Series of what the kernel counts per service: the counter path's half of
//! aggregation.
//!
//! Which values have series of their own is decided once, when they are first
//! seen, and holds while the service lives; the rest is folded. Labels from
//! closed lists are made once for all services.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use agent_common::counter::cpu::{CpuCounters, OFF_CPU_REASONS, OffCpu};
use agent_common::counter::syscalls::{ERRNO_SLOTS, SyscallCounters};
use agent_common::counter::tcp::{
    CONNECT_RESULTS, RESET_DIRECTIONS, RETRANSMIT_KINDS, SCOPES, Scope, ScopeCounters, TcpCounters,
};
use agent_common::histogram::{CLASSIC_BUCKETS, Histogram};
use agent_common::syscall::errno::errno_name;
use agent_common::syscall::{CLASSES, Class};

use crate::aggregate::budget::{Budget, CLASS_SET, Group, SCOPE_SET};
use crate::aggregate::histogram::HistogramValue;
use crate::aggregate::labels::{Identity, OwnLabels};
use crate::aggregate::snapshot::{Snapshot, Value};
use crate::metrics::Metric;
use crate::metrics::workload::{
    CPU_THROTTLED, OFF_CPU, RUNQUEUE_LATENCY, SYSCALL, SYSCALL_ERRORS, SYSCALLS, TCP_ACCEPT_WAIT,
    TCP_CONNECT, TCP_CONNECTS, TCP_JITTER, TCP_RESETS, TCP_RETRANSMITS, TCP_RTT, TCP_SEGMENTS_SENT,
};

const NS_PER_SECOND: f64 = 1e9;

/// The class, and the error number, that others are folded into: the last of
/// each list, which is that of the rest anyway.
const OTHER_CLASS: usize = CLASSES - 1;
const OTHER_ERRNO: usize = ERRNO_SLOTS - 1;

fn class_name(index: usize) -> &'static str {
    Class::ALL.get(index).map_or("other", |class| class.as_str())
}

/// Labels of one scope.
struct ScopeLabels {
    /// Of metrics without more: segments, RTT, jitter.
    scope: OwnLabels,
    retransmits: [OwnLabels; RETRANSMIT_KINDS.len()],
}

/// Labels from closed lists, the same for every service.
struct Labels {
    none: OwnLabels,
    off_cpu: [OwnLabels; OFF_CPU_REASONS],
    scopes: [ScopeLabels; SCOPES],
    resets: [OwnLabels; RESET_DIRECTIONS.len()],
    connects: [OwnLabels; CONNECT_RESULTS.len()],
}

static LABELS: LazyLock<Labels> = LazyLock::new(|| Labels {
    none: OwnLabels::new(&CPU_THROTTLED, &[]),
    off_cpu: OffCpu::ALL.map(|reason| OwnLabels::new(&OFF_CPU, &[reason.as_str()])),
    scopes: Scope::ALL.map(|scope| ScopeLabels {
        scope: OwnLabels::new(&TCP_RTT, &[scope.as_str()]),
        retransmits: RETRANSMIT_KINDS
            .map(|kind| OwnLabels::new(&TCP_RETRANSMITS, &[scope.as_str(), kind])),
    }),
    resets: RESET_DIRECTIONS.map(|direction| OwnLabels::new(&TCP_RESETS, &[direction])),
    connects: CONNECT_RESULTS.map(|result| OwnLabels::new(&TCP_CONNECTS, &[result])),
});

/// A histogram without values, and without classic buckets.
static EMPTY: LazyLock<Arc<HistogramValue>> = LazyLock::new(|| {
    Arc::new(HistogramValue { durations: Histogram::new(), classic: None, exemplars: None })
});

/// Whether a value has series of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// It was never seen.
    #[default]
    Unseen,
    /// It has.
    Own,
    /// It is counted with others.
    Folded,
}

impl Place {
    /// Decides when the value is first seen.
    fn settle(&mut self, budget: &mut Budget, metric: &'static Metric, granted: bool) -> Self {
        if *self == Self::Unseen {
            *self = if granted { Self::Own } else { Self::Folded };
            if !granted {
                budget.count_folded(metric);
            }
        }
        *self
    }
}

/// Puts a service's counters into snapshots. Series whose value never moved are
/// left out, but for those that a rate is taken of as soon as the service is
/// there.
#[derive(Debug)]
pub struct CounterSeries {
    identity: Identity,
    scopes: [Place; SCOPES],
    connects: [Place; CONNECT_RESULTS.len()],
    classes: [Place; CLASSES],
    class_labels: HashMap<usize, [OwnLabels; 2]>,
    errors: HashMap<(usize, usize), (Place, OwnLabels)>,
}

impl CounterSeries {
    /// Of a service of which nothing was seen.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            scopes: Default::default(),
            connects: Default::default(),
            classes: Default::default(),
            class_labels: HashMap::new(),
            errors: HashMap::new(),
        }
    }

    /// CPU waits.
    pub fn cpu(&self, cpu: &CpuCounters, budget: &Budget, snapshot: &mut Snapshot) {
        if budget.has(&RUNQUEUE_LATENCY) {
            let classic = Some(cpu.runqueue_classic);
            self.histogram(&RUNQUEUE_LATENCY, &LABELS.none, &cpu.runqueue, classic, snapshot);
        }
        if budget.has(&OFF_CPU) {
            for (labels, ns) in LABELS.off_cpu.iter().zip(cpu.off_cpu_ns) {
                self.seconds(&OFF_CPU, labels, ns, snapshot);
            }
        }
        if budget.has(&CPU_THROTTLED) {
            let throttled = cpu.off_cpu_ns.get(OffCpu::Throttled as usize).copied().unwrap_or(0);
            self.seconds(&CPU_THROTTLED, &LABELS.none, throttled, snapshot);
        }
    }

    /// Connections.
    pub fn tcp(&mut self, tcp: &TcpCounters, budget: &mut Budget, snapshot: &mut Snapshot) {
        self.tcp_scopes(tcp, budget, snapshot);
        if budget.has(&TCP_RESETS) {
            for (labels, count) in LABELS.resets.iter().zip(tcp.resets) {
                self.count(&TCP_RESETS, labels, count, snapshot);
            }
        }
        for (i, count) in tcp.connects.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let (Some(place), Some(labels)) = (self.connects.get_mut(i), LABELS.connects.get(i))
            else {
                continue;
            };
            let granted = *place != Place::Unseen || budget.grant(Group::Network, 1);
            // There is no result for the rest: without room it is not exported.
            if place.settle(budget, &TCP_CONNECTS, granted) == Place::Own {
                self.count(&TCP_CONNECTS, labels, count, snapshot);
            }
        }
        if budget.has(&TCP_CONNECT) {
            self.histogram(&TCP_CONNECT, &LABELS.none, &tcp.connect_time, None, snapshot);
        }
        if budget.has(&TCP_ACCEPT_WAIT) {
            self.histogram(&TCP_ACCEPT_WAIT, &LABELS.none, &tcp.accept_wait, None, snapshot);
        }
    }

    /// System calls, by the names of classes and of error numbers.
    pub fn syscalls(
        &mut self,
        syscalls: &SyscallCounters,
        budget: &mut Budget,
        snapshot: &mut Snapshot,
    ) {
        // What is folded into the last class, by the time that it is reached.
        let (mut rest_ns, mut rest_calls, mut rest_errors) = (0, 0, 0);
        for (i, class) in syscalls.classes.iter().enumerate() {
            let (mut time_ns, mut calls, mut errors) = (class.time_ns, class.calls, 0);
            if i == OTHER_CLASS {
                time_ns += rest_ns;
                calls += rest_calls;
                errors = rest_errors;
            }
            if calls == 0 || !self.has_class(i, budget) {
                rest_ns += time_ns;
                rest_calls += calls;
                rest_errors += class.errors.iter().sum::<u64>();
                continue;
            }
            let labels = self.class_labels.entry(i).or_insert_with(|| {
                let name = class_name(i);
                [
                    OwnLabels::new(&SYSCALLS, &[name]),
                    OwnLabels::new(&SYSCALL_ERRORS, &[name, "_other"]),
                ]
            });
            let [labels, error_labels] = labels.clone();
            self.seconds(&SYSCALL, &labels, time_ns, snapshot);
            self.count(&SYSCALLS, &labels, calls, snapshot);
            for (slot, count) in class.errors.iter().enumerate().filter(|(_, count)| **count > 0) {
                match self.errno_labels(i, slot, budget) {
                    Some(labels) => self.count(&SYSCALL_ERRORS, &labels, *count, snapshot),
                    None => errors += count,
                }
            }
            if errors > 0 {
                self.count(&SYSCALL_ERRORS, &error_labels, errors, snapshot);
            }
        }
    }

    /// Scopes that have series of their own, and the rest as `unknown`.
    fn tcp_scopes(&mut self, tcp: &TcpCounters, budget: &mut Budget, snapshot: &mut Snapshot) {
        let mut rest: Option<ScopeCounters> = None;
        for (i, counters) in tcp.scopes.iter().enumerate() {
            let is_used =
                counters.segments_sent > 0 || counters.retransmits.iter().any(|count| *count > 0);
            if !is_used {
                continue;
            }
            let Some(place) = self.scopes.get_mut(i).filter(|_| i != Scope::Unknown as usize)
            else {
                merge(&mut rest, counters);
                continue;
            };
            let granted = *place != Place::Unseen || budget.grant(Group::Network, SCOPE_SET);
            match place.settle(budget, &TCP_RTT, granted) {
                Place::Own => self.tcp_scope(i, counters, snapshot),
                _ => merge(&mut rest, counters),
            }
        }
        let Some(counters) = rest else { return };
        let unknown = Scope::Unknown as usize;
        let Some(place) = self.scopes.get_mut(unknown) else { return };
        let granted = *place != Place::Unseen || budget.grant_fold(Group::Network, SCOPE_SET);
        if place.settle(budget, &TCP_RTT, granted) == Place::Own {
            self.tcp_scope(unknown, &counters, snapshot);
        }
    }

    fn tcp_scope(&self, scope: usize, counters: &ScopeCounters, snapshot: &mut Snapshot) {
        let Some(labels) = LABELS.scopes.get(scope) else { return };
        self.count(&TCP_SEGMENTS_SENT, &labels.scope, counters.segments_sent, snapshot);
        for (labels, count) in labels.retransmits.iter().zip(counters.retransmits) {
            self.count(&TCP_RETRANSMITS, labels, count, snapshot);
        }
        self.histogram(&TCP_RTT, &labels.scope, &counters.rtt, None, snapshot);
        self.histogram(&TCP_JITTER, &labels.scope, &counters.jitter, None, snapshot);
    }

    fn has_class(&mut self, class: usize, budget: &mut Budget) -> bool {
        let Some(place) = self.classes.get_mut(class) else { return false };
        let granted = *place != Place::Unseen
            || if class == OTHER_CLASS {
                budget.grant_fold(Group::Syscalls, CLASS_SET)
            } else {
                budget.grant(Group::Syscalls, CLASS_SET)
            };
        place.settle(budget, &SYSCALL, granted) == Place::Own
    }

    /// Labels of an error number that has a series of its own.
    fn errno_labels(
        &mut self,
        class: usize,
        slot: usize,
        budget: &mut Budget,
    ) -> Option<OwnLabels> {
        if slot == OTHER_ERRNO {
            return None;
        }
        let (place, labels) = self.errors.entry((class, slot)).or_insert_with(|| {
            let names = [class_name(class), errno_name(slot)];
            (Place::Unseen, OwnLabels::new(&SYSCALL_ERRORS, &names))
        });
        let granted = *place != Place::Unseen || budget.grant_errno();
        (place.settle(budget, &SYSCALL_ERRORS, granted) == Place::Own).then(|| labels.clone())
    }

    fn count(&self, metric: &'static Metric, labels: &OwnLabels, count: u64, to: &mut Snapshot) {
        to.family(metric).push(labels.of(&self.identity), Value::Counter(count as f64));
    }

    fn seconds(&self, metric: &'static Metric, labels: &OwnLabels, ns: u64, to: &mut Snapshot) {
        let seconds = ns as f64 / NS_PER_SECOND;
        to.family(metric).push(labels.of(&self.identity), Value::Counter(seconds));
    }

    fn histogram(
        &self,
        metric: &'static Metric,
        labels: &OwnLabels,
        durations: &Histogram,
        classic: Option<[u64; CLASSIC_BUCKETS]>,
        to: &mut Snapshot,
    ) {
        let value = match classic {
            // Two kibibytes that say nothing: most containers make no connects.
            None if durations.buckets.iter().all(|count| *count == 0) => Arc::clone(&EMPTY),
            _ => Arc::new(HistogramValue { durations: *durations, classic, exemplars: None }),
        };
        to.family(metric).push(labels.of(&self.identity), Value::Histogram(value));
    }
}

/// Adds the counters of a scope to those of others.
fn merge(rest: &mut Option<ScopeCounters>, counters: &ScopeCounters) {
    let Some(sum) = rest else {
        *rest = Some(*counters);
        return;
    };
    sum.segments_sent += counters.segments_sent;
    for (sum, count) in sum.retransmits.iter_mut().zip(counters.retransmits) {
        *sum += count;
    }
    sum.rtt.merge(&counters.rtt);
    sum.jitter.merge(&counters.jitter);
}

#[cfg(test)]
mod tests;
