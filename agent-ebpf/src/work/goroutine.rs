//! Points of goroutines: who runs on a thread now, who left it, who came back.

use agent_common::go::GoWait;
use agent_common::work::{Line, Resume, Run, Stop};

use super::{busy, has_parked, park_room, parked};
use crate::kernel::go::Goroutine;

/// What a point knows beyond the goroutine.
#[derive(Clone, Copy)]
pub(crate) struct Why {
    /// See `Resume::why`.
    pub(crate) why: u8,
    /// See `Resume::sent_ns`.
    pub(crate) sent_ns: u64,
    /// See `Resume::ready_ns`.
    pub(crate) ready_ns: u64,
}

impl Why {
    /// Nothing.
    pub(crate) const NONE: Self = Self { why: 0, sent_ns: 0, ready_ns: 0 };
}

/// `goroutine` runs on this thread now. If it is not the one that did at the
/// last point, that one has left, and this one may have come back.
#[inline(always)]
pub(super) fn point(line: &mut Line, tgid: u32, now_ns: u64, goroutine: &Goroutine, why: &Why) {
    let is_owner = line.owner == goroutine.id;
    if is_owner && (goroutine.seq == line.seq || !has_parked(tgid)) {
        line.point_ns = now_ns;
        return;
    }
    if is_owner {
        // Its count moved: it may have been found to stop elsewhere meanwhile.
        let is_elsewhere = parked(tgid, goroutine.id).is_some_and(|parked| parked.parked_ns != 0);
        if !is_elsewhere {
            line.point_ns = now_ns;
            return;
        }
    } else if line.is_open != 0 {
        leaves(line, tgid, now_ns, None);
    }
    line.owner = goroutine.id;
    line.is_open = 0;
    line.has_parked = 0;
    if goroutine.id != 0
        && has_parked(tgid)
        && let Some(parked) = parked(tgid, goroutine.id)
    {
        parked.resume(&Resume {
            now_ns,
            earliest_ns: line.point_ns,
            busy_ns: busy::until(tgid, now_ns),
            seq: goroutine.seq,
            reason: goroutine.reason,
            was_idle: line.was_idle,
            why: why.why,
            sent_ns: why.sent_ns,
            ready_ns: why.ready_ns,
        });
        line.is_open = 1;
        line.has_parked = 1;
        line.is_goroutine = 1;
        line.request_ns = parked.request_ns;
        line.seq = goroutine.seq;
        line.reason = goroutine.reason;
    }
    line.was_idle = 0;
    line.forget(now_ns);
    line.point_ns = now_ns;
}

/// The owner of a line, whose request is open, has left the thread: `left` if
/// it was read after that, else some time since its last point.
#[inline(always)]
pub(super) fn leaves(line: &mut Line, tgid: u32, now_ns: u64, left: Option<(&Goroutine, u64)>) {
    let parked = match park_room(tgid, line.owner, line.request_ns) {
        // Booked elsewhere since: it left long ago.
        Some(parked) if parked.booked_ns <= line.since_ns => parked,
        _ => {
            line.is_open = 0;
            line.forget(now_ns);
            return;
        }
    };
    let (run, stop) = match left {
        Some((goroutine, deadline_ns)) => {
            // One move of its count: it ran until it left, and left once.
            let moves = goroutine.seq.wrapping_sub(line.seq);
            let run = if moves == 1 { Run::Exact } else { Run::Doubtful };
            (run, stop_of(goroutine, line.reason, deadline_ns))
        }
        None => {
            let stop = Stop { seq: line.seq, reason: line.reason, is_seen: 0, deadline_ns: 0 };
            (Run::Doubtful, stop)
        }
    };
    line.book(now_ns, run, &mut parked.parts);
    parked.park(now_ns, busy::until(tgid, now_ns), &stop);
    line.is_open = 0;
    line.has_parked = 0;
}

/// A goroutine is found to be the last that left this thread, which does not
/// say when. If it moved since its last known stop, it ran until now and
/// stopped again; else more is known of that stop.
#[inline(always)]
pub(super) fn left_last(line: &Line, tgid: u32, now_ns: u64, left: &Goroutine, deadline_ns: u64) {
    let Some(parked) = parked(tgid, left.id) else {
        return;
    };
    if parked.parked_ns == 0 {
        // Not known to have stopped.
        return;
    }
    let moves = left.seq.wrapping_sub(parked.seq);
    let stop = stop_of(left, parked.reason, deadline_ns);
    if parked.is_seen == 0 && moves == 1 {
        parked.seq = stop.seq;
        parked.reason = stop.reason;
        parked.is_seen = 1;
        parked.deadline_ns = deadline_ns;
        return;
    }
    if moves == 0 || line.left == left.id {
        // Read before, or its place has not been written since the last idle
        // time: it went elsewhere, and what it did there is not known.
        return;
    }
    let busy_ns = busy::until(tgid, now_ns);
    parked.resume(&Resume {
        now_ns,
        earliest_ns: line.point_ns,
        busy_ns,
        seq: left.seq.wrapping_sub(1),
        // That of the stop before this one is overwritten.
        reason: GoWait::Unknown as u8,
        was_idle: 1,
        why: 0,
        sent_ns: 0,
        ready_ns: 0,
    });
    parked.park(now_ns, busy_ns, &stop);
}

/// Why a goroutine that was read after it stopped did so. Nothing writes a
/// reason when the runtime takes it off its thread: the old one is still there.
#[inline(always)]
fn stop_of(left: &Goroutine, before: u8, deadline_ns: u64) -> Stop {
    let is_preempted = left.is_waiting == 0 && left.reason == before;
    let reason = if is_preempted { GoWait::Preempted as u8 } else { left.reason };
    Stop { seq: left.seq, reason, is_seen: 1, deadline_ns }
}
