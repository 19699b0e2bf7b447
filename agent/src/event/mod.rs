//! Events: what the stages after decoding speak of.
//!
//! Separate because every stage names these and none of them owns them.

pub mod ids;
