//! Points at reads and writes: a request begins, is answered, is over; a call
//! is made, and replied to.

use agent_common::conn::{Conn, READING};
use agent_common::parts::{Part, UnitKind};
use agent_common::policy::LANE_GO;
use agent_common::record::call::CALLER_SENDER;
use agent_common::record::request::RequestParts;
use agent_common::work::{self, Line, Run, WHY_RECEIVED, WHY_REPLIED, WHY_SENT};

use super::goroutine::{Why, point};
use super::{call, has_parked, open, park_room, parked, unpark};
use crate::filter::{self, TaskState};
use crate::kernel::go::Goroutine;

/// `Line::is_open` of a request that was answered, at least in part.
const ANSWERED: u8 = 2;

/// The current thread has read the beginning of a request.
#[inline(always)]
fn begins_at(conn: &mut Conn, state: &mut TaskState, goroutine: &Goroutine, now_ns: u64) {
    let tgid = conn.tgid;
    let line = &mut state.line;
    conn.parts = RequestParts::new();
    conn.booked_ns = now_ns;
    let mut from_ns = conn.arrival_ns;
    let accepted_ns = conn.accepted_ns;
    if accepted_ns > from_ns && accepted_ns <= now_ns {
        work::add(&mut conn.parts, Part::Accept, accepted_ns - from_ns);
        from_ns = accepted_ns;
    }
    if goroutine.id != 0 {
        if line.owner != goroutine.id {
            point(line, tgid, now_ns, goroutine, &Why::NONE);
        }
        if line.has_parked != 0 {
            // Of its last request, which was over before.
            unpark(tgid, goroutine.id);
        }
        line.book_unread(from_ns, now_ns, false, &mut conn.parts);
        conn.parts.unit = UnitKind::Goroutine as u8;
        open(line, goroutine.id, true, now_ns);
        line.seq = goroutine.seq;
        line.reason = goroutine.reason;
        return;
    }
    let owner = conn.id;
    if line.is_open == 1 && line.owner != owner {
        line.is_loop = 1;
    }
    line.book_unread(from_ns, now_ns, line.is_loop == 0, &mut conn.parts);
    conn.parts.unit = unit_of(line);
    open(line, owner, false, now_ns);
    line.is_receiving = u8::from(conn.head.body_left != 0);
}

#[inline(always)]
fn unit_of(line: &Line) -> u8 {
    if line.is_loop != 0 { UnitKind::Loop as u8 } else { UnitKind::Thread as u8 }
}

/// More of an open request was read.
#[inline(always)]
fn receives_at(conn: &mut Conn, state: &mut TaskState, goroutine: &Goroutine, now_ns: u64) {
    let why = Why { why: WHY_RECEIVED, sent_ns: 0, ready_ns: conn.ready_ns };
    if conn.phase == READING {
        own(conn, state, goroutine, &why, now_ns);
        state.line.is_receiving = u8::from(conn.head.body_left != 0);
    } else if goroutine.is_followed != 0 {
        // Who runs is known, and nothing is booked: this is no part of it.
        point(&mut state.line, conn.tgid, now_ns, goroutine, &why);
    }
}

/// A response, or more of it, was handed to TCP.
#[inline(always)]
fn answers_at(conn: &mut Conn, state: &mut TaskState, goroutine: &Goroutine, now_ns: u64) {
    let why =
        Why { why: if conn.is_send_full != 0 { WHY_SENT } else { 0 }, sent_ns: 0, ready_ns: 0 };
    own(conn, state, goroutine, &why, now_ns);
    conn.is_send_full = 0;
    if state.line.is_open != 0 {
        state.line.is_open = ANSWERED;
    }
    state.line.is_receiving = 0;
}

/// A point of an open request on its own connection: books until now.
#[inline(always)]
fn own(conn: &mut Conn, state: &mut TaskState, goroutine: &Goroutine, why: &Why, now_ns: u64) {
    let is_in_syscall = state.is_in_syscall != 0;
    if is_in_syscall && state.line.is_open != 0 {
        state.line.kernel(state.syscall_ns, now_ns);
    }
    if goroutine.id != 0 {
        own_goroutine(conn, state, goroutine, why, now_ns, is_in_syscall);
    } else {
        own_thread(conn, state, now_ns, is_in_syscall);
    }
}

#[inline(always)]
fn own_goroutine(
    conn: &mut Conn,
    state: &mut TaskState,
    goroutine: &Goroutine,
    why: &Why,
    now_ns: u64,
    is_split: bool,
) {
    let line = &mut state.line;
    point(line, conn.tgid, now_ns, goroutine, why);
    if conn.goid != goroutine.id {
        return;
    }
    if line.is_open == 0 || line.request_ns != conn.read_ns {
        came_unseen(conn, line, goroutine, now_ns);
        return;
    }
    if line.has_parked != 0
        && let Some(parked) = parked(conn.tgid, goroutine.id)
        && parked.request_ns == conn.read_ns
    {
        work::merge(&mut conn.parts, &parked.parts);
        parked.parts = RequestParts::new();
    }
    if line.has_parked == 0 && line.since_ns < conn.booked_ns {
        // It was here before, and was booked elsewhere since.
        line.forget(conn.booked_ns);
    }
    let moves = goroutine.seq.wrapping_sub(line.seq);
    let run = if moves == 0 {
        if is_split { Run::Exact } else { Run::Estimated }
    } else if goroutine.reason == line.reason {
        // It only lost its thread: nothing wrote a reason.
        Run::Estimated
    } else {
        Run::Doubtful
    };
    conn.parts.stops = conn.parts.stops.wrapping_add(u16::from(moves));
    line.book(now_ns, run, &mut conn.parts);
    conn.booked_ns = now_ns;
    line.seq = goroutine.seq;
    line.reason = goroutine.reason;
}

