//! `strata trace`: requests as they finish, each with where its time went.
//!
//! ```text
//! agent's socket -+-> chunks of lines -> printer (a thread) -> JSON | table | waterfall
//! engine of ours -+
//! ```
//!
//! What is meant is compared in the agent; here lines are only drawn. The
//! printer is a thread of its own so that a reader who does not read stops it,
//! and neither the engine nor Ctrl-C.

mod evidence;
mod paint;
pub(super) mod printer;
#[cfg(feature = "agent")]
pub(super) mod run;
#[cfg(test)]
mod sample;
mod table;
pub(super) mod text;
mod waterfall;

use std::time::Duration;

use clap::ValueEnum;

#[cfg(feature = "agent")]
pub use run::run;

use crate::config::{Glob, Unfit, duration};
use crate::tap::query::{Query, Targets};

/// Longest wall time that can be asked for.
const MAX_SLOWER: Duration = Duration::from_secs(3600);
/// Shortest and longest time to trace.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(86_400));

/// Which requests, until when, and in which form.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// Only requests that took at least this long, such as 50ms
    #[arg(long, value_name = "DURATION", value_parser = slower)]
    pub slower: Option<Duration>,
    /// Only requests with a status of 500 or more, or without a response
    #[arg(long)]
    pub errors: bool,
    /// Only requests whose path fits, such as '/v1/*'; keeps paths meanwhile
    #[arg(long, value_name = "PATTERN", value_parser = path)]
    pub path: Option<String>,
    /// End after this many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after this time, such as 10s
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub timeout: Option<Duration>,
    /// The form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    pub output: Form,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A line a request, for people.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
    /// Each request drawn to scale, with its calls and the evidence.
    Waterfall,
}

impl Options {
    /// The same as the agent is asked for it; `paths` has paths kept whatever
    /// their pattern.
    pub(super) fn query(&self, targets: Targets, paths: bool) -> Query {
        let slower = self.slower.unwrap_or_default();
        Query {
            slower_ns: u64::try_from(slower.as_nanos()).unwrap_or(u64::MAX),
            errors: self.errors,
            path: self.path.clone(),
            paths,
            count: self.count.unwrap_or_default(),
            capture_ns: 0,
            targets,
        }
    }
}

fn slower(text: &str) -> Result<Duration, Unfit> {
    duration(text, Duration::from_nanos(1), MAX_SLOWER)
}

fn timeout(text: &str) -> Result<Duration, Unfit> {
    duration(text, TIMEOUT.0, TIMEOUT.1)
}

fn path(text: &str) -> Result<String, Unfit> {
    Glob::path(text).map(|glob| glob.as_str().to_owned())
}
