//! Calls that a watched process makes: the client's end of a connection.
//!
//! A call begins with the first send after the last reply, and ends with the
//! last read before evidence that it is over: an `EAGAIN`, the next call's
//! first send, close, or a sweep.

use agent_common::conn::{CUT, Conn, IDLE, Protocol, READING, RESPONDING};
use agent_common::head::{self, Bytes, Opening};
use agent_common::record::RecordKind;
use agent_common::record::call::CallRecord;
use agent_common::record::request::FLAG_ABORTED;
use agent_common::stats::Loss;
use aya_ebpf::helpers::bpf_ktime_get_ns;

use super::recv;
use crate::filter::{TaskState, WATCHED};
use crate::kernel::arch::Registers;
use crate::kernel::sock::Sock;
use crate::kernel::task::Task;
use crate::probes::tcp;
use crate::{capture, emit, scratch, stats, work};

/// Bytes of a call's head, or of its reply's, that are looked at.
const HEAD_BYTES: u64 = 64;

/// `result` bytes were handed to TCP.
#[inline(never)]
pub(super) fn send(sk: Sock, conn: &mut Conn, state: &mut TaskState, result: i32, now_ns: u64) {
    tcp::sample::take(sk, conn, now_ns);
    let task = Task::current();
    if state.verdict != WATCHED || conn.phase == CUT {
        return;
    }
    let len = result.cast_unsigned() as u64;
    if conn.phase == RESPONDING {
        finish(conn, sk);
    }
    let is_first = conn.phase == IDLE;
    work::look(task, state);
    capture::socket(task, state, now_ns);
    let who = recv::who(task, state);
    if is_first {
        begin(conn, task, len);
        if conn.phase == CUT {
            return;
        }
        conn.tgid = who.tgid;
        conn.tid = who.tid;
        conn.goid = who.goid;
        conn.arrival_ns = now_ns;
        conn.bytes_out = 0;
        conn.bytes_in = 0;
        conn.status = 0;
        conn.flags = 0;
        conn.caller = 0;
        conn.reply_ready_ns = 0;
        conn.call = 0;
        conn.loss_ns = 0;
        // What is unread is of the last reply.
        conn.ready_ns = 0;
        conn.retransmits_at_start = sk.tcp().map_or(0, |tcp| tcp.retransmits());
        conn.phase = READING;
    }
    conn.sent_ns = now_ns;
    conn.bytes_out += len;
    work::work_calls(conn, state, u64::from(is_first), now_ns);
}

/// What is called, by the first bytes.
#[inline(always)]
fn begin(conn: &mut Conn, task: Task, len: u64) {
    conn.method = 0;
    if conn.protocol != Protocol::Unknown as u8 && conn.protocol != Protocol::Http1 as u8 {
        return;
    }
    let Some(mut room) = scratch::take(len) else {
        return;
    };
    let is_read = match Registers::of(task).buffer(len) {
        Some(buffer) => room.fill_from(0, buffer, len, HEAD_BYTES),
        None => false,
    };
    if !is_read {
        return;
    }
    head::open(&room, &mut conn.opened);
    if conn.opened.is(Opening::Request) {
        conn.protocol = Protocol::Http1 as u8;
        conn.method = conn.opened.method;
    } else if conn.opened.is(Opening::Http2) {
        conn.protocol = Protocol::Http2 as u8;
        conn.phase = CUT;
    } else if conn.opened.is(Opening::Tls) {
        conn.protocol = Protocol::Tls as u8;
    } else if conn.protocol == Protocol::Unknown as u8 {
        conn.protocol = Protocol::Opaque as u8;
    }
}

/// A read returned: bytes, nothing, or the end.
#[inline(never)]
pub(super) fn recv(sk: Sock, conn: &mut Conn, state: &mut TaskState, result: i32) {
    let task = Task::current();
    if state.verdict != WATCHED || (conn.phase != READING && conn.phase != RESPONDING) {
        return;
    }
    if result <= 0 {
        if conn.phase == RESPONDING {
            finish(conn, sk);
        }
        return;
    }
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let is_first = conn.phase == READING;
    if is_first {
        conn.read_ns = now_ns;
        if conn.reply_ready_ns == 0 {
            // What it came with was readable before, or not seen to be.
            conn.reply_ready_ns = if conn.ready_ns != 0 { conn.ready_ns } else { now_ns };
        }
        conn.phase = RESPONDING;
        if conn.protocol == Protocol::Http1 as u8 {
            conn.status = status(task, result.cast_unsigned() as u64);
        }
    }
    conn.end_ns = now_ns;
    conn.bytes_in += result.cast_unsigned() as u64;
    conn.ready_ns = 0;
    work::look(task, state);
    capture::socket(task, state, now_ns);
    work::work_replies(conn, state, u64::from(is_first), now_ns);
}

#[inline(always)]
fn status(task: Task, len: u64) -> u16 {
    let Some(mut room) = scratch::take(len) else {
        return 0;
    };
    match Registers::of(task).buffer(len) {
        Some(buffer) if room.fill_from(0, buffer, len, HEAD_BYTES) => {
            head::status(room.word(0), room.word(8))
        }
        _ => 0,
    }
}

/// The first byte of a reply, or of more of it, is readable.
#[inline(always)]
pub(super) fn ready(conn: &mut Conn, now_ns: u64) {
    if conn.phase != READING || conn.reply_ready_ns != 0 {
        return;
    }
    conn.on_reply(now_ns);
    work::answered(conn, now_ns);
}

/// The call is over: hands it over.
#[inline(never)]
pub(crate) fn finish(conn: &mut Conn, sk: Sock) {
    if conn.phase == READING {
        conn.flags |= FLAG_ABORTED;
        if conn.call != 0 {
            // Nobody waits for it any more.
            // SAFETY: a helper without arguments.
            work::answered(conn, unsafe { bpf_ktime_get_ns() });
        }
    }
    conn.call = 0;
    conn.phase = IDLE;
    let Some(slot) = emit::reserve::<CallRecord>() else {
        stats::lose(Loss::RingCall);
        return;
    };
    let (local, remote) = sk.addresses();
    let retransmits = sk.tcp().map_or(conn.retransmits_at_start, |tcp| tcp.retransmits());
    // SAFETY: ring memory of the record's size; every field is written.
    unsafe {
        let record = &mut *slot.as_ptr();
        record.kind = RecordKind::Call as u8;
        record.method = conn.method;
        record.protocol = conn.protocol;
        record.caller = conn.caller;
        record.status = conn.status;
        record.service = conn.service;
        record.flags = conn.flags;
        record.tgid = conn.tgid;
        record.tid = conn.tid;
        record.retransmits = retransmits.wrapping_sub(conn.retransmits_at_start);
        record.goid = conn.goid;
        record.sent_ns = conn.arrival_ns;
        record.ready_ns = conn.reply_ready_ns;
        record.read_ns = conn.read_ns;
        record.end_ns = conn.end_ns;
        record.bytes_out = conn.bytes_out;
        record.bytes_in = conn.bytes_in;
        record.loss_ns = conn.loss_ns;
        record.local_port = sk.local_port();
        record.remote_port = sk.remote_port();
        record.netns = sk.netns();
        let to = (&raw mut record.local_addr).cast::<u64>();
        to.write(local[0]);
        to.add(1).write(local[1]);
        let to = (&raw mut record.remote_addr).cast::<u64>();
        to.write(remote[0]);
        to.add(1).write(remote[1]);
        slot.submit();
    }
}
