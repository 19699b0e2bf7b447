//! `kubectl strata top`: what pods do, a table of all nodes together.
//!
//! Separate from the screen on a node: like `kubectl top` it prints and ends,
//! and with `--watch` prints again.

use std::io::{self, Write};

use super::rows::{Meant, merged};
use super::sampling::Picture;
use crate::cli::Format;
use crate::cli::top::once;
use crate::cli::top::rates::Sampled;
use crate::export::json::Workloads;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Top;

/// What is said where nothing is there.
pub(super) const NOTHING: &str =
    "the agents watch none of these pods: they watch what listens on TCP, and is not opted out";

impl Picture for Top {
    type Rows = Sampled;

    fn between(&self, meant: &Meant, earlier: &Workloads, later: &Workloads) -> Option<Sampled> {
        meant.between(earlier, later)
    }

    fn merged(&self, all: Vec<Sampled>) -> Sampled {
        merged(all)
    }

    fn print(&self, rows: &Sampled, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Table => once::table(rows, out),
            Format::Json => once::json(rows, out),
        }
    }

    fn nothing(&self, rows: &Sampled) -> Option<&'static str> {
        rows.rows.is_empty().then_some(NOTHING)
    }
}
