//! strata: where did each API request's time go?
#![deny(unsafe_code)]

pub mod admin;
pub mod aggregate;
pub mod app;
pub mod attribution;
pub mod cli;
pub mod config;
pub mod decode;
pub mod event;
pub mod export;
pub mod host;
pub mod load;
pub mod metrics;
pub mod probes;
pub mod source;
pub mod sys;
pub mod telemetry;
