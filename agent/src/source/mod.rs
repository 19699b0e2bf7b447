//! Where raw bytes and counts come from: the ring, the arrays, the hash of
//! edges, the programs' own statistics.

pub mod counters;
pub mod edges;
pub mod ring;
pub mod stats;
