//! Finished requests as OTLP spans: written, batched, sent, tried again.
//!
//! ```text
//! spans::queue -> sender (batch) -> span, resource (messages) -> client (HTTP or gRPC) -> answer -> sender
//! ```
//!
//! Separate from the expositions, which are asked for: this one speaks first, to
//! somebody who may be slow, wrong or away. That costs the bounded queue before
//! it and nothing else.

mod answer;
mod attributes;
mod backoff;
mod client;
mod resource;
mod sender;
mod span;

pub use client::Settings;
pub use sender::run;

#[cfg(test)]
mod tests;
