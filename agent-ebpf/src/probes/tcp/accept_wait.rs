//! How long a connection waited, established, for the process to accept it.
//!
//! Apart from the hooks, since several of them may be the first to know.

use agent_common::conn::{Conn, NO_WAIT};
use agent_common::policy::LANE_TCP;
use agent_common::stats::Loss;

use super::counters;
use crate::kernel::sock::Sock;
use crate::maps::ACCEPTED;
use crate::{filter, histogram, stats};

/// At a read or write: the first one takes the wait, exact or estimated. Gives
/// when the connection was accepted; 0 if that is long over or not known.
#[inline(always)]
pub(crate) fn at_io(sk: Sock, conn: &mut Conn, now_ns: u64) -> u64 {
    if !filter::has_lane(LANE_TCP) || conn.is_accepted != 0 {
        return 0;
    }
    // First, so that a second thread finds it done.
    conn.is_accepted = 1;
    if conn.opened_ns == 0 {
        return 0;
    }
    match take(sk, conn, now_ns) {
        NO_WAIT => 0,
        wait_ns => conn.opened_ns + wait_ns,
    }
}

/// Where no read or write was seen: takes the wait only if it is known
/// exactly.
#[inline(always)]
pub(crate) fn without_io(sk: Sock, conn: &mut Conn) {
    if conn.is_accepted == 0 && conn.opened_ns != 0 {
        take(sk, conn, 0);
    }
}

/// Not inlined: rare, and it branches.
#[inline(never)]
fn take(sk: Sock, conn: &mut Conn, io_ns: u64) -> u64 {
    let key = sk.as_ptr() as u64;
    // SAFETY: a map value, copied.
    let accepted_ns = unsafe { ACCEPTED.get(key) }.map_or(0, |at_ns| *at_ns);
    if accepted_ns != 0 {
        let _ = ACCEPTED.remove(key);
    }
    let wait_ns = conn.accept_wait(accepted_ns, io_ns);
    if wait_ns == NO_WAIT {
        if io_ns != 0 && io_ns < conn.opened_ns {
            stats::lose(Loss::ClockRegression);
        }
        return NO_WAIT;
    }
    conn.is_accepted = 1;
    if let Some(counters) = counters(conn.service) {
        // SAFETY: a map value.
        unsafe { histogram::observe(&raw mut (*counters).accept_wait, wait_ns) };
    }
    wait_ns
}
