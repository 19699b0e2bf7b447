//! strata: where did each API request's time go?
#![deny(unsafe_code)]

pub mod admin;
pub mod aggregate;
pub mod export;
pub mod host;
pub mod load;
pub mod metrics;
