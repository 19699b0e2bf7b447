//! Points of a request on its own connection: it begins, more of it is read, it
//! is answered, it is over.

use super::goroutine::{Goroutine, Goroutines, Why, point};
use super::turn::unit;
use super::{
    ANSWERED, Line, NOT_OPEN, Run, TIGHT_NS, UNANSWERED, WHY_RECEIVED, WHY_SENT, add, estimate,
    merge,
};
use crate::conn::{Conn, READING};
use crate::parts::{Part, UnitKind};
use crate::record::request::RequestParts;

/// Who carries a request's work at a point.
pub struct Worker<'a, P> {
    /// The thread.
    pub line: &'a mut Line,
    /// Its goroutine.
    pub goroutine: &'a Goroutine,
    /// The goroutines of its process.
    pub process: P,
    /// When the system call that it is in began; 0 if that is not known.
    pub syscall_ns: u64,
}

/// The current thread has read the beginning of a request.
#[inline(always)]
pub fn begins<P: Goroutines>(worker: &mut Worker<'_, P>, conn: &mut Conn, now_ns: u64) {
    let (line, goroutine) = (&mut *worker.line, worker.goroutine);
    conn.parts = RequestParts::new();
    conn.booked_ns = now_ns;
    let mut from_ns = conn.arrival_ns;
    let accepted_ns = conn.accepted_ns;
    if accepted_ns > from_ns && accepted_ns <= now_ns {
        add(&mut conn.parts, Part::Accept, accepted_ns - from_ns);
        from_ns = accepted_ns;
    }
    if goroutine.id != 0 {
        if line.owner != goroutine.id {
            point(line, &mut worker.process, now_ns, goroutine, &Why::NONE);
        }
        if line.has_parked != 0 {
            // Of its last request, which was over before.
            worker.process.forget(goroutine.id);
        }
        line.book_unread(from_ns, now_ns, false, &mut conn.parts);
        conn.parts.unit = UnitKind::Goroutine as u8;
        open(line, goroutine.id, true, now_ns);
        line.seq = goroutine.seq;
        line.reason = goroutine.reason;
        return;
    }
    let owner = conn.id;
    if line.open == UNANSWERED && line.owner != owner {
        line.is_loop = 1;
    }
    line.book_unread(from_ns, now_ns, line.is_loop == 0, &mut conn.parts);
    conn.parts.unit = unit_of(line);
    line.reads(owner);
    open(line, owner, false, now_ns);
    line.is_receiving = u8::from(conn.head.body_left != 0);
}

#[inline(always)]
fn unit_of(line: &Line) -> u8 {
    if line.is_loop != 0 { UnitKind::Loop as u8 } else { UnitKind::Thread as u8 }
}

/// More of an open request was read.
#[inline(always)]
pub fn receives<P: Goroutines>(worker: &mut Worker<'_, P>, conn: &mut Conn, now_ns: u64) {
    let why = Why { why: WHY_RECEIVED, sent_ns: 0, ready_ns: conn.ready_ns };
    if conn.phase == READING {
        own(worker, conn, &why, now_ns);
        worker.line.is_receiving = u8::from(conn.head.body_left != 0);
    } else if worker.goroutine.is_followed != 0 {
        // Who runs is known, and nothing is booked: this is no part of it.
        point(worker.line, &mut worker.process, now_ns, worker.goroutine, &why);
    }
}

/// A response, or more of it, was handed to TCP.
#[inline(always)]
pub fn answers<P: Goroutines>(worker: &mut Worker<'_, P>, conn: &mut Conn, now_ns: u64) {
    let why =
        Why { why: if conn.is_send_full != 0 { WHY_SENT } else { 0 }, sent_ns: 0, ready_ns: 0 };
    if conn.resent_ns != 0 {
        if worker.goroutine.id == 0 {
            worker.line.lost_in_sending(conn.resent_ns, conn.resent_rtt_ns());
        } else if conn.is_send_full != 0
            && let Some(parked) = worker.process.parked(worker.goroutine.id)
            && parked.request_ns == conn.read_ns
        {
            parked.lost_in_sending(conn.resent_ns, conn.resent_rtt_ns(), now_ns);
        }
        conn.resent_ns = 0;
    }
    own(worker, conn, &why, now_ns);
    conn.is_send_full = 0;
    worker.line.sends();
    if worker.line.open != 0 {
        worker.line.open = ANSWERED;
    }
    worker.line.is_receiving = 0;
}

/// A point of an open request on its own connection: books until now.
#[inline(always)]
fn own<P: Goroutines>(worker: &mut Worker<'_, P>, conn: &mut Conn, why: &Why, now_ns: u64) {
    if worker.syscall_ns != 0 && worker.line.open != 0 {
        worker.line.kernel(worker.syscall_ns, now_ns);
    }
    // Without the system calls, what of the run was the kernel's is not known.
    let run = if worker.syscall_ns != 0 { Run::Exact } else { Run::Estimated };
    if worker.goroutine.id != 0 {
        own_goroutine(worker, conn, why, now_ns, run);
    } else if worker.line.is_loop != 0 {
        own_loop(worker, conn, now_ns);
    } else {
        own_thread(worker.line, conn, now_ns, run);
    }
}

