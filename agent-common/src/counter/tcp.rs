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

/// Per service and scope.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ScopeCounters {
    /// Segments sent, those sent again included.
    pub segments_sent: u64,
    /// Segments sent again, by [`RETRANSMIT_KINDS`].
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
