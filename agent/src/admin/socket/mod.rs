//! The unix socket of a running agent: how `strata top` and other verbs ask it.
//!
//! One line of JSON asks, lines of JSON answer:
//!
//! ```text
//! > {"version":1,"verb":"workloads","interval_ms":1000}
//! < {"version":1,"workloads":{...}}        one now, one each second
//! > {"version":1,"verb":"trace","query":{"slower_ns":50000000}}
//! < {"notice":"begin"}                     then a line for each request
//! > {"version":1,"verb":"capture","query":{"capture_ns":5000000000}}
//! < {"notice":"begin"}                     then the same, and lines of points
//! < {"version":1,"error":"..."}            refused: the connection ends
//! ```
//!
//! Without `interval_ms` one line answers, and the connection ends. Who traces
//! closes its writing end to end it: what is held back comes yet, and a last
//! notice. Separate
//! from the HTTP endpoints because it answers other users: those whom the mode
//! of a file lets in.

#[cfg(feature = "agent")]
mod asked;
#[cfg(feature = "agent")]
pub mod bind;
pub mod client;
#[cfg(feature = "agent")]
mod connect;
#[cfg(feature = "agent")]
pub mod server;
#[cfg(feature = "agent")]
mod trace;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::export::json::VERSION;
use crate::tap::query::Query;

/// Longest request line, bytes: targets that were found by name are listed.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;
/// Longest answer line, bytes. 512 workloads with every bucket in use would
/// take 6 MB, and as many edges as a node has series for 14 MB.
pub const MAX_ANSWER_BYTES: usize = 24 << 20;
/// Shortest interval that may be asked for.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// Longest interval that may be asked for.
pub const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// A request line.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`] of who asks.
    pub version: u32,
    /// What is wanted.
    pub verb: String,
    /// Milliseconds between two lines of the answer; none: one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Which requests are to be traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<Box<Query>>,
}

impl Request {
    /// Workloads, a line each `interval`.
    #[must_use]
    pub fn workloads(interval: Option<Duration>) -> Self {
        let interval_ms =
            interval.map(|interval| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX));
        Self { version: VERSION, verb: "workloads".to_owned(), interval_ms, query: None }
    }

    /// Requests as they finish.
    #[must_use]
    pub fn trace(query: Query) -> Self {
        let query = Some(Box::new(query));
        Self { version: VERSION, verb: "trace".to_owned(), interval_ms: None, query }
    }

    /// What threads do for a time, with requests as they finish.
    #[must_use]
    pub fn capture(query: Query) -> Self {
        Self { verb: "capture".to_owned(), ..Self::trace(query) }
    }

    /// As it is sent, the line feed included.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
#[cfg(feature = "agent")]
mod tests;
