//! The process lane: processes and cgroups that come and go.
//!
//! - hooks: `sched_process_fork`, `sched_process_exec`, `sched_process_exit`,
//!   `cgroup_mkdir`, `cgroup_rmdir`
//! - keeps: `PROCESSES` through forks and exits
//! - emits: `ProcessRecord`, `CgroupRecord`

use agent_common::limits::CGROUP_PATH_BYTES;
use agent_common::record::RecordKind;
use agent_common::record::cgroup::CgroupRecord;
use agent_common::stats::{Loss, Program};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::filter::{self, IGNORED};
use crate::kernel::cgroup;
use crate::kernel::task::Task;
use crate::maps::PROCESSES;
use crate::{emit, stats};

// match-proto: v2.6..: void sched_process_fork(struct task_struct *parent, struct task_struct *child)
#[btf_tracepoint(function = "sched_process_fork")]
fn sched_fork(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::SchedProcessFork, || fork(&ctx))
}

/// A worker process of a watched server is watched.
#[inline(always)]
fn fork(ctx: &BtfTracePointContext) {
    let parent = Task::from_arg(ctx.arg(0));
    let child = Task::from_arg(ctx.arg(1));
    let (parent_tgid, child_tgid) = (parent.tgid(), child.tgid());
    if parent_tgid == child_tgid {
        // A thread of a watched process is known before it first waits.
        if filter::may_be_watched(parent) {
            filter::judge(child);
        }
        return;
    }
    // SAFETY: a map value; the agent replaces it whole.
    let Some(policy) = (unsafe { PROCESSES.get(parent_tgid) }) else {
        return;
    };
    if filter::add_process(child_tgid, policy) {
        filter::judge(child);
    }
}

// match-proto: v3.4..: void sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
#[btf_tracepoint(function = "sched_process_exec")]
fn sched_exec(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::SchedProcessExec, || exec(&ctx))
}

/// Another program: whether it serves is to be found out again.
#[inline(always)]
fn exec(ctx: &BtfTracePointContext) {
    let task = Task::from_arg(ctx.arg(0));
    let was_watched = filter::remove_process(task.tgid());
    let Some(state) = filter::judge(task) else {
        return;
    };
    filter::forget(state);
    filter::refresh(state, task);
    if was_watched || state.verdict != IGNORED {
        emit::process(RecordKind::Exec, task, 0, 0);
    }
}

// match-proto: v2.6..: void sched_process_exit(struct task_struct *p); v6.17..: (struct task_struct *p, bool group_dead)
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_exit(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::SchedProcessExit, || exit(&ctx))
}

/// The leader's exit stands for the process: threads that outlive it do not
/// serve, and its number is not used again before they are gone.
#[inline(always)]
fn exit(ctx: &BtfTracePointContext) {
    let task = Task::from_arg(ctx.arg(0));
    let tgid = task.tgid();
    if task.tid() == tgid && filter::remove_process(tgid) {
        emit::process(RecordKind::Exit, task, 0, 0);
    }
}

// match-proto: v4.20..: void cgroup_mkdir(struct cgroup *cgrp, const char *path)
#[btf_tracepoint(function = "cgroup_mkdir")]
fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::CgroupMkdir, || cgroup(&ctx, RecordKind::CgroupMade))
}

// match-proto: v4.20..: void cgroup_rmdir(struct cgroup *cgrp, const char *path)
#[btf_tracepoint(function = "cgroup_rmdir")]
fn cgroup_rmdir(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::CgroupRmdir, || cgroup(&ctx, RecordKind::CgroupRemoved))
}

#[inline(always)]
fn cgroup(ctx: &BtfTracePointContext, kind: RecordKind) {
    let at: *const u8 = ctx.arg(0);
    let path: *const u8 = ctx.arg(1);
    // SAFETY: the hook's `struct cgroup *`.
    if unsafe { !cgroup::is_in_hierarchy(at) } {
        return;
    }
    let Some(slot) = emit::reserve::<CgroupRecord>() else {
        stats::lose(Loss::RingCgroup);
        return;
    };
    let record = slot.as_ptr();
    // SAFETY: the slot is as large as the record; all fields are written, and
    // the rest of the path is zeroed.
    unsafe {
        (&raw mut (*record).kind).write_volatile(kind as u8);
        (&raw mut (*record)._pad).write_volatile([0; 3]);
        (&raw mut (*record).ktime_ns).write_volatile(bpf_ktime_get_ns());
        (&raw mut (*record).cgroup_id).write_volatile(cgroup::id(at));
        let to = (&raw mut (*record).path).cast::<u8>();
        let mut i = 0;
        while i < CGROUP_PATH_BYTES / 8 {
            to.cast::<u64>().add(i).write_volatile(0);
            i += 1;
        }
        let len = bpf_probe_read_kernel_str(to.cast(), CGROUP_PATH_BYTES as u32, path.cast());
        let path_len = if len > 0 { (len - 1) as u32 } else { 0 };
        (&raw mut (*record).path_len).write_volatile(path_len);
        match kind {
            RecordKind::CgroupMade => slot.submit_and_wake(),
            _ => slot.submit(),
        }
        if len >= CGROUP_PATH_BYTES as i64 {
            stats::lose(Loss::CgroupPath);
        }
    }
}
