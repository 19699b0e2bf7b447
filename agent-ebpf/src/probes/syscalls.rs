//! The syscalls lane: time, calls and errors by class; accepted connections.
//!
//! - hooks: `sys_enter`, `sys_exit`
//! - keeps: the call that each watched thread is in; `ACCEPTED`
//! - adds: `SyscallCounters`
//! - rate: every system call of the node; a few loads for threads that nobody
//!   watches
//!
//! A call counts when its exit is seen after its entry: `exit` never returns,
//! a new process returns from a call that it never made, and both are left out.

use agent_common::counter::syscalls::{ClassCounters, ERRNO_SLOTS};
use agent_common::stats::{Loss, Program};
use agent_common::syscall::calls::nr;
use agent_common::syscall::errno::{Outcome, outcome};
use agent_common::syscall::{CLASSES, Class, class_of};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::filter::{self, TaskState, WATCHED};
use crate::kernel::arch::{Registers, UNKNOWN};
use crate::kernel::file;
use crate::kernel::task::Task;
use crate::maps::{ACCEPTED, SERVICE_SYSCALLS};
use crate::{atomic, capture, stats};

// match-proto: v2.6..: void sys_enter(struct pt_regs *regs, long id)
#[btf_tracepoint(function = "sys_enter")]
fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::SysEnter, || enter(&ctx))
}

#[inline(always)]
fn enter(ctx: &BtfTracePointContext) {
    let task = Task::current();
    if !filter::may_be_watched(task) {
        return;
    }
    let Some(state) = filter::judge(task) else {
        return;
    };
    if state.verdict != WATCHED {
        return;
    }
    let number: i64 = ctx.arg(1);
    let is_64_bit = Registers::from_arg(ctx.arg(0)).is_64_bit();
    state.syscall = if is_64_bit { number as i32 } else { UNKNOWN as i32 };
    state.syscall_epoch = filter::epoch();
    // SAFETY: a helper without arguments.
    state.syscall_ns = unsafe { bpf_ktime_get_ns() };
    state.is_in_syscall = 1;
}

// match-proto: v2.6..: void sys_exit(struct pt_regs *regs, long ret)
#[btf_tracepoint(function = "sys_exit")]
fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::SysExit, || exit(&ctx))
}

#[inline(always)]
fn exit(ctx: &BtfTracePointContext) {
    let task = Task::current();
    if !filter::may_be_watched(task) {
        return;
    }
    let Some(state) = filter::peek(task) else {
        return;
    };
    if state.is_in_syscall == 0 {
        return;
    }
    state.is_in_syscall = 0;
    if state.syscall_epoch != filter::epoch() || state.verdict != WATCHED {
        return;
    }
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if now_ns < state.syscall_ns {
        stats::lose(Loss::ClockRegression);
        return;
    }
    let result: i64 = ctx.arg(1);
    if state.is_captured != 0 && !(state.is_go != 0 && i64::from(state.syscall) == nr::NANOSLEEP) {
        // The naps of Go's runtime are told as it leaves the CPU.
        capture::called(task, state, now_ns);
    }
    let class = class_of(i64::from(state.syscall));
    add(state, class, now_ns - state.syscall_ns, result);
    if class == Class::Accept as u8 && result >= 0 {
        accepted(task, result as u32, now_ns);
    }
}

#[inline(always)]
fn add(state: &TaskState, class: u8, took_ns: u64, result: i64) {
    let Some(counters) = SERVICE_SYSCALLS.get_ptr_mut(u32::from(state.service)) else {
        return;
    };
    // SAFETY: a map value, and indices within its arrays.
    unsafe {
        let classes = (&raw mut (*counters).classes).cast::<ClassCounters>();
        let counters = classes.add(usize::from(class) & (CLASSES - 1));
        atomic::add(&raw mut (*counters).time_ns, took_ns);
        atomic::add(&raw mut (*counters).calls, 1);
        if i64::from(state.syscall) == nr::RT_SIGRETURN {
            return;
        }
        if let Outcome::Failed(slot) = outcome(result) {
            let errors = (&raw mut (*counters).errors).cast::<u64>();
            atomic::add(errors.add(usize::from(slot) & (ERRNO_SLOTS - 1)), 1);
        }
    }
}

/// Notes when a connection was accepted: how long it waited for that is taken
/// at its first read or write.
#[inline(always)]
fn accepted(task: Task, descriptor: u32, now_ns: u64) {
    if let Some(sk) = file::inet_sock(task, descriptor)
        && ACCEPTED.insert(sk, now_ns, 0).is_err()
    {
        stats::lose(Loss::Accepted);
    }
}
