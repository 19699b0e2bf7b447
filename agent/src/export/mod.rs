//! Snapshot in, bytes out: the formats and what a scraper asks for.
//!
//! Separate from `admin`, which speaks HTTP and knows no format, and from
//! `aggregate`, which knows neither.

#[cfg(feature = "agent")]
mod encode;
pub mod json;
#[cfg(feature = "agent")]
pub mod negotiate;
#[cfg(feature = "traces")]
pub mod otlp;
#[cfg(feature = "agent")]
pub mod protobuf;
#[cfg(feature = "agent")]
pub mod scrape;
#[cfg(feature = "agent")]
pub mod text;

#[cfg(feature = "agent")]
pub use encode::{Detail, Error, encode};

#[cfg(test)]
#[cfg(feature = "agent")]
mod tests;
