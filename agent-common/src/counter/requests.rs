//! The sockets lane's books: every finished request, whatever became of it.

use crate::histogram::{CLASSIC_BUCKETS, Histogram};

/// Per service. `finished = exported + sampled + filtered + dropped + lost`,
/// of which the agent knows `exported` and `dropped`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RequestCounters {
    /// Finished requests, counted before anything else is done with them.
    pub finished: u64,
    /// Not sent because of pressure; their durations are below.
    pub sampled: u64,
    /// Not sent because their path is ignored by configuration.
    pub filtered: u64,
    /// The ring was full.
    pub lost: u64,
    /// Classic buckets of the durations of sampled-out requests.
    pub sampled_classic: [u64; CLASSIC_BUCKETS],
    /// Zero.
    pub _pad: u64,
    /// Durations of the sampled-out requests.
    pub sampled_durations: Histogram,
}
