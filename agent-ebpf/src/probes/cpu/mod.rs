//! The cpu lane: how long watched threads wait for a CPU, and what they are
//! blocked on.
//!
//! - hooks: `sched_switch`, `sched_wakeup`, `sched_wakeup_new`
//! - keeps: each thread's wait in its task storage
//! - adds: `CpuCounters`
//! - rate: every switch and wake-up of the node; a few loads for threads that
//!   nobody watches
//!
//! A wait begins when a thread is switched out, and again when it is woken,
//! and ends when it is switched in. The scheduler's own lock orders what
//! happens to one thread. The wake-ups are attached before `sched_switch` and
//! detached after it, so that no wait begins whose wake-up goes unseen.

mod switch;
mod wakeup;

use agent_common::counter::cpu::{OFF_CPU_REASONS, OffCpu};
use agent_common::histogram::{CLASSIC_BUCKETS, RUNQUEUE_EDGES_NS, bucket_index, classic_index};
use agent_common::record::point::OFF_NAP;
use agent_common::stats::Loss;
use agent_common::work::Off;

use crate::filter::{self, TaskState};
use crate::maps::SERVICE_CPU;
use crate::{atomic, stats};

/// `TaskState::wait` of a thread that runs, or of which nothing is known.
const RUNS: u8 = 0;
/// It is ready to run.
const READY: u8 = charged_to(OffCpu::Runqueue);
/// It is ready to run, and its cgroup is out of quota.
const THROTTLED: u8 = charged_to(OffCpu::Throttled);
/// It is blocked on something that is not counted.
const UNCOUNTED: u8 = Off::Other as u8 + 1;
/// See [`RECEIVES`].
const LOCKS_LATE: u8 = Off::LateLock as u8 + 1;
/// See [`RECEIVES`].
const SLEEPS_LATE: u8 = Off::LateSleep as u8 + 1;
/// Not counted either, but told apart for the request that it serves.
const RECEIVES: u8 = Off::Receive as u8 + 1;
/// See [`RECEIVES`].
const SENDS: u8 = Off::Send as u8 + 1;
/// See [`RECEIVES`].
const CALLS: u8 = Off::Downstream as u8 + 1;

/// A thread of Go's runtime naps. That is looked at while it is captured only,
/// and counted for nothing.
const NAPS: u8 = OFF_NAP + 1;
/// It has napped, and is ready to run.
const NAPPED: u8 = NAPS + 1;

/// `TaskState::wait` of a thread whose time is charged to a reason.
const fn charged_to(reason: OffCpu) -> u8 {
    reason as u8 + 1
}

/// A wait begins.
#[inline(always)]
fn begin(state: &mut TaskState, wait: u8, now_ns: u64) {
    state.wait = wait;
    state.wait_ns = now_ns;
    state.wait_epoch = filter::epoch();
}

/// Length of the wait that ends now; `None` if it cannot be said.
#[inline(always)]
fn length(state: &TaskState, now_ns: u64) -> Option<u64> {
    if state.wait_epoch != filter::epoch() {
        return None;
    }
    if now_ns < state.wait_ns {
        stats::lose(Loss::ClockRegression);
        return None;
    }
    Some(now_ns - state.wait_ns)
}

/// Charges time off the CPU. `wait` is that of a thread that waited.
#[inline(always)]
fn charge(service: u16, wait: u8, wait_ns: u64) {
    let reason = usize::from(wait).wrapping_sub(1);
    if reason >= OFF_CPU_REASONS {
        return;
    }
    if let Some(counters) = SERVICE_CPU.get_ptr_mut(u32::from(service)) {
        // SAFETY: a map value, and an index within its array.
        unsafe {
            let times = (&raw mut (*counters).off_cpu_ns).cast::<u64>();
            atomic::add(times.add(reason), wait_ns);
        }
    }
}

/// Charges a wait for the CPU.
#[inline(always)]
fn charge_runqueue(service: u16, wait_ns: u64) {
    let bucket = bucket_index(wait_ns) & 255;
    let classic = classic_index(wait_ns, &RUNQUEUE_EDGES_NS) & 15;
    if let Some(counters) = SERVICE_CPU.get_ptr_mut(u32::from(service)) {
        // SAFETY: a map value, and indices within its arrays.
        unsafe {
            let times = (&raw mut (*counters).off_cpu_ns).cast::<u64>();
            atomic::add(times.add(OffCpu::Runqueue as usize), wait_ns);
            atomic::add(&raw mut (*counters).runqueue.sum_ns, wait_ns);
            let buckets = (&raw mut (*counters).runqueue.buckets).cast::<u64>();
            atomic::add(buckets.add(bucket), 1);
            if classic < CLASSIC_BUCKETS {
                let buckets = (&raw mut (*counters).runqueue_classic).cast::<u64>();
                atomic::add(buckets.add(classic), 1);
            }
        }
    }
}
