//! Outgoing connects: how they ended, and how long the good ones took.
//!
//! Apart from the hook, which serves the sockets lane as well.

use agent_common::conn::{Conn, ROLE_CLIENT};
use agent_common::counter::tcp::{CONNECT_OK, connect_failure};
use agent_common::policy::LANE_TCP;
use agent_common::stats::Loss;
use aya_ebpf::helpers::bpf_ktime_get_ns;

use super::{counters, edge};
use crate::kernel::sock::Sock;
use crate::{atomic, connections, filter, histogram, stats};

/// The handshake is complete.
#[inline(always)]
pub(crate) fn succeeded(sk: Sock) {
    let Some(conn) = begun(sk) else {
        return;
    };
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if now_ns < conn.opened_ns {
        stats::lose(Loss::ClockRegression);
        return;
    }
    let took_ns = now_ns - conn.opened_ns;
    count(sk, conn, CONNECT_OK, took_ns);
    if let Some(counters) = counters(conn.service) {
        // SAFETY: a map value.
        unsafe {
            histogram::observe(&raw mut (*counters).connect_time, took_ns);
        }
    }
}

/// It closes without having been established. The kernel sets the socket's
/// error before the state.
#[inline(always)]
pub(crate) fn failed(sk: Sock) {
    if let Some(conn) = begun(sk) {
        count(sk, conn, connect_failure(sk.error()), 0);
    }
}

/// The connection, if its connect was seen to begin.
#[inline(always)]
fn begun(sk: Sock) -> Option<&'static mut Conn> {
    if !filter::has_lane(LANE_TCP) {
        return None;
    }
    let conn = connections::find(sk)?;
    if conn.role == ROLE_CLIENT && conn.opened_ns != 0 { Some(conn) } else { None }
}

#[inline(always)]
fn count(sk: Sock, conn: &Conn, result: u32, took_ns: u64) {
    edge::connect(sk, conn, result, took_ns);
    if let Some(counters) = counters(conn.service) {
        // SAFETY: a map value, and an index within its four results.
        unsafe {
            let connects = (&raw mut (*counters).connects).cast::<u64>();
            atomic::add(connects.add(result as usize & 3), 1);
        }
    }
}
