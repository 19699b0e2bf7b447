//! strata: where did each API request's time go?
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
