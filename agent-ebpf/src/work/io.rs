//! Points at reads and writes: a request begins, is answered, is over; a call
//! is made, and replied to.

use agent_common::conn::Conn;
use agent_common::parts::UnitKind;
use agent_common::policy::{LANE_CPU, LANE_GO};
use agent_common::record::call::CALLER_SENDER;
use agent_common::record::request::RequestParts;
use agent_common::work::{
    NOT_OPEN, WHY_REPLIED, Why, Worker, answers, begins, ends, point, receives,
};

use super::{Process, call, has_parked, open};
use crate::filter::{self, TaskState, WATCHED};

/// Who carries the work at a point of the current thread.
#[inline(always)]
fn worker(tgid: u32, state: &mut TaskState) -> Worker<'_, Process> {
    let syscall_ns = if state.is_in_syscall != 0 { state.syscall_ns } else { 0 };
    Worker {
        line: &mut state.line,
        goroutine: &state.goroutine,
        process: Process { tgid },
        syscall_ns,
    }
}

/// Whether the current thread serves several requests in turns, each of which
/// it is at until it reads of another. A thread of Go's does, and is not: it
/// runs goroutines in between.
#[inline(always)]
fn is_loop(state: &TaskState) -> bool {
    state.line.is_loop != 0 && state.is_go == 0
}

/// The current thread handed a call to TCP, the first of it if `is_first`.
#[inline(always)]
fn calls_at(conn: &mut Conn, state: &mut TaskState, is_first: u64, now_ns: u64) {
    let (tgid, goroutine) = (conn.tgid, &state.goroutine);
    if goroutine.is_followed != 0 {
        point(&mut state.line, &mut Process { tgid }, now_ns, goroutine, &Why::NONE);
    }
    if conn.resent_ns != 0 {
        if goroutine.is_followed == 0 {
            state.line.lost_in_sending(conn.resent_ns, conn.resent_rtt_ns());
        }
        // What comes from here on is of what was sent now.
        conn.resent_ns = 0;
    }
    if is_first != 0
        && state.go_layout != 0
        && filter::has_lane(LANE_GO)
        && call::sent(conn, now_ns)
    {
        return;
    }
    let is_loop = is_loop(state);
    let (line, goroutine) = (&mut state.line, &state.goroutine);
    if is_loop {
        if is_first != 0 {
            call::loop_sent(conn, line, now_ns);
        }
        line.sends();
        return;
    }
    if is_first != 0 && line.open != 0 {
        conn.caller = CALLER_SENDER;
        line.calls = line.calls.wrapping_add(1);
        if goroutine.is_followed == 0 {
            line.calls_open = 1;
        }
    }
}

/// The current thread read a reply, the first of it if `is_first`.
#[inline(always)]
fn replies_at(conn: &mut Conn, state: &mut TaskState, is_first: u64, now_ns: u64) {
    let tgid = conn.tgid;
    if is_first != 0 {
        call::read(conn, now_ns);
    }
    if state.goroutine.is_followed == 0 {
        state.line.calls_open = 0;
        if is_loop(state) {
            call::loop_read(conn, &mut state.line, now_ns);
            return;
        }
        if is_first != 0 && conn.loss_ns != 0 && state.line.open != 0 {
            call::lost(conn, state);
        }
        return;
    }
    let goroutine = &state.goroutine;
    let why = if is_first != 0 && conn.goid == goroutine.id {
        Why { why: WHY_REPLIED, sent_ns: conn.sent_ns, ready_ns: conn.reply_ready_ns }
    } else {
        Why::NONE
    };
    if has_parked(tgid) || state.line.open != 0 {
        point(&mut state.line, &mut Process { tgid }, now_ns, goroutine, &why);
    }
}

/// The current thread begins to connect.
#[inline(always)]
fn connects_at(conn: &mut Conn, state: &mut TaskState, tgid: u64, now_ns: u64) {
    if is_loop(state) {
        call::loop_connects(conn, &mut state.line, tgid as u32, now_ns);
        state.line.sends();
    }
}

#[inline(always)]
fn begins_at(conn: &mut Conn, state: &mut TaskState, now_ns: u64) {
    if state.verdict != WATCHED || !filter::has_lane(LANE_CPU) {
        conn.parts = RequestParts::new();
        state.line.open = NOT_OPEN;
        return;
    }
    begins(&mut worker(conn.tgid, state), conn, now_ns);
    if state.goroutine.id != 0 {
        open::begins(conn.tgid, state.goroutine.id, conn.read_ns);
    }
}

#[inline(always)]
fn receives_at(conn: &mut Conn, state: &mut TaskState, now_ns: u64) {
    if conn.parts.unit != UnitKind::None as u8 {
        receives(&mut worker(conn.tgid, state), conn, now_ns);
    }
}

#[inline(always)]
fn answers_at(conn: &mut Conn, state: &mut TaskState, now_ns: u64) {
    if conn.parts.unit != UnitKind::None as u8 {
        answers(&mut worker(conn.tgid, state), conn, now_ns);
    }
}

#[inline(always)]
fn ends_at(conn: &mut Conn, state: &mut TaskState) {
    ends(&mut worker(conn.tgid, state), conn);
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
            $($arg: u64,)*
        ) -> i32 {
            // SAFETY: the caller's, checked for null as the verifier asks for.
            if let (Some(conn), Some(state)) = unsafe { (conn.as_mut(), state.as_mut()) } {
                $inner(conn, state $(, $arg)*);
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
global!(work_connects, connects_at, tgid, now_ns);
global!(work_replies, replies_at, is_first, now_ns);

/// The goroutine that was looked at is at nothing of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn work_seen(state: *mut TaskState, tgid: u32, now_ns: u64) -> i32 {
    // SAFETY: as above.
    if let Some(state) = unsafe { state.as_mut() } {
        point(&mut state.line, &mut Process { tgid }, now_ns, &state.goroutine, &Why::NONE);
    }
    0
}
