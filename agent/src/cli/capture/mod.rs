//! `strata capture`: which goroutine and thread did what for some seconds, and
//! for which request.
//!
//! ```text
//! agent's socket -> gather -> threads -> goroutines -+-> chrome (a file) for Perfetto
//!                      +----> requests --------------+-> table
//! ```
//!
//! Separate from the trace, which shows each request by itself: here all are laid
//! beside what the process did meanwhile. Everything from the points to the
//! output is pure.

mod chrome;
mod events;
pub(super) mod gather;
mod goroutines;
mod lanes;
pub(super) mod outputs;
#[cfg(feature = "agent")]
mod run;
#[cfg(test)]
mod sample;
mod state;
mod table;
mod threads;

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "agent")]
pub use run::run;

use crate::config::{Unfit, duration};
use crate::tap::captured::CAPTURE_NS;
use crate::tap::query::{Query, Targets};

/// How long, and where to.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// Capture for so long, at most 60s
    #[arg(long = "for", value_name = "DURATION", default_value = "5s", value_parser = time)]
    pub time: Duration,
    /// `table`, or a file for Perfetto such as trace.json; may be given twice
    #[arg(short, long, value_name = "table|FILE", default_value = "table", value_parser = output)]
    pub output: Vec<Output>,
}

/// Where a capture goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A table on stdout.
    Table,
    /// A trace for Perfetto, in a file.
    File(PathBuf),
}

impl Options {
    /// The same as the agent is asked for it.
    pub(super) fn query(&self, targets: Targets, paths: bool) -> Query {
        let capture_ns = u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX);
        Query { capture_ns, paths, targets, ..Query::default() }
    }
}

fn time(text: &str) -> Result<Duration, Unfit> {
    duration(text, Duration::from_nanos(CAPTURE_NS.0), Duration::from_nanos(CAPTURE_NS.1))
}

fn output(text: &str) -> Result<Output, &'static str> {
    match text {
        "table" => Ok(Output::Table),
        "" => Err("a file has a name"),
        // A form of other verbs: a file of that name is hardly meant.
        "json" | "waterfall" => Err("it is `table`, or a file such as trace.json"),
        text => Ok(Output::File(PathBuf::from(text))),
    }
}
