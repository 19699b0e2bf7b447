//! Points at switches: what the thread that leaves was doing, and how long the
//! one that comes was away.

use agent_common::go::GoWait;
use agent_common::work::{CULPRIT_NS, Goroutine, NOT_OPEN, leaves, left_last};

use super::{Process, busy, culprit, has_parked, layout, look, parked, work_seen};
use crate::filter::TaskState;
use crate::kernel::go;
use crate::kernel::task::Task;

/// A watched thread leaves the CPU. `is_blocked` if it waits for something,
/// that is, is not merely preempted.
#[inline(always)]
pub(crate) fn leave(task: Task, state: &mut TaskState, is_blocked: bool, now_ns: u64) {
    let tgid = task.tgid();
    if state.line.counted != 0 {
        busy::ends(&mut state.line, tgid, now_ns);
    }
    if state.go_layout != 0 && (state.line.open != 0 || has_parked(tgid)) {
        look(task, state);
        if state.goroutine.id != 0 {
            work_seen(state, tgid, now_ns);
        } else if state.goroutine.at != 0 {
            work_schedules(state, tgid, u64::from(is_blocked), now_ns);
        }
    }
    state.line.point_ns = now_ns;
}

/// A Go thread leaves the CPU in its scheduler: to sleep, with nothing to run,
/// or, if it is not blocked, preempted there, when it may also be at work for
/// its goroutine.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn work_schedules(
    state: *mut TaskState,
    tgid: u32,
    is_blocked: u64,
    now_ns: u64,
) -> i32 {
    // SAFETY: the caller's, checked for null as the verifier asks for.
    let Some(state) = (unsafe { state.as_mut() }) else {
        return 0;
    };
    let Some(layout) = layout(state) else {
        return 0;
    };
    let left = go::last_left(state.goroutine.at, layout);
    let line = &mut state.line;
    let deadline_ns = if left.id != 0 && left.reason == GoWait::Sleep as u8 {
        go::sleep_deadline(left.at, layout)
    } else {
        0
    };
    let is_owner = line.open != 0 && left.id == line.owner && left.seq != line.seq;
    if is_blocked == 0 && !is_owner {
        return 0;
    }
    if is_owner {
        leaves(line, &mut Process { tgid }, now_ns, Some((&left, deadline_ns)));
    } else {
        if line.open != 0 {
            leaves(line, &mut Process { tgid }, now_ns, None);
        }
        if left.id != 0 {
            left_last(line, &mut Process { tgid }, now_ns, &left, deadline_ns);
        }
    }
    if left.id != 0 && left.is_waiting == 0 && go::is_world_stopping(layout) {
        stopped_with_the_world(tgid, &left);
    }
    if is_blocked != 0 {
        line.left = left.id;
        line.was_idle = 1;
    }
    line.owner = 0;
    line.open = NOT_OPEN;
    line.has_parked = 0;
    0
}

/// A goroutine that was taken off its thread while the collector stops the
/// world waits for that.
#[inline(always)]
fn stopped_with_the_world(tgid: u32, left: &Goroutine) {
    if let Some(parked) = parked(tgid, left.id)
        && parked.is_seen != 0
        && parked.seq == left.seq
    {
        parked.reason = GoWait::StopTheWorld as u8;
    }
}

/// A watched thread gets the CPU after `waited_ns` of being ready for it, or
/// of being off it for the reason of the wait code `wait`; `prev` had it.
#[inline(always)]
pub(crate) fn enter(
    (task, prev): (Task, Task),
    state: &mut TaskState,
    wait: u8,
    waited_ns: u64,
    now_ns: u64,
) {
    let line = &mut state.line;
    if state.go_layout != 0 {
        busy::begins(line, task.tgid(), now_ns);
    }
    line.in_ns = now_ns;
    line.ready_ns = now_ns - waited_ns;
    line.point_ns = now_ns;
    if line.open != 0 {
        // Whoever was here still is.
        line.known_ns = now_ns;
        line.off(wait.wrapping_sub(1), waited_ns);
        if waited_ns >= CULPRIT_NS && waited_ns > line.runqueue_worst_ns {
            line.runqueue_worst_ns = waited_ns;
            culprit::name(state, prev, now_ns - waited_ns, now_ns);
        }
    } else if line.is_loop != 0 {
        // The next turn begins.
        line.since_ns = now_ns;
    }
}
