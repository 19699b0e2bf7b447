//! One finished call to a downstream: what a watched process asked of a peer.

/// What the kernel knows of a call that a watched process made.
///
/// Times are `CLOCK_MONOTONIC` nanoseconds; addresses are IPv6 or v4-mapped, in
/// network order; ports in host order.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CallRecord {
    /// `RecordKind::Call`.
    pub kind: u8,
    /// A [`crate::head::Method`] by number; 0 for turns that are not HTTP.
    pub method: u8,
    /// A [`crate::conn::Protocol`] by number.
    pub protocol: u8,
    /// How the caller was found: `CALLER_*`.
    pub caller: u8,
    /// HTTP status; 0 if there was no response.
    pub status: u16,
    /// Index of the service that made it.
    pub service: u16,
    /// `FLAG_*` bits, as those of a request.
    pub flags: u32,
    /// Process that made it.
    pub tgid: u32,
    /// Thread that sent it.
    pub tid: u32,
    /// Segments sent again for it.
    pub retransmits: u32,
    /// Goroutine that made it; 0 where the process is not Go or it is not known.
    /// Of an event loop's (`CALLER_LOOP`) when the request was read that it is
    /// for.
    pub goid: u64,
    /// First byte handed to TCP.
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
    /// Time of the wait that sending again explains, nanoseconds.
    pub loss_ns: u64,
    /// Port of the watched process.
    pub local_port: u16,
    /// Port of the peer.
    pub remote_port: u16,
    /// Inode number of the network namespace that it went out of.
    pub netns: u32,
    /// Address of the watched process.
    pub local_addr: [u8; 16],
    /// Address of the peer.
    pub remote_addr: [u8; 16],
}

/// Not known who made it.
pub const CALLER_UNKNOWN: u8 = 0;
/// The thread or goroutine that sent it.
pub const CALLER_SENDER: u8 = 1;
/// The goroutine that was seen to make it (client probe).
pub const CALLER_PROBE: u8 = 2;
/// The request that its event loop's thread was at.
pub const CALLER_LOOP: u8 = 3;

const _: () = assert!(size_of::<CallRecord>() == 128);
