//! The thread that prints: lines of the agent in, one of the forms out.
//!
//! Separate from who reads the socket because this may block, on a pipe whose
//! reader does something else.

use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::super::exit::say;
use super::super::stdout::{Stdout, has_colour};
use super::Form;
use super::paint::Paint;
use super::{table, waterfall};
use crate::tap::traced::{NOTICE_PREFIX, Notice, Traced};

/// The least time between two messages about what was dropped.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// Columns of a drawing that no terminal bounds.
const DEFAULT_COLUMNS: usize = 100;

/// What was printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Summary {
    /// Requests that came.
    pub(in crate::cli) requests: u64,
    /// Requests that the agent dropped.
    pub(in crate::cli) dropped: u64,
    /// Agents that said that this is all.
    pub(in crate::cli) ended: usize,
}

/// Prints to stdout until there is no more.
///
/// # Errors
///
/// If stdout does not take it, or a line is not understood.
pub(in crate::cli) fn run(
    mut chunks: mpsc::Receiver<Vec<u8>>,
    form: Form,
) -> Result<Summary, super::super::Error> {
    let mut out = Stdout::lock();
    let mut printer = Printer::new(form, columns(), Paint::new(has_colour()));
    printer.begin(&mut out)?;
    out.flush()?;
    while let Some(chunk) = chunks.blocking_recv() {
        printer.print(&chunk, &mut out)?;
        if chunks.is_empty() {
            out.flush()?;
        }
    }
    out.flush()?;
    printer.told = None;
    printer.tell();
    Ok(printer.summary)
}

/// Columns of the terminal; none if stdout is none.
fn columns() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let (columns, _) = crossterm::terminal::size().ok().filter(|(columns, _)| *columns > 0)?;
    Some(usize::from(columns))
}

/// Makes output of lines.
#[derive(Debug)]
pub(super) struct Printer {
    form: Form,
    columns: Option<usize>,
    paint: Paint,
    summary: Summary,
    untold: u64,
    told: Option<Instant>,
    unseen: u64,
}

impl Printer {
    /// One that draws for a terminal of so many columns, or for none.
    pub(super) const fn new(form: Form, columns: Option<usize>, paint: Paint) -> Self {
        let summary = Summary { requests: 0, dropped: 0, ended: 0 };
        Self { form, columns, paint, summary, untold: 0, told: None, unseen: 0 }
    }

    /// Prints what comes before all requests.
    pub(super) fn begin(&self, out: &mut impl Write) -> io::Result<()> {
        match self.form {
            Form::Table => table::heading(self.columns, &self.paint, out),
            Form::Json | Form::Waterfall => Ok(()),
        }
    }

    /// Prints whole lines.
    pub(super) fn print(
        &mut self,
        chunk: &[u8],
        out: &mut impl Write,
    ) -> Result<(), super::super::Error> {
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(NOTICE_PREFIX) {
                let notice: Notice = serde_json::from_slice(line).map_err(malformed)?;
                self.take(&notice);
                continue;
            }
            self.summary.requests += 1;
            match self.form {
                Form::Json => out.write_all(line)?,
                Form::Table => {
                    let traced = serde_json::from_slice(line).map_err(malformed)?;
                    table::row(&traced, self.columns, &self.paint, out)?;
                }
                Form::Waterfall => {
                    let traced: Traced<'_> = serde_json::from_slice(line).map_err(malformed)?;
                    let columns = self.columns.unwrap_or(DEFAULT_COLUMNS);
                    waterfall::draw(&traced, columns, &self.paint, out)?;
                }
            }
        }
        self.tell();
        Ok(())
    }

    fn take(&mut self, notice: &Notice) {
        match *notice {
            Notice::Begin
            | Notice::Unknown
            | Notice::Process(_)
            | Notice::Points { .. }
            | Notice::Captured(_) => {}
            Notice::Unseen { requests } => self.unseen += requests,
            Notice::Dropped { requests } => {
                self.untold += requests;
                self.summary.dropped += requests;
            }
            Notice::Sampling { one_in: 1 } => say("the agent sends every request again"),
            Notice::Sampling { one_in } => say(&format!(
                "the agent is over its budget: it sends one request in {one_in} (`governor`)"
            )),
            Notice::End { .. } => {
                // The notices before it have told of all that were dropped.
                self.summary.ended += 1;
            }
        }
    }

    fn tell(&mut self) {
        let is_time = self.told.is_none_or(|told| told.elapsed() >= TELL_INTERVAL);
        if self.untold + self.unseen == 0 || !is_time {
            return;
        }
        match std::mem::take(&mut self.untold) {
            0 => {}
            dropped => {
                say(&format!("{dropped} requests were dropped: they are not read fast enough"));
            }
        }
        match std::mem::take(&mut self.unseen) {
            0 => {}
            unseen => say(&format!(
                "{unseen} requests of this node were not seen: lost in the kernel, or by the agent"
            )),
        }
        self.told = Some(Instant::now());
    }
}

fn malformed(error: serde_json::Error) -> super::super::Error {
    super::super::Error::Malformed(error.to_string())
}
