//! Where raw bytes and counts come from: the ring, the arrays, the programs'
//! own statistics.

pub mod counters;
pub mod ring;
pub mod stats;
