//! `strata metrics`: the catalogue.

use std::io::Write;

use super::{Error, Format};
use crate::metrics::{all, reference};

/// Prints every metric: a table for people, one JSON object a line otherwise.
///
/// # Errors
///
/// [`Error::Output`] if it cannot be written.
pub fn print(format: Format, out: &mut impl Write) -> Result<(), Error> {
    match format {
        Format::Table => write!(out, "{}", reference::catalogue_table())?,
        Format::Json => {
            for metric in all() {
                let line = serde_json::json!({
                    "name": metric.query_name(),
                    "kind": metric.kind.as_str(),
                    "unit": metric.unit,
                    "labels": metric.labels,
                    "has_identity": metric.has_identity,
                    "help": metric.help,
                });
                writeln!(out, "{line}")?;
            }
        }
    }
    out.flush()?;
    Ok(())
}
