//! Whom to look at. Every hook asks here first, and most are told to leave.
//!
//! The verdict about a task is kept in its task storage with the generation of
//! the policies that it was made under, so an ignored task costs one storage
//! look-up. A task of a selected cgroup is a candidate until its process
//! listens or serves. Hooks that run for everything ask [`may_be_watched`]
//! before that, which keeps nothing of tasks that are not.

use agent_common::policy::{PROCESS_GO, PROCESS_IGNORED, ProcessPolicy, watched_slot};
use agent_common::stats::Loss;
use agent_common::work::{Goroutine, Line, NOT_OPEN};
use aya_ebpf::helpers::generated::bpf_task_storage_get;

use crate::kernel::task::Task;
use crate::maps::{self, CGROUPS, CONTROL, PROCESSES, TASKS, WATCHED_TGIDS};
use crate::{atomic, capture, globals, stats};

/// `BPF_LOCAL_STORAGE_GET_F_CREATE`
pub(crate) const CREATE: u64 = 1;

/// `BPF_NOEXIST`
const NOEXIST: u64 = 1;

/// Not looked at.
pub(crate) const IGNORED: u8 = 1;
/// In a selected cgroup; its process has not listened or served.
pub(crate) const CANDIDATE: u8 = 2;
/// Its process is watched.
pub(crate) const WATCHED: u8 = 3;

/// What is kept of a task.
#[repr(C)]
pub(crate) struct TaskState {
    /// Generation of the policies that the verdict was made under.
    generation: u32,
    /// Service, if it is not ignored.
    pub(crate) service: u16,
    /// [`IGNORED`], [`CANDIDATE`] or [`WATCHED`]; 0 at first.
    pub(crate) verdict: u8,
    /// 1 if its process runs Go.
    pub(crate) is_go: u8,
    /// Where its goroutine is, see `ProcessPolicy`.
    pub(crate) g_tls_offset: i32,
    /// See `ProcessPolicy`.
    pub(crate) goid_offset: u32,
    /// 1 while this thread has a request open, see [`end_request`]. (More than
    /// one cannot be told from one.)
    pub(crate) open_requests: u8,
    /// What it waits for, see `probes::cpu`; 0 while it runs.
    pub(crate) wait: u8,
    /// 1 while its system call is measured.
    pub(crate) is_in_syscall: u8,
    /// Entry of `GO_LAYOUTS`, counted from 1; 0 if there is none.
    pub(crate) go_layout: u8,
    /// Number of that call.
    pub(crate) syscall: i32,
    /// Epoch that the wait began in.
    pub(crate) wait_epoch: u32,
    /// Epoch that the call began in.
    pub(crate) syscall_epoch: u32,
    /// When the wait began.
    pub(crate) wait_ns: u64,
    /// When the call began.
    pub(crate) syscall_ns: u64,
    /// 1 if its service is captured; see `capture`.
    pub(crate) is_captured: u8,
    /// Zero.
    _pad: [u8; 7],
    /// Whose work it does, and where its time went.
    pub(crate) line: Line,
    /// The goroutine that it was last found to run, see `work::look`. Kept here
    /// and not on the stack: what is known of a stack makes the verifier tell
    /// ways apart that need not be.
    pub(crate) goroutine: Goroutine,
}

const _: () = assert!(size_of::<TaskState>() <= 384);

/// The policies' generation.
#[inline(always)]
pub(crate) fn generation() -> u32 {
    match CONTROL.get(0) {
        // Volatile: the agent writes it while programs run.
        // SAFETY: a map value.
        Some(control) => unsafe { core::ptr::read_volatile(&raw const control.generation) },
        None => 0,
    }
}

/// Goes up after things went unseen: what began before is not measured.
#[inline(always)]
pub(crate) fn epoch() -> u32 {
    match CONTROL.get(0) {
        // SAFETY: as above.
        Some(control) => unsafe { core::ptr::read_volatile(&raw const control.epoch) },
        None => 0,
    }
}

/// Whether a lane (a `LANE_*` bit) is on, for programs that serve two. A lane
/// can be switched while programs run, so this is no constant.
#[inline(always)]
pub(crate) fn has_lane(lane: u32) -> bool {
    // SAFETY: a map value; volatile because the agent writes it.
    CONTROL.get(0).is_some_and(|control| unsafe {
        core::ptr::read_volatile(&raw const control.lanes) & lane != 0
    })
}

/// Epoch of the connections, see `Control`.
#[inline(always)]
pub(crate) fn connections_epoch() -> u32 {
    match CONTROL.get(0) {
        // SAFETY: as above.
        Some(control) => unsafe { core::ptr::read_volatile(&raw const control.connections_epoch) },
        None => 0,
    }
}

/// The state of a task if it has any; for hooks that must not allocate.
#[inline(always)]
pub(crate) fn peek(task: Task) -> Option<&'static mut TaskState> {
    state(task, 0)
}

