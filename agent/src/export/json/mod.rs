//! What the unix socket says of workloads: one JSON object a line.
//!
//! Separate types, converted by hand from a snapshot: the other end may be a
//! build of another age, so no rename in here changes what is sent.
//!
//! All values are totals since the agent started. The reader takes two lines
//! and computes rates and quantiles of the time in between.

#[cfg(feature = "agent")]
mod feed;
#[cfg(feature = "agent")]
mod rows;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "agent")]
pub use feed::Feed;
#[cfg(feature = "agent")]
pub use rows::workloads;

/// Version of the protocol. A reader refuses another; new members do not
/// change it.
pub const VERSION: u32 = 1;

/// One line of an answer: workloads, or why there are none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Answer {
    /// [`VERSION`] of who wrote it.
    pub version: u32,
    /// Why the request is refused; the connection ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<Workloads>,
}

impl Answer {
    /// A refusal.
    #[must_use]
    pub fn refusal(reason: String) -> Self {
        Self { version: VERSION, error: Some(reason), workloads: None }
    }

    /// As it is sent, the line feed included. Empty if it cannot be written,
    /// which no value of these types is reason for.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// All workloads at one moment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Workloads {
    /// When, unix time, nanoseconds.
    pub taken_unix_ns: u64,
    /// Who says so.
    pub agent: AgentState,
    /// By identity, in its order.
    pub workloads: Vec<Workload>,
}

/// The agent's own state.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct AgentState {
    /// Its process id, in its own namespace.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Release of the kernel.
    pub kernel: String,
    /// When it started, unix time, nanoseconds.
    pub started_unix_ns: u64,
    /// CPU time of the process, nanoseconds; kernel programs are not in it.
    pub cpu_ns: u64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Every lane, in the order in which they are shown.
    pub lanes: Vec<Lane>,
}

/// A lane.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Lane {
    /// Its name.
    pub lane: String,
    /// `works`, `degraded`, `unavailable` or `off`.
    pub state: String,
}

/// One workload.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Workload {
    /// Identity label.
    pub namespace: String,
    /// Identity label.
    pub pod: String,
    /// Identity label.
    pub container: String,
    /// Identity label.
    pub workload: String,
    /// Full id of the container; empty if there is none.
    pub container_id: String,
    /// What became of finished requests.
    pub outcomes: Outcomes,
    /// Requests that have a duration, by protocol and class of status.
    pub requests: Vec<Requests>,
    /// Durations of all of these together.
    pub duration: Durations,
    /// Time that threads were ready and waited for a CPU.
    pub runqueue: Durations,
    /// Time that threads were ready and out of quota, nanoseconds, of all
    /// threads together.
    pub throttled_ns: u64,
    /// TCP segments sent again, of every kind.
    pub retransmits: u64,
    /// TCP segments sent, those sent again included.
    pub segments_sent: u64,
    /// Time of requests by `layer.part`, nanoseconds; what is zero is left out.
    #[serde(default)]
    pub parts: BTreeMap<String, u64>,
    /// The same, of slow requests.
    #[serde(default)]
    pub slow_parts: BTreeMap<String, u64>,
    /// How many requests were slow.
    #[serde(default)]
    pub slow_requests: u64,
    /// Its network, by peer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<Edge>,
}

/// What a workload has with one peer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Edge {
    /// Label.
    pub peer_namespace: String,
    /// Label.
    pub peer_workload: String,
    /// Label.
    pub peer_zone: String,
    /// Label.
    pub scope: String,
    /// TCP segments sent, those sent again included.
    pub segments_sent: u64,
    /// TCP segments sent again, of every kind.
    pub retransmits: u64,
    /// Resets in both directions.
    pub resets: u64,
    /// Connects that ended, one way or the other.
    pub connects: u64,
    /// Those that failed.
    pub connects_failed: u64,
    /// Segments that came out of order; none if none did, or this kernel does
    /// not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_order: Option<u64>,
    /// Times that data waited for a window of zero.
    #[serde(default)]
    pub zero_window_stalls: u64,
    /// How long it did, nanoseconds.
    #[serde(default)]
    pub zero_window_ns: u64,
    /// Round-trip times.
    pub rtt: Durations,
    /// Their mean deviations.
    pub jitter: Durations,
}

/// Finished requests by what became of their records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Outcomes {
    /// Counted one by one.
    pub exported: u64,
    /// Only counted, under pressure.
    pub sampled: u64,
    /// Left out on purpose.
    pub filtered: u64,
    /// Discarded by the agent against its will.
    pub dropped: u64,
    /// Never handed over by the kernel.
    pub lost: u64,
}

/// Requests of one protocol and class of status.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Requests {
    /// `http`, or what is known of the protocol of the turns.
    pub protocol: String,
    /// `2xx` and the like; empty for none.
    pub class: String,
    /// How many.
    pub count: u64,
    /// How many of these failed: a status of 500 or more, or no response.
    pub errors: u64,
}

/// A histogram, its buckets those of [`agent_common::histogram`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Durations {
    /// Sum of all values.
    pub sum_ns: u64,
    /// Index and count of each bucket that is not empty, ascending.
    pub buckets: Vec<(u16, u64)>,
}
