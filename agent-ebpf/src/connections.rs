//! Connection state in socket storage: found, made, taken away.
//!
//! Storage goes with its socket, so nothing is evicted and no address is
//! confused with another; a count of live ones bounds it.

use agent_common::conn::{Conn, ROLE_CLIENT, ROLE_SERVER};
use agent_common::counter::tcp::Scope;
use agent_common::limits::MAX_CONNECTIONS;
use agent_common::policy::{LANE_TCP, NO_SERVICE};
use agent_common::stats::Loss;
use aya_ebpf::helpers::generated::{bpf_sk_storage_delete, bpf_sk_storage_get};

use crate::filter::{self, CANDIDATE, CREATE, IGNORED, TaskState};
use crate::kernel::sock::Sock;
use crate::kernel::task::Task;
use crate::maps::{self, CONNECTIONS, LISTENERS, LIVE};
use crate::{atomic, stats};

/// The state of a connection, if it has any. State of another epoch is dropped:
/// what happened since is not known.
#[inline(always)]
pub(crate) fn find(sk: Sock) -> Option<&'static mut Conn> {
    let conn = storage(sk, 0)?;
    if conn.epoch != filter::connections_epoch() {
        // It is not among the live ones any more.
        delete(sk);
        return None;
    }
    Some(conn)
}

/// The state of a connection that the current task reads or writes: found,
/// made if the task is watched, dropped if it no longer is.
#[inline(always)]
pub(crate) fn of_current(
    sk: Sock,
    task: Task,
) -> Option<(&'static mut Conn, &'static mut TaskState)> {
    let known = find(sk);
    // First, so that tasks that only use other sockets get no state.
    if known.is_none() && !sk.is_tcp() {
        return None;
    }
    let state = filter::judge(task)?;
    if let Some(conn) = known {
        let generation = filter::generation();
        if conn.generation == generation {
            return Some((conn, state));
        }
        if state.verdict != IGNORED && (conn.role == ROLE_SERVER || !is_server(sk)) {
            conn.generation = generation;
            conn.service = state.service;
            return Some((conn, state));
        }
        // Not watched any more, or used before it was known here who listens.
        remove(sk);
    }
    if state.verdict == IGNORED {
        return None;
    }
    let role = if is_server(sk) { ROLE_SERVER } else { ROLE_CLIENT };
    let conn = make(sk, state.service, role)?;
    Some((conn, state))
}

/// Whether this end of a connection belongs to a socket that listens.
#[inline(always)]
fn is_server(sk: Sock) -> bool {
    LISTENERS.get_ptr(sk.listener_key()).is_some()
}

/// Service of the process that listens on this end's port, if one does that is
/// watched.
#[inline(always)]
pub(crate) fn listener_service(sk: Sock) -> Option<u16> {
    // SAFETY: a map value; the agent replaces it whole.
    let listener = unsafe { LISTENERS.get(sk.listener_key()) }?;
    if listener.service == NO_SERVICE { None } else { Some(listener.service) }
}

/// Makes state for a connection that has none.
#[inline(always)]
pub(crate) fn make(sk: Sock, service: u16, role: u8) -> Option<&'static mut Conn> {
    let live = LIVE.get_ptr_mut(0)?;
    // Signed: where an epoch begins, a few may be taken away that were not
    // counted.
    // SAFETY: a map value.
    if unsafe { live.read_volatile() }.cast_signed() >= i64::from(MAX_CONNECTIONS) {
        stats::lose(Loss::ConnectionLimit);
        return None;
    }
    let Some(conn) = storage(sk, CREATE) else {
        stats::lose(Loss::SocketStorage);
        return None;
    };
    // SAFETY: a map value.
    unsafe { atomic::add(live, 1) };
    // New storage is zeroed, which is what `Conn::new` says but for these.
    conn.service = service;
    conn.role = role;
    conn.id = sk.as_ptr() as u64;
    conn.generation = filter::generation();
    conn.epoch = filter::connections_epoch();
    conn.scope = scope(sk) as u8;
    if filter::has_lane(LANE_TCP) {
        count_from_here(sk, conn);
    }
    Some(conn)
}

/// What went before is not counted. Not inlined: callers have many states.
#[inline(never)]
fn count_from_here(sk: Sock, conn: &mut Conn) {
    let Some(tcp) = sk.tcp() else {
        return;
    };
    conn.segments_counted = tcp.data_segments_out();
    conn.retransmits_counted = tcp.retransmits();
    conn.out_of_order_counted = tcp.out_of_order();
    conn.window_ticks = tcp.window_wait(true).ticks;
}

/// Takes a connection's state away, if it has any.
#[inline(always)]
pub(crate) fn remove(sk: Sock) {
    if find(sk).is_some()
        && delete(sk)
        && let Some(live) = LIVE.get_ptr_mut(0)
    {
        // SAFETY: a map value. Adding all ones takes one away.
        unsafe { atomic::add(live, u64::MAX) };
    }
}

/// True if there was something.
#[inline(always)]
fn delete(sk: Sock) -> bool {
    // SAFETY: a live socket.
    unsafe { bpf_sk_storage_delete(maps::as_ptr(&CONNECTIONS), sk.as_ptr().cast_mut().cast()) == 0 }
}

/// A process that serves is watched from now on. True if it is.
#[inline(always)]
pub(crate) fn is_served_by(state: &mut TaskState, sk: Sock, task: Task) -> bool {
    if state.verdict == CANDIDATE {
        if !filter::promote(state, task.tgid()) {
            return false;
        }
        crate::emit::process(
            agent_common::record::RecordKind::Serves,
            task,
            sk.local_port(),
            sk.netns(),
        );
    }
    true
}

/// Loopback addresses, or the same address at both ends, say that the peer is
/// on this node; nothing else can be told here.
#[inline(always)]
pub(crate) fn scope(sk: Sock) -> Scope {
    const V4_MAPPED: u64 = 0xffff_0000;
    const IPV6_LOOPBACK_LOW: u64 = 1 << 56;
    let (local, remote) = sk.addresses();
    let is_v4 = remote[0] == 0 && remote[1] & 0xffff_ffff == V4_MAPPED;
    let is_loopback = (is_v4 && (remote[1] >> 32) & 0xff == 127)
        || (remote[0] == 0 && remote[1] == IPV6_LOOPBACK_LOW)
        || (local[0] == remote[0] && local[1] == remote[1]);
    if is_loopback { Scope::Loopback } else { Scope::Unknown }
}

#[inline(always)]
fn storage(sk: Sock, flags: u64) -> Option<&'static mut Conn> {
    // SAFETY: the helper takes any socket and gives null or its storage, which
    // lives as long as the socket.
    unsafe {
        bpf_sk_storage_get(
            maps::as_ptr(&CONNECTIONS),
            sk.as_ptr().cast_mut().cast(),
            core::ptr::null_mut(),
            flags,
        )
        .cast::<Conn>()
        .as_mut()
    }
}
