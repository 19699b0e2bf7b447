//! `sched_switch`: one thread leaves the CPU, another gets it.

use agent_common::counter::cpu::OffCpu;
use agent_common::off_cpu::{self, Blocked, state};
use agent_common::stats::Program;
use agent_common::work::{Line, NOT_OPEN, UNANSWERED};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use super::{
    CALLS, LOCKS_LATE, NAPPED, NAPS, READY, RECEIVES, RUNS, SENDS, SLEEPS_LATE, THROTTLED,
    UNCOUNTED, begin, charge, charge_runqueue, charged_to, length,
};
use crate::filter::{self, TaskState, WATCHED};
use crate::kernel::arch::Registers;
use crate::kernel::task::Task;
use crate::{capture, globals, stats, work};

// match-proto: v5.2..: void sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next); v5.18..: (bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)
#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::SchedSwitch, || switch(&ctx))
}

#[inline(always)]
fn switch(ctx: &BtfTracePointContext) {
    let prev = Task::from_arg(ctx.arg(1));
    let next = Task::from_arg(ctx.arg(2));
    work::note(prev);
    let mut now_ns = 0;
    if filter::may_be_watched(prev) {
        now_ns = leave(ctx, prev);
    }
    if filter::may_be_watched(next)
        && let Some(task_state) = filter::peek(next)
        && task_state.wait != RUNS
    {
        if now_ns == 0 {
            // SAFETY: a helper without arguments.
            now_ns = unsafe { bpf_ktime_get_ns() };
        }
        enter((next, prev), task_state, now_ns);
    }
}

/// A task leaves the CPU. Gives the time, if it was looked at.
#[inline(always)]
fn leave(ctx: &BtfTracePointContext, prev: Task) -> u64 {
    let is_preempted: u8 = ctx.arg(0);
    // The argument is the state that was acted on; the task's own may have been
    // changed by its waker since.
    let left_as: u32 =
        if globals::HAS_SWITCH_STATE.load() != 0 { ctx.arg(3) } else { prev.state() };
    // A preempted thread is ready, whatever it was about to wait for.
    let left_as = if is_preempted != 0 { 0 } else { left_as };
    let Some(task_state) = state_of(prev, left_as) else {
        return 0;
    };
    if task_state.verdict != WATCHED {
        return 0;
    }
    let wait = wait_of(prev, task_state, left_as);
    if wait == RUNS {
        return 0;
    }
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if wait != NAPS {
        work::leave(prev, task_state, left_as != 0, now_ns);
    }
    begin(task_state, wait, now_ns);
    if task_state.is_captured != 0 {
        capture::left(prev, task_state, wait, now_ns);
    }
    now_ns
}

/// State of the task that leaves, with a verdict that holds.
#[inline(always)]
fn state_of(prev: Task, left_as: u32) -> Option<&'static mut TaskState> {
    if let Some(task_state) = filter::peek(prev) {
        filter::refresh(task_state, prev);
        return Some(task_state);
    }
    // Before 6.4 memory for storage came from the common allocator, which may
    // wake a thread: not here, under the run queue's lock. There threads become
    // known where they start, call, send or receive.
    if globals::HAS_SAFE_STORAGE.load() == 0 || left_as & state::DEAD != 0 || prev.is_kernel() {
        return None;
    }
    filter::judge(prev)
}

/// What the task that leaves waits for; [`RUNS`] if that is not looked at.
#[inline(always)]
fn wait_of(prev: Task, task_state: &mut TaskState, left_as: u32) -> u8 {
    if left_as == 0 {
        return if prev.is_throttled() { THROTTLED } else { READY };
    }
    let blocked = Blocked {
        state: left_as,
        syscall: Registers::of(prev).syscall(),
        is_in_iowait: prev.is_in_iowait(),
        is_in_memstall: prev.is_in_memstall(),
        is_go: task_state.is_go != 0,
        has_request: task_state.open_requests != 0,
    };
    if off_cpu::is_runtime_nap(&blocked) {
        return if task_state.is_captured != 0 { NAPS } else { RUNS };
    }
    if off_cpu::is_between_requests(&blocked) {
        task_state.open_requests = 0;
        turns_to_others(&mut task_state.line, off_cpu::is_event_loop(&blocked));
    }
    match off_cpu::reason(&blocked) {
        Some(reason) => charged_to(reason),
        None if task_state.line.open != 0 => of_request(&task_state.line, &blocked),
        None => UNCOUNTED,
    }
}

/// The thread looks for other work. If it does so in an event loop, or leaves
/// a request unanswered, it serves several in turns. (A goroutine's request
/// stays open: it is followed by itself.)
#[inline(always)]
fn turns_to_others(line: &mut Line, is_event_loop: bool) {
    if line.is_goroutine != 0 {
        return;
    }
    if line.open == UNANSWERED || is_event_loop {
        line.is_loop = 1;
    }
    line.open = NOT_OPEN;
    line.owner = 0;
    line.turn_over();
}

/// What a thread waits for that serves a request, or has answered one: then it
/// may be idle, or wait in the middle of its response.
#[inline(always)]
fn of_request(line: &Line, blocked: &Blocked) -> u8 {
    match off_cpu::reason(&Blocked { has_request: true, ..*blocked }) {
        Some(OffCpu::Lock) => LOCKS_LATE,
        Some(OffCpu::Sleep) => SLEEPS_LATE,
        _ => peer_of(line, blocked.syscall),
    }
}

/// Whom a thread waits for that serves a request and is blocked on a socket.
#[inline(always)]
fn peer_of(line: &Line, syscall: i64) -> u8 {
    match off_cpu::peer(syscall) {
        off_cpu::Peer::None => UNCOUNTED,
        off_cpu::Peer::Called => CALLS,
        _ if line.calls_open != 0 => CALLS,
        off_cpu::Peer::Taking => SENDS,
        off_cpu::Peer::Sending if line.is_receiving != 0 => RECEIVES,
        off_cpu::Peer::Sending => UNCOUNTED,
    }
}

/// The task gets the CPU.
#[inline(always)]
fn enter((next, prev): (Task, Task), task_state: &mut TaskState, now_ns: u64) {
    let wait = task_state.wait;
    task_state.wait = RUNS;
    let Some(wait_ns) = length(task_state, now_ns) else {
        return;
    };
    if wait >= NAPS {
        task_state.line.in_ns = now_ns;
        task_state.line.ready_ns = if wait == NAPPED { now_ns - wait_ns } else { now_ns };
        return;
    }
    let as_ready = if wait == THROTTLED { wait } else { READY };
    work::enter((next, prev), task_state, as_ready, wait_ns, now_ns);
    if wait == THROTTLED {
        charge(task_state.service, wait, wait_ns);
        return;
    }
    // Blocked, and never woken: before 6.14 a thread that a signal kept from
    // blocking is switched out with the state that it had asked for, ready.
    charge_runqueue(task_state.service, wait_ns);
}
