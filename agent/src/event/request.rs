//! A finished request.

use std::net::{IpAddr, Ipv6Addr};

use agent_common::conn::Protocol;
use agent_common::head::Method;
use agent_common::record::request::{FLAG_ABORTED, FLAG_NO_ARRIVAL, FLAG_STREAM};

/// A finished request, or turn.
#[derive(Clone, Debug)]
pub struct Request {
    /// Index of the service that served it.
    pub service: u16,
    /// What was spoken.
    pub protocol: Protocol,
    /// Method; [`Method::None`] for turns.
    pub method: Method,
    /// HTTP status; 0 if there was no response, or it was not seen.
    pub status: u16,
    /// `FLAG_*` bits of the record.
    pub flags: u32,
    /// Process that read it.
    pub tgid: u32,
    /// Thread that read it.
    pub tid: u32,
    /// Goroutine that read it; 0 where the process is not Go.
    pub goid: u64,
    /// Cgroup of that thread.
    pub cgroup_id: u64,
    /// First byte readable, `CLOCK_MONOTONIC` nanoseconds.
    pub arrival_ns: u64,
    /// First byte read.
    pub read_ns: u64,
    /// Last byte of the response handed to TCP.
    pub end_ns: u64,
    /// Bytes read for it.
    pub bytes_in: u64,
    /// Bytes written for its response.
    pub bytes_out: u64,
    /// Segments sent again during it.
    pub retransmits_during: u16,
    /// Segments sent again after its end, as far as seen.
    pub retransmits_after: u16,
    /// Smoothed round-trip time, microseconds.
    pub srtt_us: u32,
    /// Its mean deviation, microseconds.
    pub mdev_us: u32,
    /// Address and port of the service.
    pub local: (Ipv6Addr, u16),
    /// Address and port of the client.
    pub remote: (Ipv6Addr, u16),
    /// Path up to `?`, where paths are kept.
    pub path: Option<Box<str>>,
}

impl Request {
    /// Wall time, nanoseconds.
    #[must_use]
    pub const fn wall_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.arrival_ns)
    }

    /// Whether the client left before a response.
    #[must_use]
    pub const fn is_aborted(&self) -> bool {
        self.flags & FLAG_ABORTED != 0
    }

    /// Whether it was cut off at an upgrade or event stream.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        self.flags & FLAG_STREAM != 0
    }

    /// Whether its arrival was seen.
    #[must_use]
    pub const fn has_arrival(&self) -> bool {
        self.flags & FLAG_NO_ARRIVAL == 0
    }

    /// The client's address; v4-mapped ones as IPv4.
    #[must_use]
    pub const fn client_ip(&self) -> IpAddr {
        self.remote.0.to_canonical()
    }
}
