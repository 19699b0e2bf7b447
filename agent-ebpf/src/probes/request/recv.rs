//! `sock_recv_length`: a read returned. Begins requests, and ends them.

use agent_common::conn::{BEGIN, END, RESPONDING, ROLE_SERVER, UNPARSED, Who};
use agent_common::limits::HEAD_BYTES;
use agent_common::stats::{Loss, Program};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use super::{call, finish};
use crate::filter::{self, TaskState};
use crate::kernel::arch::Registers;
use crate::kernel::go;
use crate::kernel::sock::{self, Sock};
use crate::kernel::task::Task;
use crate::maps::CONTROL;
use crate::probes::tcp;
use crate::{capture, connections, scratch, stats, work};

/// `MSG_PEEK | MSG_ERRQUEUE`: reads that take nothing.
const NOT_A_READ: i32 = 0x2 | 0x2000;

// match-proto: v6.3..: void sock_recv_length(struct sock *sk, int ret, int flags)
#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::SockRecvLength, || recv(&ctx))
}

#[inline(always)]
fn recv(ctx: &BtfTracePointContext) {
    let sk = Sock::from_arg(ctx.arg(0));
    let result: i32 = ctx.arg(1);
    let flags: i32 = ctx.arg(2);
    if flags & NOT_A_READ != 0 || (result < 0 && result != sock::AGAIN) {
        if sock::is_broken(result) {
            filter::end_request(Task::current());
        }
        return;
    }
    let task = Task::current();
    let Some((conn, state)) = connections::of_current(sk, task) else {
        return;
    };
    if conn.role != ROLE_SERVER {
        call::recv(sk, conn, state, result);
        return;
    }
    if !connections::is_served_by(state, sk, task) {
        return;
    }
    if result <= 0 && conn.phase != RESPONDING && conn.is_accepted != 0 && state.line.open == 0 {
        // Nothing to end: most reads that find nothing are net/http's, which
        // looks for the client's going away while the handler runs.
        return;
    }
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    conn.accepted_ns = tcp::accept_wait::at_io(sk, conn, now_ns);
    work::look(task, state);
    capture::socket(task, state, now_ns);
    let mut who = who(task, state);
    if result <= 0 {
        let action = if result == 0 { conn.on_recv_eof(&who) } else { conn.on_recv_again(&who) };
        if action & END != 0 {
            work::work_ends(conn, state);
            finish::finish(conn, sk, now_ns);
        } else if state.goroutine.is_followed != 0 {
            work::work_seen(state, who.tgid, now_ns);
        }
        return;
    }
    let len = result.cast_unsigned() as u64;
    let Some(mut room) = scratch::take(u64::from(conn.stash_len) + len) else {
        return;
    };
    let is_wanted = conn.wants_received(len);
    let was_pending = conn.is_head_pending != 0;
    if is_wanted {
        room.put_stash(&conn.stash);
        let at = u64::from(conn.stash_len);
        match Registers::of(task).buffer(len) {
            Some(buffer) => {
                if !room.fill_from(at, buffer, len, HEAD_BYTES as u64) {
                    stats::lose(Loss::UserRead);
                }
            }
            None => {
                room.fill(at, u64::MAX, HEAD_BYTES as u64);
                stats::lose(Loss::UnparsedCall);
            }
        }
    }
    let action = conn.on_recv(&room, len, &who);
    if action & END != 0 {
        finish::finish(conn, sk, now_ns);
    }
    if action & UNPARSED != 0 {
        stats::lose(Loss::UnparsedHead);
    }
    let tcp = sk.tcp();
    if action & BEGIN != 0 {
        let retransmits = tcp.map_or(0, |tcp| tcp.retransmits());
        who.cgroup_id = task.cgroup_id();
        conn.begin(&room, len, &who, now_ns, retransmits);
        state.open_requests = 1;
        work::work_begins(conn, state, now_ns);
    } else {
        work::work_receives(conn, state, now_ns);
    }
    if (was_pending || action & BEGIN != 0) && conn.opened.path_len != 0 && keeps_paths() {
        conn.keep_path(&room);
    }
    // Cleared first, then looked at: what arrives in between is seen.
    conn.ready_ns = 0;
    if tcp.is_some_and(|tcp| tcp.has_unread()) {
        conn.ready_ns = now_ns;
    }
}

#[inline(always)]
pub(super) fn who(task: Task, state: &TaskState) -> Who {
    let ids = bpf_get_current_pid_tgid();
    Who {
        tgid: (ids >> 32) as u32,
        tid: ids as u32,
        goid: if state.goroutine.is_followed != 0 {
            state.goroutine.id
        } else {
            go::goroutine_id(task, state.g_tls_offset, state.goid_offset)
        },
        // Looked up only for the read that begins a request.
        cgroup_id: 0,
    }
}

#[inline(always)]
fn keeps_paths() -> bool {
    // SAFETY: a map value; volatile because the agent writes it.
    CONTROL.get(0).is_some_and(
        |control| unsafe { core::ptr::read_volatile(&raw const control.keep_paths) } != 0,
    )
}
