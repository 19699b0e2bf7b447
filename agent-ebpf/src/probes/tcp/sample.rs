//! What a socket says of itself: segments sent and out of order, waits for the
//! peer's window, round-trip time, jitter.
//!
//! Looked at where a program runs anyway, in process context: at the end of a
//! request, at a client's send, in the sweep, and when the socket goes.

use agent_common::conn::{Conn, ROLE_CLIENT, ROLE_SERVER};
use agent_common::policy::LANE_TCP;
use aya_ebpf::helpers::bpf_ktime_get_ns;

use super::{accept_wait, edge, retransmits, scope_counters};
use crate::kernel::sock::{Sock, Tcp, state};
use crate::{atomic, filter, globals, histogram};

/// Looks at a connection if the last look is long enough ago.
#[inline(always)]
pub(crate) fn take(sk: Sock, conn: &mut Conn, now_ns: u64) {
    if !filter::has_lane(LANE_TCP) || !conn.may_sample(now_ns) {
        return;
    }
    look(sk, conn, now_ns, 0);
}

/// Looks at a connection that nothing else has looked at for a while. One that
/// is in use is left to its own process: two that look at the same time would
/// count the same segments.
#[inline(always)]
pub(crate) fn sweep(sk: Sock, conn: &mut Conn, now_ns: u64) {
    let idle_ns = globals::SWEEP_IDLE_NS.load();
    if !filter::has_lane(LANE_TCP)
        || now_ns < conn.sampled_ns + idle_ns
        || now_ns < conn.opened_ns + idle_ns
    {
        return;
    }
    look(sk, conn, now_ns, 0);
    if conn.role == ROLE_SERVER {
        accept_wait::without_io(sk, conn);
    }
}

/// The connection is closed, or cut off: a stall goes on until here, and is not
/// to be told from what comes after.
#[inline(always)]
pub(crate) fn closing(sk: Sock, conn: &mut Conn) {
    if conn.stall == 0 || !filter::has_lane(LANE_TCP) {
        return;
    }
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    look(sk, conn, now_ns, 1);
}

/// The socket goes: the last look.
#[inline(always)]
pub(crate) fn last(sk: Sock, conn: &mut Conn) {
    if !filter::has_lane(LANE_TCP) {
        return;
    }
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    look(sk, conn, now_ns, 1);
    if let Some(tcp) = sk.tcp() {
        // Those that the hook did not see. A client that never sent data can
        // only have sent its SYN again.
        let is_syn = conn.role == ROLE_CLIENT && tcp.data_segments_out() == 0;
        let kind = if is_syn { retransmits::SYN } else { retransmits::DATA };
        retransmits::count(sk, conn, tcp, kind);
    }
    if conn.role == ROLE_SERVER {
        accept_wait::without_io(sk, conn);
    }
}

/// Not inlined: callers have many states already.
#[inline(never)]
fn look(sk: Sock, conn: &mut Conn, now_ns: u64, is_last: u32) {
    let Some(tcp) = sk.tcp() else {
        return;
    };
    let srtt_us = tcp.srtt_us();
    if !conn.is_sample_due(now_ns, srtt_us) {
        if is_last != 0 {
            faults(sk, conn);
            let new = segments(conn, tcp);
            edge::sample(sk, conn, new, 0, 0);
        }
        return;
    }
    // First, so that a second thread finds it done.
    conn.sampled_ns = now_ns;
    faults(sk, conn);
    let new = segments(conn, tcp);
    let (mut rtt_ns, mut jitter_ns) = (0, 0);
    if conn.take_round_trip(tcp.delivered(), srtt_us)
        && let Some(counters) = scope_counters(conn.service, conn.scope)
    {
        rtt_ns = u64::from(srtt_us) * 1_000;
        jitter_ns = u64::from(tcp.mdev_us()) * 1_000;
        // SAFETY: a map value.
        unsafe {
            histogram::observe(&raw mut (*counters).rtt, rtt_ns);
            histogram::observe(&raw mut (*counters).jitter, jitter_ns);
        }
    }
    edge::sample(sk, conn, new, rtt_ns, jitter_ns);
}

/// Segments out of order and stalls since the last look, left in the connection.
///
/// Not inlined, and nothing is returned: what lies in memory is one state to
/// the verifier.
#[inline(never)]
fn faults(sk: Sock, conn: &mut Conn) {
    let Some(tcp) = sk.tcp() else {
        return;
    };
    conn.new_out_of_order = conn.take_out_of_order(tcp.out_of_order());
    let stall = conn.take_stall(&tcp.window_wait(sk.state() != state::CLOSE));
    conn.new_stalls = u32::from(stall.is_new);
    conn.new_stall_ticks = stall.ticks;
}

/// Segments sent since the last look; they are counted.
#[inline(always)]
fn segments(conn: &mut Conn, tcp: Tcp) -> u64 {
    let new = u64::from(conn.take_segments(tcp.data_segments_out()));
    if new != 0
        && let Some(counters) = scope_counters(conn.service, conn.scope)
    {
        // SAFETY: a map value.
        unsafe { atomic::add(&raw mut (*counters).segments_sent, new) };
    }
    new
}
