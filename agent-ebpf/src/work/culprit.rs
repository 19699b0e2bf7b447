//! Who had the CPU while a request's thread waited for it, see
//! `agent_common::work::Runs`.

use agent_common::work::{LONG_RUN_NS, Line, RUNS};
use aya_ebpf::helpers::bpf_ktime_get_ns;

use crate::filter::TaskState;
use crate::kernel::task::Task;
use crate::maps::CPU_RUNS;

/// A task, watched or not, leaves the CPU: remembers it if it ran for long.
///
/// The scheduler keeps how long a task has run in all, and had when it was
/// given the CPU, so that a short run, as most are, costs no clock. Tasks of
/// other classes than the fair one keep no such start, and are not noted.
#[inline(always)]
pub(crate) fn note(prev: Task) {
    let ran_ns = prev.ran_ns();
    if ran_ns < LONG_RUN_NS || !prev.is_fair() {
        return;
    }
    if let Some(runs) = CPU_RUNS.get_ptr_mut(0) {
        // SAFETY: a map value of this CPU; the run queue's lock is held.
        let run = unsafe { (*runs).room() };
        // SAFETY: a helper without arguments.
        run.ended_ns = unsafe { bpf_ktime_get_ns() };
        run.ran_ns = ran_ns;
        run.tgid = prev.tgid();
        prev.comm(&mut run.comm);
    }
}

/// Names who had this CPU for most of the time from `ready_ns` to `now_ns`, or
/// else `prev`, which had it last: where the thread waited on another CPU, or
/// for many short runs.
#[inline(always)]
pub(super) fn name(state: &mut TaskState, prev: Task, ready_ns: u64, now_ns: u64) {
    if work_names(state, ready_ns, now_ns) == 0 {
        state.line.culprit_tgid = prev.tgid();
        prev.comm(&mut state.line.culprit_comm);
    }
}

/// The first of the above; 0 if there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn work_names(state: *mut TaskState, ready_ns: u64, now_ns: u64) -> i32 {
    // SAFETY: the caller's, checked for null as the verifier asks for.
    let Some(state) = (unsafe { state.as_mut() }) else {
        return 0;
    };
    let line: &mut Line = &mut state.line;
    let Some(runs) = CPU_RUNS.get_ptr(0) else {
        return 0;
    };
    // SAFETY: as in `note`.
    let runs = unsafe { &*runs };
    let place = runs.most_of(ready_ns, now_ns);
    if place >= RUNS {
        return 0;
    }
    let run = runs.at(place);
    line.culprit_tgid = run.tgid;
    line.culprit_comm = run.comm;
    1
}
