//! Points of goroutines: who runs on a thread now, who left it, who came back.

use agent_common::go::GoWait;
use agent_common::work::{Line, Resume, Run};

use super::{has_parked, park_room, parked};
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
///
#[inline(always)]
pub(super) fn point(line: &mut Line, tgid: u32, now_ns: u64, goroutine: &Goroutine, why: &Why) {
    if line.owner == goroutine.id {
        line.point_ns = now_ns;
        return;
    }
    if line.is_open != 0 {
        leaves(line, tgid, now_ns, None);
    }
    line.owner = goroutine.id;
    line.is_open = 0;
    line.has_parked = 0;
    if goroutine.id != 0
        && has_parked(tgid)
        && let Some(parked) = parked(tgid, goroutine.id)
    {
        let resume = Resume {
            now_ns,
            earliest_ns: line.point_ns,
            seq: goroutine.seq,
            reason: goroutine.reason,
            was_idle: line.was_idle,
            why: why.why,
            sent_ns: why.sent_ns,
            ready_ns: why.ready_ns,
        };
        parked.resume(&resume);
        line.is_open = 1;
        line.has_parked = 1;
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
    let owner = line.owner;
    let Some(parked) = park_room(tgid, owner) else {
        line.is_open = 0;
        line.forget(now_ns);
        return;
    };
    match left {
        Some((goroutine, deadline_ns)) => {
            // One move of its count: it ran until it left, and left once.
            let moves = goroutine.seq.wrapping_sub(line.seq);
            let run = if moves == 1 { Run::Exact } else { Run::Doubtful };
            line.book(now_ns, run, &mut parked.parts);
            parked.park(now_ns, goroutine.seq, reason_of(goroutine, line.reason), 1, deadline_ns);
        }
        None => {
            line.book(now_ns, Run::Doubtful, &mut parked.parts);
            parked.park(now_ns, line.seq, line.reason, 0, 0);
        }
    }
    line.is_open = 0;
    line.has_parked = 0;
}

/// A goroutine that stopped where nothing was seen of it since its last stop
/// ran here until now, and stopped again.
#[inline(always)]
pub(super) fn came_and_left(
    line: &Line,
    tgid: u32,
    now_ns: u64,
    left: &Goroutine,
    deadline_ns: u64,
) {
    let Some(parked) = parked(tgid, left.id) else {
        return;
    };
    if parked.parked_ns == 0 || parked.seq == left.seq {
        // Not known to have stopped, or read at its last stop already.
        return;
    }
    let before = parked.reason;
    parked.resume(&Resume {
        now_ns,
        earliest_ns: line.point_ns,
        seq: left.seq.wrapping_sub(1),
        // That of the stop before this one is overwritten.
        reason: GoWait::Unknown as u8,
        was_idle: 1,
        why: 0,
        sent_ns: 0,
        ready_ns: 0,
    });
    parked.park(now_ns, left.seq, reason_of(left, before), 1, deadline_ns);
}

/// Why a goroutine that was read after it stopped did so. Nothing writes a
/// reason when the runtime takes it off its thread: the old one is still there.
#[inline(always)]
fn reason_of(left: &Goroutine, before: u8) -> u8 {
    if left.is_waiting == 0 && left.reason == before {
        GoWait::Preempted as u8
    } else {
        left.reason
    }
}
