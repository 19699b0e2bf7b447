//! Points of goroutines: who runs on a thread now, who left it, who came back.

use super::{Line, NOT_OPEN, Parked, Resume, Run, Stop, UNANSWERED};
use crate::go::GoWait;

/// What a goroutine's `g` says.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Goroutine {
    /// `goid`; 0 for a thread's own scheduling goroutine, or if unknown.
    pub id: u64,
    /// Where its `g` is.
    pub at: u64,
    /// `trackingSeq`
    pub seq: u8,
    /// A `GoWait`.
    pub reason: u8,
    /// 1 if its status is waiting: its reason is that of now.
    pub is_waiting: u8,
    /// 1 if the program's layout is known, whether it was read or not.
    pub is_followed: u8,
    /// Zero.
    pub _pad: u32,
}

impl Goroutine {
    /// None, of a program that is not Go or of which not enough is known.
    pub const NONE: Self = Self::unknown(0);

    /// One that could not be read.
    #[must_use]
    pub const fn unknown(is_followed: u8) -> Self {
        Self { id: 0, at: 0, seq: 0, reason: 0, is_waiting: 0, is_followed, _pad: 0 }
    }
}

/// What a point knows beyond the goroutine.
#[derive(Clone, Copy, Debug)]
pub struct Why {
    /// See [`Resume::why`].
    pub why: u8,
    /// See [`Resume::sent_ns`].
    pub sent_ns: u64,
    /// See [`Resume::ready_ns`].
    pub ready_ns: u64,
}

impl Why {
    /// Nothing.
    pub const NONE: Self = Self { why: 0, sent_ns: 0, ready_ns: 0 };
}

/// The goroutines of a process that left their thread with a request open.
pub trait Goroutines {
    /// Whether there may be any.
    fn has_parked(&self) -> bool;
    /// One of them.
    fn parked(&mut self, goid: u64) -> Option<&mut Parked>;
    /// One of them, for its request that was read at `request_ns`; made if
    /// there is none. `None` if that is over, or a later one of its requests is
    /// open: what is known of this one came too late.
    fn room(&mut self, goid: u64, request_ns: u64) -> Option<&mut Parked>;
    /// It is none of them, or no longer.
    fn forget(&mut self, goid: u64);
    /// When the request was read that one of them, any, has open; 0 if that is
    /// not known.
    fn open_request(&self, goid: u64) -> u64;
    /// Samples that found it running since this was asked last; 0 if no request
    /// of its is known to be open.
    fn take_samples(&mut self, goid: u64) -> u16;
    /// The process's run time until now, see [`super::Busy`].
    fn busy_ns(&self, now_ns: u64) -> u64;
}

/// `goroutine` runs on this thread now. If it is not the one that did at the
/// last point, that one has left, and this one may have come back.
#[inline(always)]
pub fn point<P: Goroutines>(
    line: &mut Line,
    process: &mut P,
    now_ns: u64,
    goroutine: &Goroutine,
    why: &Why,
) {
    let is_owner = line.owner == goroutine.id;
    if is_owner && (goroutine.seq == line.seq || !process.has_parked()) {
        line.see(now_ns, goroutine.seq, goroutine.reason);
        line.point_ns = now_ns;
        return;
    }
    if is_owner {
        // Its count moved: it may have been found to stop elsewhere meanwhile.
        let mut is_elsewhere = false;
        if let Some(parked) = process.parked(goroutine.id) {
            is_elsewhere = parked.parked_ns != 0;
            line.has_parked = 1;
        }
        if !is_elsewhere {
            line.see(now_ns, goroutine.seq, goroutine.reason);
            line.point_ns = now_ns;
            return;
        }
    } else if line.open != 0 {
        leaves(line, process, now_ns, None);
    }
    line.owner = goroutine.id;
    line.open = NOT_OPEN;
    line.has_parked = 0;
    let busy_ns = process.busy_ns(now_ns);
    if goroutine.id != 0
        && process.has_parked()
        && let Some(parked) = process.parked(goroutine.id)
    {
        parked.resume(&Resume {
            now_ns,
            earliest_ns: line.point_ns,
            busy_ns,
            seq: goroutine.seq,
            reason: goroutine.reason,
            was_idle: line.was_idle,
            why: why.why,
            sent_ns: why.sent_ns,
            ready_ns: why.ready_ns,
        });
        line.open = UNANSWERED;
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

/// The owner of a line, at its point, has a request open that the line does not
/// know of: it came unseen, and where it was before has not been looked at
/// since.
#[inline(always)]
pub fn claim<P: Goroutines>(line: &mut Line, process: &mut P, now_ns: u64, owner: &Goroutine) {
    if line.open != 0 || owner.id == 0 {
        return;
    }
    let request_ns = process.open_request(owner.id);
    if request_ns == 0 {
        return;
    }
    let Some(parked) = process.room(owner.id, request_ns) else {
        return;
    };
    if parked.booked_ns != 0 {
        return;
    }
    parked.booked_ns = now_ns;
    parked.came_ns = now_ns;
    line.open = UNANSWERED;
    line.has_parked = 1;
    line.is_goroutine = 1;
    line.request_ns = request_ns;
    line.seq = owner.seq;
    line.reason = owner.reason;
    line.forget(now_ns);
}

/// The owner of a line, whose request is open, has left the thread: `left` if
/// it was read after that, else some time since its last point.
#[inline(always)]
pub fn leaves<P: Goroutines>(
    line: &mut Line,
    process: &mut P,
    now_ns: u64,
    left: Option<(&Goroutine, u64)>,
) {
    let busy_ns = process.busy_ns(now_ns);
    let parked = match process.room(line.owner, line.request_ns) {
        // Booked elsewhere since: it left long ago.
        Some(parked) if parked.booked_ns <= line.since_ns => parked,
        Some(parked) if parked.came_ns > line.since_ns => {
            // Here it was until it came there.
            let is_last = left.is_some_and(|(left, _)| left.seq.wrapping_sub(line.seq) == 1);
            let run = if is_last { Run::Estimated } else { Run::Doubtful };
            line.book(parked.came_ns, run, &mut parked.parts);
            parked.came_ns = 0;
            line.open = NOT_OPEN;
            line.forget(now_ns);
            return;
        }
        _ => {
            line.open = NOT_OPEN;
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
    parked.park(now_ns, busy_ns, &stop);
    line.open = NOT_OPEN;
    line.has_parked = 0;
}

/// A goroutine is found to be the last that left this thread, which does not
/// say when. If it moved since its last known stop, it ran until now and
/// stopped again; else more is known of that stop.
#[inline(always)]
pub fn left_last<P: Goroutines>(
    line: &Line,
    process: &mut P,
    now_ns: u64,
    left: &Goroutine,
    deadline_ns: u64,
) {
    let busy_ns = process.busy_ns(now_ns);
    let Some(parked) = process.parked(left.id) else {
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
    if moves == 0 || line.left == left.id || line.left == 0 {
        // Read before, or its place has not been written since the last idle
        // time, or may not have been, as it could not be read then: it went
        // elsewhere, and what it did there is not known.
        return;
    }
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