/// The goroutine of a request is found on a thread that it was not known to
/// have come to. Where it was before may still count as its place: a mark says
/// that it is not.
#[inline(always)]
fn came_unseen(conn: &mut Conn, line: &mut Line, goroutine: &Goroutine, now_ns: u64) {
    open(line, goroutine.id, true, now_ns);
    line.request_ns = conn.read_ns;
    line.seq = goroutine.seq;
    line.reason = goroutine.reason;
    conn.booked_ns = now_ns;
    conn.parts.stops = conn.parts.stops.wrapping_add(1);
    if let Some(parked) = park_room(conn.tgid, goroutine.id, conn.read_ns) {
        work::merge(&mut conn.parts, &parked.parts);
        parked.parts = RequestParts::new();
        parked.parked_ns = 0;
        parked.booked_ns = now_ns;
        line.has_parked = 1;
    }
}

#[inline(always)]
fn own_thread(conn: &mut Conn, state: &mut TaskState, now_ns: u64, is_split: bool) {
    let owner = conn.id;
    let line = &mut state.line;
    if line.is_loop != 0 {
        conn.parts.unit = UnitKind::Loop as u8;
        if line.is_open == 0 || line.owner != owner {
            // A later turn of its: what the loop did since the turn began.
            if line.since_ns < conn.read_ns {
                line.since_ns = conn.read_ns;
            }
        }
        line.book(now_ns, Run::Estimated, &mut conn.parts);
        return;
    }
    if line.owner != owner || line.is_open == 0 {
        return;
    }
    let run = if is_split { Run::Exact } else { Run::Estimated };
    line.book(now_ns, run, &mut conn.parts);
}

/// A request of the current thread is over: nothing is booked for it any more.
#[inline(always)]
fn ends_at(conn: &mut Conn, state: &mut TaskState, goroutine: &Goroutine) {
    let line = &mut state.line;
    if goroutine.id != 0 {
        if line.owner == goroutine.id && goroutine.id == conn.goid {
            if line.has_parked != 0 {
                unpark(conn.tgid, goroutine.id);
            }
            line.is_open = 0;
            line.has_parked = 0;
            line.owner = 0;
        }
        return;
    }
    line.is_open = 0;
    line.owner = 0;
}

/// The current thread handed a call to TCP, the first of it if `is_first`.
#[inline(always)]
fn calls_at(
    conn: &mut Conn,
    state: &mut TaskState,
    goroutine: &Goroutine,
    is_first: u64,
    now_ns: u64,
) {
    let tgid = conn.tgid;
    if goroutine.is_followed != 0 {
        point(&mut state.line, tgid, now_ns, goroutine, &Why::NONE);
    }
    if is_first != 0
        && state.go_layout != 0
        && filter::has_lane(LANE_GO)
        && call::sent(conn, now_ns)
    {
        return;
    }
    let line = &mut state.line;
    if is_first != 0 && line.is_open != 0 {
        conn.caller = CALLER_SENDER;
        line.calls = line.calls.wrapping_add(1);
        if goroutine.is_followed == 0 {
            line.calls_open = 1;
        }
    }
}

/// The current thread read a reply, the first of it if `is_first`.
#[inline(always)]
fn replies_at(
    conn: &mut Conn,
    state: &mut TaskState,
    goroutine: &Goroutine,
    is_first: u64,
    now_ns: u64,
) {
    let tgid = conn.tgid;
    if is_first != 0 {
        call::read(conn, now_ns);
    }
    if goroutine.is_followed == 0 {
        state.line.calls_open = 0;
        if is_first != 0 && conn.loss_ns != 0 && state.line.is_open != 0 {
            call::lost(conn, state);
        }
        return;
    }
    let why = if is_first != 0 && conn.goid == goroutine.id {
        Why { why: WHY_REPLIED, sent_ns: conn.sent_ns, ready_ns: conn.reply_ready_ns }
    } else {
        Why::NONE
    };
    if has_parked(tgid) || state.line.is_open != 0 {
        point(&mut state.line, tgid, now_ns, goroutine, &why);
    }
}

/// The global function of one of the above. (An argument that is not used would
/// be left out by the compiler where it is called, which the verifier refuses.)
macro_rules! global {
    ($name:ident, $inner:ident $(, $arg:ident)*) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $name(
            conn: *mut Conn,
            state: *mut TaskState,
            goroutine: *const Goroutine,
            $($arg: u64,)*
        ) -> i32 {
            // SAFETY: the caller's, checked for null as the verifier asks for.
            let all = unsafe { (conn.as_mut(), state.as_mut(), goroutine.as_ref()) };
            if let (Some(conn), Some(state), Some(goroutine)) = all {
                $inner(conn, state, goroutine $(, $arg)*);
            }
            0
        }
    };
}

global!(work_begins, begins_at, now_ns);
global!(work_receives, receives_at, now_ns);
global!(work_answers, answers_at, now_ns);
global!(work_ends, ends_at);
global!(work_calls, calls_at, is_first, now_ns);
global!(work_replies, replies_at, is_first, now_ns);

/// A goroutine was seen on a thread, at nothing of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn work_seen(
    state: *mut TaskState,
    goroutine: *const Goroutine,
    tgid: u32,
    now_ns: u64,
) -> i32 {
    // SAFETY: as above.
    if let (Some(state), Some(goroutine)) = unsafe { (state.as_mut(), goroutine.as_ref()) } {
        point(&mut state.line, tgid, now_ns, goroutine, &Why::NONE);
    }
    0
}
