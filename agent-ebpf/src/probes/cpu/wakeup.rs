//! `sched_wakeup`, `sched_wakeup_new`: a thread becomes ready to run.

use agent_common::stats::Program;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use super::{CALLS, NAPPED, NAPS, READY, RUNS, SENDS, THROTTLED, begin, charge, length};
use crate::filter::{self, WATCHED};
use crate::kernel::task::Task;
use crate::stats;

// match-proto: v4.4..: void sched_wakeup(struct task_struct *p)
#[btf_tracepoint(function = "sched_wakeup")]
fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::SchedWakeup, || wake(Task::from_arg(ctx.arg(0))))
}

/// A wake-up also comes for threads that have not left the CPU yet, or have
/// been woken already: it says nothing of those.
#[inline(always)]
fn wake(task: Task) {
    if !filter::may_be_watched(task) {
        return;
    }
    let Some(state) = filter::peek(task) else {
        return;
    };
    if state.wait <= THROTTLED {
        return;
    }
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if state.wait >= NAPS {
        if state.wait == NAPS {
            begin(state, NAPPED, now_ns);
        }
        return;
    }
    if let Some(blocked_ns) = length(state, now_ns) {
        charge(state.service, state.wait, blocked_ns);
        if state.line.open != 0 {
            state.line.off(state.wait - 1, blocked_ns);
            if state.wait == SENDS || state.wait == CALLS {
                state.line.waited_for_peer(state.wait - 1, blocked_ns, now_ns);
            }
        }
    }
    begin(state, ready(task), now_ns);
}

// match-proto: v4.4..: void sched_wakeup_new(struct task_struct *p)
#[btf_tracepoint(function = "sched_wakeup_new")]
fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::SchedWakeupNew, || wake_new(Task::from_arg(ctx.arg(0))))
}

/// The process lane has made the state of a watched process's new thread.
#[inline(always)]
fn wake_new(task: Task) {
    if !filter::may_be_watched(task) {
        return;
    }
    let Some(state) = filter::peek(task) else {
        return;
    };
    if state.verdict == WATCHED && state.wait == RUNS {
        // SAFETY: a helper without arguments.
        begin(state, ready(task), unsafe { bpf_ktime_get_ns() });
    }
}

#[inline(always)]
fn ready(task: Task) -> u8 {
    if task.is_woken_throttled() { THROTTLED } else { READY }
}
