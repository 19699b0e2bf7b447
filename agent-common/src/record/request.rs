//! One finished request with its parts, plus its path where paths are on.

use crate::limits::PATH_BYTES;
use crate::parts::MEASURED;

/// What the kernel knows of a finished request.
///
/// All times are `CLOCK_MONOTONIC` nanoseconds; addresses are IPv6 or
/// v4-mapped, in network order; ports in host order.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RequestRecord {
    /// `RecordKind::Request` or `RecordKind::RequestWithHead`.
    pub kind: u8,
    /// A [`crate::head::Method`] by number; 0 for turns that are not HTTP.
    pub method: u8,
    /// A [`crate::conn::Protocol`] by number.
    pub protocol: u8,
    /// Bytes of the path that follows, at most [`PATH_BYTES`]; 0 where paths are
    /// off.
    pub path_len: u8,
    /// HTTP status; 0 if there was no response.
    pub status: u16,
    /// Index of the service that served it.
    pub service: u16,
    /// `FLAG_*` bits.
    pub flags: u32,
    /// Process that read the request.
    pub tgid: u32,
    /// Thread that read the request.
    pub tid: u32,
    /// Segments sent again on the connection during the request.
    pub retransmits_during: u16,
    /// Segments sent again between its end and this record.
    pub retransmits_after: u16,
    /// First byte readable.
    pub arrival_ns: u64,
    /// First byte read by the process.
    pub read_ns: u64,
    /// Last byte of the response handed to TCP.
    pub end_ns: u64,
    /// Bytes read for the request.
    pub bytes_in: u64,
    /// Bytes written for the response.
    pub bytes_out: u64,
    /// Goroutine that read the request; 0 where the process is not Go.
    pub goid: u64,
    /// Cgroup of the thread that read it.
    pub cgroup_id: u64,
    /// Smoothed round-trip time, microseconds; 0 before the first sample.
    pub srtt_us: u32,
    /// Mean deviation of the round-trip time, microseconds.
    pub mdev_us: u32,
    /// Port of the watched process.
    pub local_port: u16,
    /// Port of its peer.
    pub remote_port: u16,
    /// Inode number of the network namespace that it came in.
    pub netns: u32,
    /// Address of the watched process.
    pub local_addr: [u8; 16],
    /// Address of its peer.
    pub remote_addr: [u8; 16],
    /// Where its time went.
    pub parts: RequestParts,
}

/// Where a request's time went, as far as the kernel can show it. What is
/// missing to the wall time is `unattributed`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestParts {
    /// Nanoseconds, by [`crate::parts::Part`].
    pub ns: [u64; MEASURED],
    /// Of the time that is missing: where the goroutine may have run or waited,
    /// and only samples can tell.
    pub zone_ns: u64,
    /// The longest wait for a CPU.
    pub runqueue_worst_ns: u64,
    /// The longest wait within the runtime.
    pub wait_worst_ns: u64,
    /// Name of the thread that ran instead, in the longest wait for a CPU;
    /// zeroes if that was short.
    pub culprit_comm: [u8; 16],
    /// Its process.
    pub culprit_tgid: u32,
    /// Bits of parts that are estimated, see [`crate::parts::Part::bit`].
    pub estimated: u32,
    /// Times that the goroutine stopped, at least.
    pub stops: u16,
    /// Samples that found the goroutine running in a part of `zone_ns`.
    pub samples: u16,
    /// Calls to downstreams that were made for it.
    pub calls: u16,
    /// A [`crate::parts::UnitKind`] by number.
    pub unit: u8,
    /// A [`crate::go::GoWait`] by number: the reason of the longest wait.
    pub wait_reason: u8,
}

impl RequestParts {
    /// Nothing known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ns: [0; MEASURED],
            zone_ns: 0,
            runqueue_worst_ns: 0,
            wait_worst_ns: 0,
            culprit_comm: [0; 16],
            culprit_tgid: 0,
            estimated: 0,
            stops: 0,
            samples: 0,
            calls: 0,
            unit: 0,
            wait_reason: 0,
        }
    }
}

impl Default for RequestParts {
    fn default() -> Self {
        Self::new()
    }
}

/// What `traceparent` said: the trace and the span that a request came from.
///
/// Ids are as bytes in the order of the header, in words for the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; not zero if `outcome` is [`FLAG_TRACE`].
    pub trace_id: [u64; 2],
    /// The span that the request was sent from; the same.
    pub parent_id: u64,
    /// Eight flags, see [`TRACE_SAMPLED`].
    pub flags: u32,
    /// `FLAG_TRACE*`, or 0 if there was no `traceparent`: bits of the record.
    pub outcome: u32,
}

impl TraceContext {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { trace_id: [0; 2], parent_id: 0, flags: 0, outcome: 0 }
    }
}

/// Of a trace's flags: who began it keeps it.
pub const TRACE_SAMPLED: u32 = 1;

/// The record with what its head said; only `path_len` bytes of the path, and
/// the trace with [`FLAG_TRACE`] only, have meaning.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RequestHeadRecord {
    /// The record.
    pub request: RequestRecord,
    /// The trace that it belongs to.
    pub trace: TraceContext,
    /// The path, cut at `?`.
    pub path: [u8; PATH_BYTES],
}

/// The first byte was readable before the previous response ended.
pub const FLAG_PIPELINED: u32 = 1;
/// The connection ended before a response was sent.
pub const FLAG_ABORTED: u32 = 2;
/// Arrival was not seen; it is set to the time of the read.
pub const FLAG_NO_ARRIVAL: u32 = 4;
/// The response goes on (upgrade, event stream); it was cut off here.
pub const FLAG_STREAM: u32 = 8;
/// The head could not be parsed in full: method or path may be missing.
pub const FLAG_UNPARSED: u32 = 16;
/// The connection was first seen while it was open.
pub const FLAG_JOINED_LATE: u32 = 32;
/// Its head has a `traceparent`.
pub const FLAG_TRACE: u32 = 64;
/// None was found in a head whose end was not in sight.
pub const FLAG_TRACE_UNSEEN: u32 = 128;
/// Its head has one that is malformed, or more than one.
pub const FLAG_TRACE_REFUSED: u32 = 256;

const _: () = assert!(size_of::<RequestParts>() == 192);
const _: () = assert!(size_of::<RequestRecord>() == 320);
const _: () = assert!(size_of::<RequestHeadRecord>() == 416);
const _: () = assert!(align_of::<RequestRecord>() == 8);
