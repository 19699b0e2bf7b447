//! Series and snapshots: who owns values, and the immutable view of them that
//! exporters read.
//!
//! Separate from attribution, which decides whose a value is, and from export,
//! which decides how it is written.

pub mod budget;
pub mod calls;
pub mod channel;
pub mod counters;
pub mod culprits;
pub mod durations;
pub mod edges;
pub mod governor;
pub mod histogram;
pub mod labels;
pub mod parts;
pub mod requests;
pub mod routes;
pub mod snapshot;
pub mod switches;
pub mod tail;
