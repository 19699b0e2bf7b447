//! `strata net` on a node: samples of whoever watches it, printed once or as
//! they come.
//!
//! Separate from what is printed, which needs nobody.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use super::edges::between;
use super::{View, print};
use crate::app::client::{Connection, Selection};
use crate::cli::target::PodTargets;
use crate::cli::top::run::{next, nobody};
use crate::cli::{Error, Format};
use crate::config::Config;
use crate::export::json::Workloads;

/// Edges that a picture of a terminal has, at most.
const MAX_LINES: usize = 40;
/// Home, and what is below it cleared.
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

/// Prints the edges of an interval, or of each one until nobody reads them.
///
/// # Errors
///
/// If nobody watches and this process may not, no workload matches the targets,
/// or `out` does not take it.
pub fn run(
    config: &Config,
    pods: &PodTargets,
    view: &View,
    (once, interval, format): (bool, Duration, Format),
    out: &mut impl Write,
) -> Result<(), Error> {
    // An engine in this process may have something to say that matters.
    crate::app::log_warnings();
    let selection = Selection::find(config, &pods.query())?;
    let is_screen = !once && format == Format::Table && std::io::stdout().is_terminal();
    crate::app::block_on(async {
        let mut connection = Connection::open(config, interval).await?;
        let origin = connection.origin().clone();
        let mut earlier: Workloads = next(&mut connection, interval).await?;
        let result = loop {
            let later = next(&mut connection, interval).await?;
            let is_meant = |row: &_| selection.is_all() || selection.has(row);
            if !selection.is_all() && !later.workloads.iter().any(is_meant) {
                let names: Vec<String> =
                    later.workloads.iter().map(|row| row.workload.clone()).collect();
                let targets = crate::cli::top::run::targets(config, pods);
                break Err(Error::NoMatch { targets, there: names.join(", ") });
            }
            // An agent whose worker was late says the same twice.
            let Some((interval_s, rows)) = between(&earlier, &later, view, is_meant) else {
                continue;
            };
            if is_screen {
                out.write_all(CLEAR)?;
            }
            match format {
                Format::Json => print::json(&rows, interval_s, out)?,
                Format::Table if once => print::table(&rows, usize::MAX, out)?,
                Format::Table => print::table(&rows, MAX_LINES, out)?,
            }
            out.flush()?;
            if once {
                if later.workloads.is_empty() {
                    crate::cli::exit::say(nobody(&origin));
                }
                break Ok(());
            }
            if format == Format::Table && !is_screen {
                writeln!(out)?;
            }
            earlier = later;
        };
        connection.close().await;
        result
    })?
}
