//! What a running agent answers: HTTP here, the other verbs in [`socket`].
//!
//! The HTTP endpoints, GET and HEAD only:
//!
//! - `/metrics` the exposition, by `Accept` and `Accept-Encoding`
//! - `/healthz` 200 while the worker runs, 503 after; for a liveness probe
//! - `/readyz` 200 when lanes are attached and the first sweep is done, 503 with
//!   the reason before
//! - `/` links to these
//!
//! Separate from `export`, which makes the bytes: here are sockets, limits and
//! status codes.

#[cfg(feature = "agent")]
mod endpoints;
#[cfg(feature = "agent")]
pub mod readiness;
#[cfg(feature = "agent")]
pub mod server;
pub mod socket;

#[cfg(feature = "agent")]
pub use endpoints::{AdminState, answer};

#[cfg(test)]
#[cfg(feature = "agent")]
mod tests;
