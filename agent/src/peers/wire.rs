//! What an agent and `strata peers` say to each other: JSON over HTTP.
//!
//! Separate because both sides have it, and the bounds on it hold for both.
//! Fields that are not known are skipped, so that versions may differ while they
//! are replaced.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Where it is asked.
pub const PATH: &str = "/v1/peers";
/// Addresses in one question, at most.
pub const MAX_ASKED: usize = 512;
/// Servers whose state one question tells, at most: replicas, and those that
/// they replace.
pub const MAX_SEEN: usize = 4;
/// Bytes of a question, at most: that many addresses, the longest that there are.
pub const MAX_QUESTION: usize = 48 << 10;
/// Changes in one answer, at most; beyond, everything is to be asked again.
pub const MAX_CHANGED: usize = 1_024;
/// Bytes of an answer that are read, at most: that many names as long as
/// Kubernetes lets them be, and changes.
pub const MAX_ANSWER: usize = 512 << 10;
/// Bytes of a name that are taken, at most: a namespace or name of Kubernetes
/// has 253, a kind comes before it.
pub const MAX_NAME: usize = 320;
/// For how long a server may have been out of touch with the API server to be
/// believed, milliseconds: three of its own probes.
pub const MAX_AGE_MS: u64 = 15_000;

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Question {
    /// The node that asks.
    pub node: String,
    /// Which servers it has heard, and up to where.
    pub seen: Vec<Seen>,
    /// Whose names it wants.
    pub addresses: Vec<IpAddr>,
}

/// Up to where a server has been heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The server, this run of it.
    pub server: u64,
    /// Its count of changes.
    pub revision: u64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Who answers, and up to where.
    pub at: Seen,
    /// Milliseconds since the API server last answered the server that answers.
    pub age_ms: u64,
    /// The zone of the node that asks; empty if it has none, or is not known.
    #[serde(default)]
    pub zone: String,
    /// Addresses that had another name since the server was last heard; `None`:
    /// it was not, or too many had.
    pub changed: Option<Vec<IpAddr>>,
    /// Whose names are known of those that were asked for.
    #[serde(default)]
    pub peers: Vec<Named>,
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The address.
    pub address: IpAddr,
    /// Namespace; empty for a node.
    #[serde(default)]
    pub namespace: String,
    /// `deployment/api`, `service/api`, `node/a`.
    pub workload: String,
    /// Zone of its node; empty if it has none.
    #[serde(default)]
    pub zone: String,
}