/// The state of a task with a verdict that holds.
#[inline(always)]
pub(crate) fn judge(task: Task) -> Option<&'static mut TaskState> {
    let Some(state) = state(task, CREATE) else {
        stats::lose(Loss::TaskStorage);
        return None;
    };
    refresh(state, task);
    Some(state)
}

/// Makes the verdict again if the policies changed, or if it may turn out
/// otherwise by now.
#[inline(always)]
pub(crate) fn refresh(state: &mut TaskState, task: Task) {
    let generation = generation();
    if state.generation == generation && state.verdict != CANDIDATE && state.verdict != 0 {
        return;
    }
    state.generation = generation;
    let tgid = task.tgid();
    // SAFETY: a map value; the agent replaces values whole.
    if let Some(policy) = unsafe { PROCESSES.get(tgid) } {
        let is_ignored = policy.flags & PROCESS_IGNORED != 0;
        state.verdict = if is_ignored { IGNORED } else { WATCHED };
        state.service = policy.service;
        state.is_go = u8::from(policy.flags & PROCESS_GO != 0);
        state.g_tls_offset = policy.g_tls_offset;
        state.goid_offset = policy.goid_offset;
        state.go_layout = policy.go_layout as u8;
        state.is_captured = u8::from(!is_ignored && capture::has(policy.service));
        return;
    }
    state.verdict = IGNORED;
    state.is_captured = 0;
    state.goid_offset = 0;
    state.go_layout = 0;
    state.is_go = 0;
    if tgid == globals::AGENT_TGID.load() {
        return;
    }
    // SAFETY: a map value.
    if let Some(policy) = unsafe { CGROUPS.get(task.cgroup_id()) } {
        state.verdict = CANDIDATE;
        state.service = policy.service;
    }
}

/// Drops a verdict, and what was kept of the program that ran: it is made again
/// at the next look.
#[inline(always)]
pub(crate) const fn forget(state: &mut TaskState) {
    state.verdict = 0;
    state.open_requests = 0;
    state.is_in_syscall = 0;
    state.line.open = NOT_OPEN;
    state.line.has_parked = 0;
}

/// A candidate's process turned out to serve. True if this made it watched.
#[inline(always)]
pub(crate) fn promote(state: &mut TaskState, tgid: u32) -> bool {
    let policy = ProcessPolicy { service: state.service, ..ProcessPolicy::default() };
    if !add_process(tgid, &policy) {
        return false;
    }
    state.verdict = WATCHED;
    true
}

/// Makes an entry for a process, or replaces it. False, and counted, if there
/// is no room.
#[inline(always)]
pub(crate) fn add_process(tgid: u32, policy: &ProcessPolicy) -> bool {
    if PROCESSES.insert(tgid, policy, NOEXIST).is_ok() {
        count_process(tgid, 1);
        return true;
    }
    let is_replaced = PROCESSES.insert(tgid, policy, 0).is_ok();
    if !is_replaced {
        stats::lose(Loss::Processes);
    }
    is_replaced
}

/// Removes the entry of a process. True if there was one.
#[inline(always)]
pub(crate) fn remove_process(tgid: u32) -> bool {
    let is_removed = PROCESSES.remove(tgid).is_ok();
    if is_removed {
        // Adding all ones takes one away.
        count_process(tgid, u64::MAX);
    }
    is_removed
}

#[inline(always)]
fn count_process(tgid: u32, change: u64) {
    if let Some(slot) = WATCHED_TGIDS.get_ptr_mut(watched_slot(tgid)) {
        // SAFETY: a map value.
        unsafe { atomic::add(slot, change) };
    }
}

/// Whether a task's process may be watched: two loads, for the hooks that run
/// for every switch and system call of the node. If it is not, nothing is kept
/// of the task at all.
#[inline(always)]
pub(crate) fn may_be_watched(task: Task) -> bool {
    // SAFETY: a map value; volatile because other CPUs add to it.
    WATCHED_TGIDS
        .get_ptr(watched_slot(task.tgid()))
        .is_some_and(|slot| unsafe { slot.read_volatile() } != 0)
}

/// The current thread has no request open any more.
///
/// A request is open on the thread that has read it until the first byte of
/// its response, until its connection is closed or found broken by that
/// thread, or until the thread waits for other work
/// (`off_cpu::is_between_requests`). Each may come early, none late: time is
/// then not counted rather than counted wrongly.
#[inline(always)]
pub(crate) fn end_request(task: Task) {
    if let Some(state) = peek(task) {
        state.open_requests = 0;
    }
}

#[inline(always)]
fn state(task: Task, flags: u64) -> Option<&'static mut TaskState> {
    // SAFETY: the helper takes any task and gives null or its storage, which
    // lives as long as the task.
    unsafe {
        bpf_task_storage_get(
            maps::as_ptr(&TASKS),
            task.as_ptr().cast_mut().cast(),
            core::ptr::null_mut(),
            flags,
        )
        .cast::<TaskState>()
        .as_mut()
    }
}
