//! `strata peers` without a cluster: a stand-in for the API server, replicas of
//! the released binary that watch it, and a way between that may be cut.
//!
//! Separate from `cluster`, whose tests need a real one: here a test says what
//! every pod does, and when, so that it knows who had an address at any time.

mod api;
mod replica;
mod way;

pub use api::{Api, Kind, pod};
pub use replica::Replica;
pub use way::Way;