#[inline(always)]
fn own_goroutine<P: Goroutines>(
    worker: &mut Worker<'_, P>,
    conn: &mut Conn,
    why: &Why,
    now_ns: u64,
    run: Run,
) {
    let (line, goroutine) = (&mut *worker.line, worker.goroutine);
    let was = (line.point_ns, line.was_idle);
    point(line, &mut worker.process, now_ns, goroutine, why);
    if conn.goid != goroutine.id {
        return;
    }
    if line.open == 0 || line.request_ns != conn.read_ns {
        came_unseen(line, &mut worker.process, conn, goroutine, (now_ns, was));
        return;
    }
    // Of what is known samples say nothing.
    let samples = worker.process.take_samples(goroutine.id);
    let mut run = run;
    let mut booked_ns = conn.booked_ns;
    if (line.has_parked != 0 || line.since_ns < booked_ns)
        && let Some(parked) = worker.process.parked(goroutine.id)
        && parked.request_ns == conn.read_ns
    {
        merge(&mut conn.parts, &parked.parts);
        parked.parts = RequestParts::new();
        // Where it had been until it came unseen nobody has said.
        if parked.came_ns > booked_ns {
            conn.parts.zone_ns += parked.came_ns - booked_ns;
            conn.parts.samples = conn.parts.samples.wrapping_add(samples);
        }
        parked.came_ns = 0;
        if parked.booked_ns > booked_ns {
            booked_ns = parked.booked_ns;
        }
        // Where else it may count as running, that is over.
        parked.booked_ns = now_ns;
        line.has_parked = 1;
    }
    if line.since_ns < booked_ns {
        // It was here before, and was booked elsewhere since: it has stopped
        // there, and nothing says when it came back.
        line.forget(booked_ns);
        line.seq = goroutine.seq;
        line.reason = goroutine.reason;
        run = Run::Doubtful;
    }
    line.book(now_ns, run, &mut conn.parts);
    conn.booked_ns = now_ns;
}

/// The goroutine of a request is found on a thread that it was not known to
/// have come to, the last point of which, and whether that was the end of an
/// idle time, is `was`. Where it was before may still count as its place: a
/// mark says that it is not.
#[inline(always)]
fn came_unseen<P: Goroutines>(
    line: &mut Line,
    process: &mut P,
    conn: &mut Conn,
    goroutine: &Goroutine,
    (now_ns, was): (u64, (u64, u8)),
) {
    open(line, goroutine.id, true, now_ns);
    line.request_ns = conn.read_ns;
    line.seq = goroutine.seq;
    line.reason = goroutine.reason;
    let mut from_ns = conn.booked_ns;
    conn.booked_ns = now_ns;
    conn.parts.stops = conn.parts.stops.wrapping_add(1);
    if let Some(parked) = process.room(goroutine.id, conn.read_ns) {
        merge(&mut conn.parts, &parked.parts);
        if parked.booked_ns > from_ns {
            from_ns = parked.booked_ns;
        }
        parked.samples = 0;
        parked.parts = RequestParts::new();
        parked.parked_ns = 0;
        parked.booked_ns = now_ns;
        line.has_parked = 1;
    }
    conn.parts.samples = conn.parts.samples.wrapping_add(process.take_samples(goroutine.id));
    let (point_ns, was_idle) = was;
    let came_ns = if point_ns > from_ns { point_ns } else { from_ns };
    let ran_ns = now_ns.saturating_sub(came_ns);
    conn.parts.zone_ns += came_ns.saturating_sub(from_ns);
    if ran_ns <= TIGHT_NS || (was_idle != 0 && point_ns > from_ns) {
        estimate(&mut conn.parts, Part::Cpu, ran_ns);
    } else {
        conn.parts.zone_ns += ran_ns;
    }
}

/// A turn of an event loop: what it did since the turn began, or since it read
/// of this request, and what the request had waited for before.
#[inline(always)]
fn own_loop<P: Goroutines>(worker: &mut Worker<'_, P>, conn: &mut Conn, now_ns: u64) {
    let line = &mut *worker.line;
    conn.parts.unit = UnitKind::Loop as u8;
    if worker.process.has_parked()
        && let Some(waits) = worker.process.parked(unit(conn.id))
        && waits.request_ns == conn.read_ns
    {
        waits.book_wait(now_ns);
        merge(&mut conn.parts, &waits.parts);
        waits.parts = RequestParts::new();
        if waits.booked_ns > conn.booked_ns {
            conn.booked_ns = waits.booked_ns;
        }
    }
    if line.since_ns < conn.booked_ns {
        line.forget(conn.booked_ns);
    }
    line.book(now_ns, Run::Estimated, &mut conn.parts);
    conn.booked_ns = now_ns;
}

#[inline(always)]
fn own_thread(line: &mut Line, conn: &mut Conn, now_ns: u64, run: Run) {
    if line.owner != conn.id || line.open == 0 {
        return;
    }
    line.book(now_ns, run, &mut conn.parts);
}

/// A request of the current thread is over: nothing is booked for it any more.
#[inline(always)]
pub fn ends<P: Goroutines>(worker: &mut Worker<'_, P>, conn: &Conn) {
    let (line, goroutine) = (&mut *worker.line, worker.goroutine);
    if goroutine.id != 0 {
        if line.owner == goroutine.id && goroutine.id == conn.goid {
            if line.has_parked != 0 {
                worker.process.forget(goroutine.id);
            }
            line.open = NOT_OPEN;
            line.has_parked = 0;
            line.owner = 0;
        }
        return;
    }
    line.open = NOT_OPEN;
    line.owner = 0;
}

/// Begins a line for a request.
#[inline(always)]
fn open(line: &mut Line, owner: u64, is_goroutine: bool, now_ns: u64) {
    line.restart(owner, now_ns);
    line.request_ns = now_ns;
    line.is_goroutine = is_goroutine as u8;
    line.open = UNANSWERED;
    line.has_parked = 0;
    line.point_ns = now_ns;
}
