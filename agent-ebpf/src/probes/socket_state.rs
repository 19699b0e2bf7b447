//! Connections as they open and close, for the sockets and tcp lanes.
//!
//! - hooks: `inet_sock_set_state` (4.16), `tcp_destroy_sock` (4.15)
//! - keeps: `LISTENERS`, and the state of connections to and from watched
//!   processes, from its handshake until its socket is gone: a reset is sent
//!   after the connection went to `CLOSE`
//! - emits: `ProcessRecord` when a process begins to listen
//! - adds: `TcpCounters`, by `probes::tcp`
//! - rate: five runs a connection

use agent_common::conn::{END, READING, RESPONDING, ROLE_CLIENT, ROLE_SERVER};
use agent_common::policy::{LANE_GO, LANE_SOCKETS, Listener, NO_SERVICE};
use agent_common::record::RecordKind;
use agent_common::stats::{Loss, Program};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use super::{request, tcp};
use crate::filter::{CANDIDATE, IGNORED, WATCHED};
use crate::kernel::sock::{Sock, state};
use crate::kernel::task::Task;
use crate::maps::{CALLED, LISTENERS};
use crate::{connections, emit, filter, stats, work};

// match-proto: v4.16..: void inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::InetSockSetState, || set_state(&ctx))
}

#[inline(always)]
fn set_state(ctx: &BtfTracePointContext) {
    let sk = Sock::from_arg(ctx.arg(0));
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    if !sk.is_tcp() {
        return;
    }
    match new {
        state::LISTEN => listens(sk),
        state::SYN_SENT => connects(sk),
        state::ESTABLISHED if old == state::SYN_SENT => tcp::connect::succeeded(sk),
        state::ESTABLISHED if old == state::SYN_RECV => accepts(sk),
        state::CLOSE if old == state::SYN_SENT => tcp::connect::failed(sk),
        state::FIN_WAIT1 | state::LAST_ACK | state::CLOSE => closes(sk, old),
        _ => {}
    }
}

/// In the process that calls `listen`.
#[inline(always)]
fn listens(sk: Sock) {
    let task = Task::current();
    let Some(task_state) = filter::judge(task) else {
        return;
    };
    let key = sk.listener_key();
    let mut listener = Listener { service: NO_SERVICE, _pad: 0, sockets: 1 };
    if task_state.verdict != IGNORED {
        listener.service = task_state.service;
    }
    if let Some(known) = LISTENERS.get_ptr(key) {
        // SAFETY: a map value.
        listener.sockets += unsafe { (*known).sockets };
    }
    if LISTENERS.insert(key, listener, 0).is_err() {
        stats::lose(Loss::Listeners);
    }
    if task_state.verdict == CANDIDATE && filter::promote(task_state, task.tgid()) {
        emit::process(RecordKind::Serves, task, key.port, key.netns);
    } else {
        emit::process(RecordKind::Listens, task, key.port, key.netns);
    }
}

/// In the process that calls `connect`.
#[inline(always)]
fn connects(sk: Sock) {
    let task = Task::current();
    let Some(task_state) = filter::judge(task) else {
        return;
    };
    if task_state.verdict == IGNORED {
        return;
    }
    // A socket that failed to connect may try again.
    connections::remove(sk);
    if let Some(conn) = connections::make(sk, task_state.service, ROLE_CLIENT) {
        // SAFETY: a helper without arguments.
        conn.opened_ns = unsafe { bpf_ktime_get_ns() };
        if task_state.verdict == WATCHED {
            work::look(task, task_state);
            let now_ns = conn.opened_ns;
            work::work_connects(conn, task_state, u64::from(task.tgid()), now_ns);
        }
    }
}

/// In whatever context the last packet of the handshake came.
#[inline(always)]
fn accepts(sk: Sock) {
    if connections::find(sk).is_some() {
        // Two sockets that connected to each other.
        return;
    }
    let Some(service) = connections::listener_service(sk) else {
        return;
    };
    if let Some(conn) = connections::make(sk, service, ROLE_SERVER) {
        // SAFETY: a helper without arguments.
        conn.opened_ns = unsafe { bpf_ktime_get_ns() };
    }
}

#[inline(always)]
fn closes(sk: Sock, old: i32) {
    if old == state::LISTEN {
        unlistens(sk);
    }
    let Some(conn) = connections::find(sk) else {
        return;
    };
    tcp::sample::closing(sk, conn);
    // Its answer would have said so. Later states are entered when packets
    // come, on whatever thread that interrupts.
    let is_open = old == state::ESTABLISHED || old == state::CLOSE_WAIT;
    if is_open && conn.phase == READING && conn.tid == Task::current().tid() {
        filter::end_request(Task::current());
    }
    if conn.role == ROLE_SERVER && filter::has_lane(LANE_SOCKETS) {
        // SAFETY: a helper without arguments.
        let now_ns = unsafe { bpf_ktime_get_ns() };
        if conn.on_close(now_ns) & END != 0 {
            request::finish(conn, sk, now_ns);
        }
    }
}

// match-proto: v4.15..: void tcp_destroy_sock(struct sock *sk)
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::TcpDestroySock, || destroys(&ctx))
}

/// Storage goes with its socket anyway; the count of live ones does not.
#[inline(always)]
fn destroys(ctx: &BtfTracePointContext) {
    let sk = Sock::from_arg(ctx.arg(0));
    let Some(conn) = connections::find(sk) else {
        return;
    };
    if conn.role == ROLE_CLIENT && (conn.phase == READING || conn.phase == RESPONDING) {
        request::finish_call(conn, sk);
    }
    if conn.role == ROLE_CLIENT && filter::has_lane(LANE_GO) {
        // Announced and never sent: not for the next socket at this address.
        let _ = CALLED.remove(conn.id);
    }
    tcp::sample::last(sk, conn);
    connections::remove(sk);
}

#[inline(always)]
fn unlistens(sk: Sock) {
    let key = sk.listener_key();
    let Some(known) = LISTENERS.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: a map value.
    let sockets = unsafe { (*known).sockets };
    if sockets > 1 {
        // SAFETY: a map value.
        unsafe { (*known).sockets = sockets - 1 };
    } else {
        let _ = LISTENERS.remove(key);
    }
}
