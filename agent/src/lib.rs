//! strata: where did each API request's time go?
#![deny(unsafe_code)]

pub mod aggregate;
pub mod metrics;

pub mod export;

pub mod admin;
