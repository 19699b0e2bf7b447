//! The command line: verbs and flags in, what is to be done out; and the verbs
//! that a user reads.
//!
//! Separate from what the verbs do: everything that a user can get wrong is
//! refused here, and what is left is plain data with a resolved configuration.

pub mod capture;
#[cfg(feature = "agent")]
pub mod check;
#[cfg(feature = "agent")]
pub mod config;
mod error;
pub mod exit;
#[cfg(feature = "agent")]
mod flags;
#[cfg(feature = "agent")]
mod line;
pub mod metrics;
pub mod net;
#[cfg(feature = "client")]
pub mod plugin;
#[cfg(feature = "agent")]
pub mod relay;
pub mod stdout;
pub mod target;
pub mod top;
pub mod trace;

use std::time::Duration;

use clap::ValueEnum;

pub use error::Error;
#[cfg(feature = "agent")]
pub use line::{Command, parse};

use crate::admin::socket::{MAX_INTERVAL, MIN_INTERVAL};
use crate::config::{Unfit, duration};

/// The form of data on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns, for people.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
}

#[derive(clap::Args)]
struct Output {
    /// The form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    output: Format,
}

fn interval(text: &str) -> Result<Duration, Unfit> {
    duration(text, MIN_INTERVAL, MAX_INTERVAL)
}
