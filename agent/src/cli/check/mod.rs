//! `strata check`: what works on this node, why the rest does not, what to do.
//!
//! Needs no running agent and changes nothing: every program is loaded, none is
//! attached. It ends with 0 if the agent could run and do something, with 3 if
//! it could not run at all.

pub mod print;
pub mod verdict;

use std::io::Write;

use super::{Error, Format};
use crate::app::examine::examine;
use crate::config::Config;
use verdict::Verdict;

/// Examines the host and prints what was found.
///
/// # Errors
///
/// [`Error::CannotRun`] if the agent could not run here, after all is printed;
/// [`Error::Output`] if `out` does not take it.
pub fn run(config: &Config, format: Format, out: &mut impl Write) -> Result<(), Error> {
    let examination = examine(config)?;
    let verdict = Verdict::of(&examination, &config.socket);
    match format {
        Format::Table => print::table(&examination, &verdict, out)?,
        Format::Json => print::json(&examination, &verdict, out)?,
    }
    out.flush()?;
    match verdict.obstacle {
        Some(reason) => Err(Error::CannotRun { reason }),
        None => Ok(()),
    }
}
