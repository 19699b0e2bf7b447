//! `strata top`: workloads as they run, on a screen or once.
//!
//! ```text
//! agent's socket -+-> samples -> rates -> view -> draw -> screen
//! engine of ours -+                 \---> once (table, JSON)
//! ```
//!
//! Everything but `screen` is pure and tested without a terminal.

pub mod columns;
pub mod draw;
pub mod layers;
pub mod once;
pub mod quantile;
pub mod rates;
#[cfg(feature = "agent")]
pub(super) mod run;
#[cfg(test)]
pub(super) mod sample;
#[cfg(feature = "agent")]
mod screen;
pub mod units;
pub mod view;

#[cfg(feature = "agent")]
pub use run::{once, screen};
