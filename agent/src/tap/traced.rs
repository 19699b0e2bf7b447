//! A traced request as one JSON object: the types of both ends.
//!
//! Separate from the event because names and units here are a promise to other
//! programs, and because the other end may be a build of another age.
//!
//! Times are `CLOCK_MONOTONIC` nanoseconds but for `end_unix_ns`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::captured::{Process, Row, Window};
pub use super::wire::{Estimated, PartTimes, is_hostile, part_name};

/// Text that is borrowed on the way out and owned on the way in.
pub type Text<'a> = Cow<'a, str>;

/// A line of the stream: a request, or a word of the agent's.
///
/// A notice begins with the member `notice`, a request never does.
pub const NOTICE_PREFIX: &[u8] = b"{\"notice\":";

/// A finished request. See `docs/trace.md` for each member.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Traced<'a> {
    /// When the last byte of its response was handed to TCP, unix time.
    pub end_unix_ns: u64,
    /// Identity label.
    pub namespace: Text<'a>,
    /// Identity label.
    pub pod: Text<'a>,
    /// Identity label.
    pub container: Text<'a>,
    /// Identity label.
    pub workload: Text<'a>,
    /// `http1`, `opaque`, `tls`.
    pub protocol: Text<'a>,
    /// Method; empty for turns, and then left out.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub method: Text<'a>,
    /// Path up to `?`, at most 64 bytes, where paths are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Text<'a>>,
    /// HTTP status; 0 if there was no response, or for turns.
    pub status: u16,
    /// Address and port of the client.
    pub client: Text<'a>,
    /// Port of the service.
    pub server_port: u16,
    /// Process that read it.
    pub pid: u32,
    /// Thread that read it.
    pub tid: u32,
    /// Goroutine that read it; 0 where the process is not Go.
    pub goid: u64,
    /// First byte readable.
    pub arrival_ns: u64,
    /// First byte read.
    pub read_ns: u64,
    /// Last byte of the response handed to TCP.
    pub end_ns: u64,
    /// From arrival to end: the sum of `parts`.
    pub wall_ns: u64,
    /// Bytes read for it.
    pub bytes_in: u64,
    /// Bytes written for its response.
    pub bytes_out: u64,
    /// Parts that are not zero.
    pub parts: PartTimes,
    /// Parts that are estimated.
    pub estimated: Estimated,
    /// `thread`, `goroutine`, `loop` or `none`.
    pub unit: Text<'a>,
    /// Times that its goroutine stopped, at least.
    pub stops: u16,
    /// Of the unknown time: where only samples can tell running from waiting.
    pub zone_ns: u64,
    /// Samples that found it running there.
    pub samples: u16,
    /// Reason of its longest wait within the runtime; empty for none, and then
    /// left out.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub wait: Text<'a>,
    /// Length of that wait.
    pub wait_worst_ns: u64,
    /// Its longest wait for a CPU.
    pub runqueue_worst_ns: u64,
    /// Who ran instead in that wait, if it was long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub culprit: Option<Culprit<'a>>,
    /// Segments sent again during it.
    pub retransmits: u16,
    /// What else is to be known of it.
    pub flags: Vec<Text<'a>>,
    /// Calls that it made, in the order in which they were sent.
    pub calls: Vec<TracedCall<'a>>,
}

/// A thread that ran while a request waited for a CPU.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Culprit<'a> {
    /// Its process.
    pub pid: u32,
    /// Its name.
    pub comm: Text<'a>,
}

/// A call to a peer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct TracedCall<'a> {
    /// Address and port of the peer.
    pub peer: Text<'a>,
    /// Address and port that it was made from.
    pub local: Text<'a>,
    /// `http1`, `opaque`, `tls`.
    pub protocol: Text<'a>,
    /// Method; empty for turns, and then left out.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub method: Text<'a>,
    /// HTTP status; 0 if there was no response, or for turns.
    pub status: u16,
    /// First byte handed to TCP.
    pub sent_ns: u64,
    /// First byte of the reply readable.
    pub ready_ns: u64,
    /// First byte of the reply read.
    pub read_ns: u64,
    /// Last byte of the reply read.
    pub end_ns: u64,
    /// Segments sent again for it.
    pub retransmits: u32,
    /// Time of its wait that sending again explains.
    pub loss_ns: u64,
    /// How it is known who made it: `sender`, `probe` or `unknown`.
    pub caller: Text<'a>,
}

/// A word of the agent's, between requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// The stream begins.
    Begin,
    /// The listener was too slow: these were not sent.
    Dropped {
        /// How many, since the last such notice.
        requests: u64,
    },
    /// The agent never saw these, of whatever workload: the kernel could not hand
    /// them over, or the agent's own queue was full.
    Unseen {
        /// How many, since the last such notice.
        requests: u64,
    },
    /// The kernel sends a record for one request of so many, from now on.
    Sampling {
        /// Of how many.
        one_in: u64,
    },
    /// A process that is captured.
    Process(Process),
    /// What threads did that are captured.
    Points {
        /// In the order in which they were told.
        rows: Vec<Row>,
    },
    /// The capture is over.
    Captured(Window),
    /// The stream ends as it was asked to.
    End {
        /// Requests that were sent.
        requests: u64,
        /// Requests that were not, in all.
        dropped: u64,
    },
    /// Something that only a newer agent says.
    #[serde(other)]
    Unknown,
}

impl Traced<'_> {
    /// Appends the object as a line. Bytes that could do something to a
    /// terminal are escaped.
    pub fn write(&self, to: &mut Vec<u8>) {
        super::wire::write(self, to);
    }
}

impl Notice {
    /// Appends the notice as a line.
    pub fn write(&self, to: &mut Vec<u8>) {
        super::wire::write(self, to);
    }
}
