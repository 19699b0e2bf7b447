//! Series of what the kernel counts per service: the counter path's half of
//! aggregation. Label sets are made once a service.

use std::sync::Arc;

use agent_common::counter::cpu::{CpuCounters, OffCpu};
use agent_common::counter::syscalls::SyscallCounters;
use agent_common::counter::tcp::{
    CONNECT_RESULTS, RESET_DIRECTIONS, RETRANSMIT_KINDS, Scope, TcpCounters,
};
use agent_common::histogram::{CLASSIC_BUCKETS, Histogram};
use agent_common::syscall::Class;
use agent_common::syscall::errno::errno_name;

use super::histogram::HistogramValue;
use super::labels::{Identity, LabelSet};
use super::snapshot::{Snapshot, Value};
use crate::metrics::Metric;
use crate::metrics::workload::{
    CPU_THROTTLED, OFF_CPU, RUNQUEUE_LATENCY, SYSCALL, SYSCALL_ERRORS, SYSCALLS, TCP_ACCEPT_WAIT,
    TCP_CONNECT, TCP_CONNECTS, TCP_JITTER, TCP_RESETS, TCP_RETRANSMITS, TCP_RTT, TCP_SEGMENTS_SENT,
};

const NS_PER_SECOND: f64 = 1e9;

fn class_name(index: usize) -> &'static str {
    Class::ALL.get(index).map_or("other", |class| class.as_str())
}

/// Puts a service's counters into a snapshot. Series whose value never moved
/// are left out, but for those that a rate is taken of as soon as the service
/// is there.
pub struct CounterSeries<'a> {
    /// Whose they are.
    pub identity: &'a Identity,
    /// Series of errors that may have an error number of their own.
    pub max_errors: usize,
}

impl CounterSeries<'_> {
    /// CPU waits.
    pub fn cpu(&self, cpu: &CpuCounters, snapshot: &mut Snapshot) {
        self.histogram(&RUNQUEUE_LATENCY, &[], &cpu.runqueue, Some(cpu.runqueue_classic), snapshot);
        for (reason, ns) in OffCpu::ALL.iter().zip(cpu.off_cpu_ns) {
            self.seconds(&OFF_CPU, &[reason.as_str()], ns, snapshot);
        }
        let throttled = cpu.off_cpu_ns.get(OffCpu::Throttled as usize).copied().unwrap_or(0);
        self.seconds(&CPU_THROTTLED, &[], throttled, snapshot);
    }

    /// Connections.
    pub fn tcp(&self, tcp: &TcpCounters, snapshot: &mut Snapshot) {
        for (scope, counters) in Scope::ALL.iter().zip(&tcp.scopes) {
            let scope = scope.as_str();
            if counters.segments_sent == 0 && counters.retransmits.iter().all(|count| *count == 0) {
                continue;
            }
            self.count(&TCP_SEGMENTS_SENT, &[scope], counters.segments_sent, snapshot);
            for (kind, count) in RETRANSMIT_KINDS.iter().zip(counters.retransmits) {
                self.count(&TCP_RETRANSMITS, &[scope, kind], count, snapshot);
            }
            self.histogram(&TCP_RTT, &[scope], &counters.rtt, None, snapshot);
            self.histogram(&TCP_JITTER, &[scope], &counters.jitter, None, snapshot);
        }
        for (direction, count) in RESET_DIRECTIONS.iter().zip(tcp.resets) {
            self.count(&TCP_RESETS, &[direction], count, snapshot);
        }
        for (result, count) in CONNECT_RESULTS.iter().zip(tcp.connects) {
            if count > 0 {
                self.count(&TCP_CONNECTS, &[result], count, snapshot);
            }
        }
        self.histogram(&TCP_CONNECT, &[], &tcp.connect_time, None, snapshot);
        self.histogram(&TCP_ACCEPT_WAIT, &[], &tcp.accept_wait, None, snapshot);
    }

    /// System calls. Returns how many series of errors were folded.
    pub fn syscalls(&self, syscalls: &SyscallCounters, snapshot: &mut Snapshot) -> u64 {
        let mut errors = Vec::new();
        for (i, class) in syscalls.classes.iter().enumerate() {
            if class.calls == 0 {
                continue;
            }
            self.seconds(&SYSCALL, &[class_name(i)], class.time_ns, snapshot);
            self.count(&SYSCALLS, &[class_name(i)], class.calls, snapshot);
            let slots = class.errors.iter().enumerate().filter(|(_, count)| **count > 0);
            errors.extend(slots.map(|(slot, count)| (i, errno_name(slot), *count)));
        }
        self.errors(errors, snapshot)
    }

    /// The most frequent errors by number, the rest of each class as `_other`.
    fn errors(&self, mut errors: Vec<(usize, &'static str, u64)>, snapshot: &mut Snapshot) -> u64 {
        // A stable order, so that a series does not come and go between
        // scrapes while counts of the same size overtake each other.
        errors.sort_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(&b.0)).then(a.1.cmp(b.1)));
        let rest = errors.split_off(self.max_errors.min(errors.len()));
        let folded = rest.len() as u64;
        let mut other = std::collections::BTreeMap::new();
        for (class, errno, count) in errors {
            if errno == "_other" {
                *other.entry(class).or_insert(0) += count;
            } else {
                self.count(&SYSCALL_ERRORS, &[class_name(class), errno], count, snapshot);
            }
        }
        for (class, _, count) in rest {
            *other.entry(class).or_insert(0) += count;
        }
        for (class, count) in other {
            self.count(&SYSCALL_ERRORS, &[class_name(class), "_other"], count, snapshot);
        }
        folded
    }

    fn count(&self, metric: &'static Metric, values: &[&str], count: u64, to: &mut Snapshot) {
        let labels = LabelSet::new(metric, Some(self.identity), values);
        to.family(metric).push(labels, Value::Counter(count as f64));
    }

    fn seconds(&self, metric: &'static Metric, values: &[&str], ns: u64, to: &mut Snapshot) {
        let labels = LabelSet::new(metric, Some(self.identity), values);
        to.family(metric).push(labels, Value::Counter(ns as f64 / NS_PER_SECOND));
    }

    fn histogram(
        &self,
        metric: &'static Metric,
        values: &[&str],
        durations: &Histogram,
        classic: Option<[u64; CLASSIC_BUCKETS]>,
        to: &mut Snapshot,
    ) {
        let labels = LabelSet::new(metric, Some(self.identity), values);
        let value = HistogramValue { durations: *durations, classic };
        to.family(metric).push(labels, Value::Histogram(Arc::new(value)));
    }
}
