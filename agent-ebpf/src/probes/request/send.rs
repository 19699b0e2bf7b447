//! `sock_send_length`: bytes were handed to TCP. Responses, and their status.

use agent_common::conn::{BEGIN_PIPELINED, END, END_AFTER, LATE, RESPONDING, ROLE_SERVER};
use agent_common::stats::{Loss, Program};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use super::{call, finish};
use crate::kernel::arch::Registers;
use crate::kernel::sock::{self, Sock};
use crate::kernel::task::Task;
use crate::probes::tcp;
use crate::{capture, connections, filter, scratch, stats, work};

/// Bytes of a response's head that are looked at, at most.
const RESPONSE_BYTES: u64 = 64;

// match-proto: v6.3..: void sock_send_length(struct sock *sk, int ret, int flags)
#[btf_tracepoint(function = "sock_send_length")]
fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::SockSendLength, || send(&ctx))
}

#[inline(always)]
fn send(ctx: &BtfTracePointContext) {
    let result: i32 = ctx.arg(1);
    let sk = Sock::from_arg(ctx.arg(0));
    if result <= 0 {
        if sock::is_broken(result) {
            filter::end_request(Task::current());
        } else if result == sock::AGAIN
            && let Some(conn) = connections::find(sk)
        {
            conn.is_send_full = 1;
        }
        return;
    }
    let task = Task::current();
    let Some((conn, state)) = connections::of_current(sk, task) else {
        return;
    };
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if conn.role != ROLE_SERVER {
        call::send(sk, conn, state, result, now_ns);
        return;
    }
    work::look(task, state);
    capture::socket(task, state, now_ns);
    tcp::accept_wait::at_io(sk, conn, now_ns);
    let len = result.cast_unsigned() as u64;
    let Some(mut room) = scratch::take(len) else {
        return;
    };
    let mut has_bytes = false;
    if conn.wants_sent() {
        match Registers::of(task).buffer(len) {
            Some(buffer) => {
                has_bytes = room.fill_from(0, buffer, len, RESPONSE_BYTES);
                if !has_bytes {
                    stats::lose(Loss::UserRead);
                }
            }
            None => stats::lose(Loss::UnparsedCall),
        }
    }
    let retransmits = sk.tcp().map_or(0, |tcp| tcp.retransmits());
    let action = conn.on_send(&room, has_bytes, len, now_ns, retransmits);
    if action & END == 0 && (conn.phase == RESPONDING || action & END_AFTER != 0) {
        work::work_answers(conn, state, now_ns);
    }
    if action & (END | END_AFTER) != 0 {
        finish::finish(conn, sk, now_ns);
        conn.after_cut();
    }
    if action & BEGIN_PIPELINED != 0 {
        conn.begin_pipelined(&room, len, now_ns, retransmits);
    }
    if conn.phase == RESPONDING && conn.tid == task.tid() {
        // Where its response ends is not known here; from its first byte on
        // the thread may be idle, and idle is not counted.
        state.open_requests = 0;
    }
    if action & LATE != 0 {
        stats::lose(Loss::LateResponse);
    }
}
