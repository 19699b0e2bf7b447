//! Calls to downstreams: who waits for the reply, and for how long.
//!
//! A Go program's call is announced by the goroutine that wants the reply (the
//! client probe), sent by another and read by a third. Elsewhere who sends
//! waits. What is outstanding is kept in the waiting goroutine's `Parked`, by
//! programs that run on several CPUs at once: so its counts only go up.

use agent_common::conn::{CALL_READY, CALL_SENT, Conn};
use agent_common::record::call::{CALLER_LOOP, CALLER_PROBE};
use agent_common::work::{Line, Off, Parked, Why, claim, point, unit};

use super::{Process, park_room, parked};
use crate::atomic;
use crate::filter::TaskState;
use crate::maps::CALLED;

/// Value of `CALLED`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Called {
    /// The goroutine that is to call.
    goid: u64,
    /// The one that started it, if the caller itself has no request open; else
    /// 0.
    parent: u64,
    /// Their process.
    tgid: u32,
    _pad: u32,
}

/// The goroutine that was looked at is about to call over the socket at `sk`.
#[inline(always)]
pub(crate) fn announces(state: &mut TaskState, parent: u64, tgid: u32, sk: u64, now_ns: u64) {
    let (line, goroutine) = (&mut state.line, &state.goroutine);
    point(line, &mut Process { tgid }, now_ns, goroutine, &Why::NONE);
    claim(line, &mut Process { tgid }, now_ns, goroutine);
    let mut called = Called { goid: goroutine.id, parent, tgid, _pad: 0 };
    if line.open != 0 {
        line.calls = line.calls.wrapping_add(1);
        called.parent = 0;
        // Before it stops, since the send may come before that is seen.
        if park_room(tgid, goroutine.id, line.request_ns).is_some() {
            line.has_parked = 1;
        }
    }
    let _ = CALLED.insert(sk, called, 0);
}

/// The first bytes of a call were sent over `conn`: takes up who announced it.
/// False if nobody did.
#[inline(always)]
pub(super) fn sent(conn: &mut Conn, now_ns: u64) -> bool {
    // SAFETY: a map value, copied.
    let Some(called) = (unsafe { CALLED.get(conn.id) }).copied() else {
        return false;
    };
    let _ = CALLED.remove(conn.id);
    if called.tgid != conn.tgid {
        return false;
    }
    conn.caller = CALLER_PROBE;
    conn.goid = called.goid;
    let mut waits = parked(conn.tgid, called.goid);
    if waits.is_none() && called.parent != 0 {
        // Its request, if it has one, is what waits for this.
        waits = parked(conn.tgid, called.parent);
        if let Some(waits) = &mut waits {
            conn.goid = called.parent;
            waits.parts.calls = waits.parts.calls.wrapping_add(1);
        }
    }
    if let Some(waits) = waits {
        // SAFETY: a map value.
        unsafe { atomic::add(&raw mut waits.calls_sent, 1) };
        waits.call_sent(now_ns);
        conn.call = CALL_SENT;
    }
    true
}

/// An event loop begins to connect: if it does so for a request, so that one
/// waits from now on.
#[inline(always)]
pub(super) fn loop_connects(conn: &mut Conn, line: &mut Line, tgid: u32, now_ns: u64) {
    if !line.is_calling_for_owner() {
        return;
    }
    if let Some(waits) = park_room(tgid, unit(line.owner), line.request_ns) {
        waits.leave_to_wait(line, now_ns);
        conn.owner = line.owner;
        conn.owner_read_ns = line.request_ns;
        conn.is_announced = 1;
    }
}

/// An event loop has sent the first bytes of a call: for whom it connected, if
/// that was for this, else for whom it is at work.
#[inline(always)]
pub(super) fn loop_sent(conn: &mut Conn, line: &mut Line, now_ns: u64) {
    if conn.is_announced == 0 {
        let tgid = conn.tgid;
        loop_connects(conn, line, tgid, now_ns);
    }
    if conn.is_announced == 0 {
        return;
    }
    conn.is_announced = 0;
    let Some(waits) = parked(conn.tgid, unit(conn.owner)) else {
        return;
    };
    if waits.request_ns != conn.owner_read_ns {
        return;
    }
    if waits.parked_ns == 0 {
        waits.parked_ns = now_ns;
        waits.booked_ns = now_ns;
    }
    conn.caller = CALLER_LOOP;
    conn.goid = conn.owner_read_ns;
    waits.parts.calls = waits.parts.calls.wrapping_add(1);
    // SAFETY: a map value.
    unsafe { atomic::add(&raw mut waits.calls_sent, 1) };
    // Since it began to connect, if it had to.
    waits.call_sent(waits.parked_ns);
    conn.call = CALL_SENT;
}

/// An event loop has read of a reply: it is at work for whom the call was.
#[inline(always)]
pub(super) fn loop_read(conn: &mut Conn, line: &mut Line, now_ns: u64) {
    let mut owner = 0;
    if conn.caller == CALLER_LOOP
        && let Some(waits) = waiting(conn)
        && waits.request_ns == conn.owner_read_ns
    {
        owner = conn.owner;
        if !waits.is_calling() {
            waits.book_wait(now_ns);
        }
    }
    line.turns_to(owner, conn.owner_read_ns, now_ns);
}

/// What waits for a call's reply, if it does: a goroutine, or a request of an
/// event loop.
#[inline(always)]
fn waiting(conn: &Conn) -> Option<&'static mut Parked> {
    let goid = if conn.caller == CALLER_LOOP { unit(conn.owner) } else { conn.goid };
    parked(conn.tgid, goid)
}

/// The first byte of a call's reply is readable, or there will be none.
#[inline(always)]
pub(crate) fn answered(conn: &mut Conn, now_ns: u64) {
    if conn.caller != CALLER_PROBE && conn.caller != CALLER_LOOP {
        if conn.loss_ns != 0
            && conn.goid != 0
            && let Some(waits) = waiting(conn)
        {
            waits.loss_ns += conn.loss_ns;
        }
        return;
    }
    if conn.call != CALL_SENT {
        return;
    }
    conn.call = CALL_READY;
    if let Some(waits) = waiting(conn)
        && waits.is_calling()
    {
        // SAFETY: a map value.
        unsafe { atomic::add(&raw mut waits.calls_done, 1) };
        waits.call_ready(now_ns, conn.loss_ns);
    }
}

/// The first byte of the reply was read, by whomever.
#[inline(always)]
pub(super) fn read(conn: &mut Conn, now_ns: u64) {
    if conn.call == 0 {
        return;
    }
    // Where it was not seen to become readable.
    answered(conn, conn.reply_ready_ns);
    conn.call = 0;
    if let Some(waits) = waiting(conn) {
        waits.call_read(conn.reply_ready_ns, now_ns);
    }
}

/// A thread that serves a request has read the reply to its own call: what it
/// waited because of loss was no wait for the peer.
#[inline(always)]
pub(super) fn lost(conn: &Conn, state: &mut TaskState) {
    state.line.lost(Off::Downstream as u8, conn.loss_ns);
}
