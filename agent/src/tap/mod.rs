//! The tap: requests as they finish, one line of JSON each, for who listens.
//!
//! ```text
//! worker -+-> query (is it meant?) -> join (its calls) -> traced (JSON) -+-> chunks -> socket -> `strata trace`
//!         +-> ... the same for each listener, four at most               |
//!             what does not fit is dropped, counted and told   <---------+
//! ```
//!
//! Separate from the worker because it must not be able to hurt it: nothing is
//! done while nobody listens, each listener is bounded in memory, and none is
//! ever waited for.

#[cfg(feature = "agent")]
mod capture;
pub mod captured;
#[cfg(feature = "agent")]
mod channel;
#[cfg(feature = "agent")]
mod filter;
#[cfg(feature = "agent")]
pub(crate) mod join;
#[cfg(feature = "agent")]
mod line;
#[cfg(feature = "agent")]
mod listener;
#[cfg(feature = "agent")]
mod listeners;
pub mod pods;
pub mod query;
pub mod traced;
mod wire;

#[cfg(feature = "agent")]
pub use capture::Unseen;
#[cfg(feature = "agent")]
pub use channel::{Order, Orders, Refusal, Stream, TapSource, channel};
#[cfg(feature = "agent")]
pub use listeners::Tap;

#[cfg(test)]
#[cfg(feature = "agent")]
mod tests;
