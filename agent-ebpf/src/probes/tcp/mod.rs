//! The tcp lane: connects, accept wait, retransmits, resets, segments, RTT.
//!
//! - hooks: `tcp_retransmit_skb`, `tcp_retransmit_synack` (4.15),
//!   `tcp_send_reset`, `tcp_receive_reset` (4.15)
//! - adds: `TcpCounters`, and the same by peer: `EdgeCounters`
//! - rate: one run a retransmission or reset; the rest rides on the sockets
//!   lane's hooks, on `inet_sock_set_state` and on the sweep, at most once a
//!   millisecond and connection
//!
//! A connection belongs to the service that it was made for at connect, at
//! accept, or at the first read or write of a watched process. What is not
//! known by then belongs to nobody.

pub(crate) mod accept_wait;
pub(crate) mod connect;
mod edge;
mod resets;
mod retransmits;
pub(crate) mod sample;

use agent_common::counter::tcp::{ScopeCounters, TcpCounters};

use crate::maps::SERVICE_TCP;

/// Counters of a service.
#[inline(always)]
fn counters(service: u16) -> Option<*mut TcpCounters> {
    SERVICE_TCP.get_ptr_mut(u32::from(service))
}

/// Counters of a service for one scope.
#[inline(always)]
fn scope_counters(service: u16, scope: u8) -> Option<*mut ScopeCounters> {
    let counters = counters(service)?;
    // SAFETY: a map value, and an index within its two scopes.
    Some(unsafe {
        (&raw mut (*counters).scopes).cast::<ScopeCounters>().add(usize::from(scope & 1))
    })
}
