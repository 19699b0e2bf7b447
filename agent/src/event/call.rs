//! A finished call to a downstream.

use std::net::{IpAddr, Ipv6Addr};

use agent_common::conn::Protocol;
use agent_common::head::Method;

/// How it is known who made a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// It is not.
    Unknown,
    /// The thread or goroutine that sent it.
    Sender,
    /// The goroutine that the client probe saw.
    Probe,
    /// The request that its event loop's thread was at.
    Loop,
}

/// A call that a watched process made.
#[derive(Clone, Debug)]
pub struct Call {
    /// Index of the service that made it.
    pub service: u16,
    /// What was spoken.
    pub protocol: Protocol,
    /// Method; [`Method::None`] for turns.
    pub method: Method,
    /// HTTP status; 0 if there was no response.
    pub status: u16,
    /// `FLAG_*` bits of the record.
    pub flags: u32,
    /// How `goid` or `tid` is known.
    pub caller: Caller,
    /// Process that made it.
    pub tgid: u32,
    /// Thread that sent it.
    pub tid: u32,
    /// Goroutine that made it; 0 where it is not known.
    pub goid: u64,
    /// Of an event loop's: when the request was read that it is for; else 0.
    pub request_read_ns: u64,
    /// Segments sent again for it.
    pub retransmits: u32,
    /// First byte handed to TCP, `CLOCK_MONOTONIC` nanoseconds.
    pub sent_ns: u64,
    /// First byte of the reply readable.
    pub ready_ns: u64,
    /// First byte of the reply read.
    pub read_ns: u64,
    /// Last byte of the reply read.
    pub end_ns: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Time of its wait that sending again explains, nanoseconds.
    pub loss_ns: u64,
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Address and port of the service.
    pub local: (Ipv6Addr, u16),
    /// Address and port of the peer.
    pub peer: (Ipv6Addr, u16),
}

impl Call {
    /// From the first byte sent to the last byte of the reply, nanoseconds.
    #[must_use]
    pub const fn wall_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.sent_ns)
    }

    /// The caller's address; v4-mapped ones as IPv4.
    #[must_use]
    pub const fn local_ip(&self) -> IpAddr {
        self.local.0.to_canonical()
    }

    /// The peer's address; v4-mapped ones as IPv4.
    #[must_use]
    pub const fn peer_ip(&self) -> IpAddr {
        self.peer.0.to_canonical()
    }
}
