//! The tcp lane: connections and their quality, per service and scope.

use crate::histogram::Histogram;

/// Where the peer is, as far as the kernel can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Scope {
    /// 127.0.0.0/8, `::1`, or both ends the same address.
    Loopback = 0,
    /// Elsewhere.
    Unknown = 1,
}

/// Number of scopes.
pub const SCOPES: usize = 2;

impl Scope {
    /// Every scope, in order of its index.
    pub const ALL: [Self; SCOPES] = [Self::Loopback, Self::Unknown];

    /// The value of the `scope` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Unknown => "unknown",
        }
    }
}

/// Kinds of retransmission, in order of their index.
pub const RETRANSMIT_KINDS: [&str; 3] = ["data", "syn", "synack"];
/// Directions of a reset, in order of their index.
pub const RESET_DIRECTIONS: [&str; 2] = ["sent", "received"];
/// Results of a connect, in order of their index.
pub const CONNECT_RESULTS: [&str; 4] = ["ok", "refused", "timeout", "aborted"];

/// Index in [`CONNECT_RESULTS`] of a connect that succeeded.
pub const CONNECT_OK: u32 = 0;
/// The peer answered with a reset, or an ICMP message said that nobody listens.
pub const CONNECT_REFUSED: u32 = 1;
/// The SYN was sent again until the kernel gave up.
pub const CONNECT_TIMEOUT: u32 = 2;
/// Ended in another way: closed by the process while it waited (as dialers
/// with a timeout of their own do), no route, no free port.
pub const CONNECT_ABORTED: u32 = 3;

/// `ETIMEDOUT`
const TIMED_OUT: i32 = 110;
/// `ECONNREFUSED`
const REFUSED: i32 = 111;

/// Result of a connect that failed, by the socket's error when it closed.
#[inline(always)]
#[must_use]
pub const fn connect_failure(error: i32) -> u32 {
    match error {
        REFUSED => CONNECT_REFUSED,
        TIMED_OUT => CONNECT_TIMEOUT,
        _ => CONNECT_ABORTED,
    }
}

/// Per service and scope.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ScopeCounters {
    /// Segments with data that were sent, those sent again included.
    ///
    /// Without bare acknowledgements (`data_segs_out`, not `segs_out`): they
    /// are never sent again, so on a connection that mostly receives they
    /// would hide how much of what it sends is lost.
    pub segments_sent: u64,
    /// Segments sent again, by [`RETRANSMIT_KINDS`]: segments, not calls, as
    /// in the socket's own `total_retrans`, which `ss -ti` prints.
    pub retransmits: [u64; 3],
    /// Smoothed round-trip times, at most one sample a connection and round trip.
    pub rtt: Histogram,
    /// Mean deviations of the round-trip time, sampled with `rtt`.
    pub jitter: Histogram,
}

/// Per service.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TcpCounters {
    /// By [`Scope`].
    pub scopes: [ScopeCounters; SCOPES],
    /// Resets by [`RESET_DIRECTIONS`].
    pub resets: [u64; 2],
    /// Outgoing connects by [`CONNECT_RESULTS`].
    pub connects: [u64; 4],
    /// Time from SYN to established, of outgoing connects that succeeded.
    pub connect_time: Histogram,
    /// Time from established to accepted, of incoming connections.
    pub accept_wait: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_result_of_a_failed_connect() {
        assert_eq!(CONNECT_RESULTS[connect_failure(111) as usize], "refused");
        assert_eq!(CONNECT_RESULTS[connect_failure(110) as usize], "timeout");
        // No route, and closed by the process itself.
        assert_eq!(CONNECT_RESULTS[connect_failure(113) as usize], "aborted");
        assert_eq!(CONNECT_RESULTS[connect_failure(0) as usize], "aborted");
        assert_eq!(CONNECT_RESULTS[CONNECT_OK as usize], "ok");
    }
}
