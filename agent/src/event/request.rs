//! A finished request.

use std::net::{IpAddr, Ipv6Addr};

use agent_common::conn::Protocol;
use agent_common::go::GoWait;
use agent_common::head::Method;
use agent_common::parts::{Split, UnitKind};
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
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Address and port of the service.
    pub local: (Ipv6Addr, u16),
    /// Address and port of the client.
    pub remote: (Ipv6Addr, u16),
    /// Where its time went: sums to the wall time.
    pub parts: Split,
    /// What its parts were measured on, and what stands out.
    pub work: Work,
    /// Path up to `?`, where paths are kept.
    pub path: Option<Box<str>>,
    /// The trace that it belongs to, where spans are on.
    pub trace: Option<Trace>,
}

/// What the client said of a request's trace (`traceparent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Its trace, never zero.
    pub trace_id: u128,
    /// The span that it was sent from, never zero.
    pub parent_id: u64,
    /// Whether who began the trace keeps it.
    pub is_sampled: bool,
}

/// What a request rode on, and the evidence that is worth a word.
#[derive(Clone, Debug)]
pub struct Work {
    /// Thread, goroutine or loop.
    pub kind: UnitKind,
    /// Bits of parts that are estimated, see `Part::bit`.
    pub estimated: u32,
    /// Of the unknown time: where only samples can tell running from waiting.
    pub zone_ns: u64,
    /// Samples that found it running there.
    pub samples: u16,
    /// Times that its goroutine stopped, at least.
    pub stops: u16,
    /// Calls to downstreams.
    pub calls: u16,
    /// Reason of its longest wait within the runtime.
    pub wait: GoWait,
    /// Length of that wait.
    pub wait_worst_ns: u64,
    /// Its longest wait for a CPU.
    pub runqueue_worst_ns: u64,
    /// Who ran instead in that wait, if it was long.
    pub culprit: Option<Culprit>,
}

/// A thread that ran while a request waited for a CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// Its process.
    pub tgid: u32,
    /// Its name.
    pub comm: Box<str>,
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

    /// Whether its server failed, or its client left: what an error is to
    /// metrics and spans alike.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.is_aborted() || self.status >= 500
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

/// A request for tests, which set what they are about.
#[cfg(test)]
impl Request {
    /// A GET of `wall_ns`, none of which is known.
    pub(crate) fn sample(wall_ns: u64) -> Self {
        use agent_common::parts::close;
        use agent_common::record::request::RequestParts;

        Self {
            service: 1,
            protocol: Protocol::Http1,
            method: Method::Get,
            status: 200,
            flags: 0,
            tgid: 10,
            tid: 11,
            goid: 12,
            cgroup_id: 13,
            arrival_ns: 5,
            read_ns: 5,
            end_ns: 5 + wall_ns,
            bytes_in: 100,
            bytes_out: 200,
            retransmits_during: 0,
            retransmits_after: 0,
            srtt_us: 50,
            mdev_us: 5,
            netns: 1,
            local: (Ipv6Addr::LOCALHOST, 8080),
            remote: (Ipv6Addr::LOCALHOST, 40_000),
            parts: close(wall_ns, &RequestParts::new()),
            work: Work {
                kind: UnitKind::Goroutine,
                estimated: 0,
                zone_ns: 0,
                samples: 0,
                stops: 0,
                calls: 0,
                wait: GoWait::Unknown,
                wait_worst_ns: 0,
                runqueue_worst_ns: 0,
                culprit: None,
            },
            path: None,
            trace: None,
        }
    }
}
