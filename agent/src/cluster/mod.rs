//! The cluster: the pods of this node, as the API server tells of them.
//!
//! ```text
//! API server --HTTP--> meter --> watch --(object -> event::pod)--> worker
//!                        +--------+--> telemetry::metadata
//! ```
//!
//! A room of its own because it is an edge, and the only one that knows what
//! the API server speaks; what follows from a pod is decided in `attribution`.
//! Without the feature `kubernetes` it is not there.

// How the API server is reached.
mod connect;
// What went wrong, in a word.
mod failure;
// Each request, and each word of the answer.
mod meter;
// A pod, as it is written in JSON.
mod object;
// How long is waited after an error.
mod pauses;
// Lists, then watches, for ever.
mod watch;
// The same for a whole cluster, in fewer words.
mod wide;

pub use connect::{Error, Place, connect};
pub use watch::{count, run};
pub use wide::watch_all;

#[cfg(test)]
mod tests;
