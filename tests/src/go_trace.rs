//! What Go's own execution tracer says of each goroutine.
//!
//! Separate because it is ground truth that no handler can give: the runtime
//! writes down each change of a goroutine's state, on the clock of the kernel's
//! records (`CLOCK_MONOTONIC`, in steps of 64 ns).

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::apps;

/// What a goroutine did from one time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    at_ns: u64,
    /// It had a thread: it ran, or was in a system call.
    is_on_thread: bool,
}

/// The state of every goroutine over the time of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoTrace {
    goroutines: HashMap<u64, Vec<Change>>,
}

impl GoTrace {
    /// Reads a finished trace by `go tool trace`.
    ///
    /// # Errors
    /// When the tool fails, or says nothing of any goroutine.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(apps::go_tool());
        command.args(["tool", "trace", "-d=parsed"]).arg(file).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting go tool trace")?;
        let output = child.stdout.take().context("no pipe from go tool trace")?;
        let mut trace = Self::default();
        for line in BufReader::new(output).lines() {
            trace.add(&line.context("reading what go tool trace says")?);
        }
        let status = child.wait().context("waiting for go tool trace")?;
        anyhow::ensure!(status.success(), "go tool trace failed ({status})");
        anyhow::ensure!(!trace.goroutines.is_empty(), "{} has no goroutine", file.display());
        Ok(trace)
    }

    fn add(&mut self, line: &str) {
        if let Some((goid, change)) = change(line) {
            self.goroutines.entry(goid).or_default().push(change);
        }
    }

    /// How long a goroutine had a thread between two times; `None` if the trace
    /// does not tell its state at both.
    #[must_use]
    pub fn on_thread_ns(&self, goid: u64, from_ns: u64, to_ns: u64) -> Option<u64> {
        let changes = self.goroutines.get(&goid)?;
        let is_told = changes.first()?.at_ns <= from_ns && changes.last()?.at_ns >= to_ns;
        let next = changes.iter().skip(1).map(|change| change.at_ns).chain([u64::MAX]);
        let spans = changes.iter().zip(next).filter(|(change, _)| change.is_on_thread);
        let lengths = spans
            .map(|(change, next_ns)| next_ns.min(to_ns).saturating_sub(change.at_ns.max(from_ns)));
        is_told.then(|| lengths.sum())
    }
}

/// A line like `M=7 P=0 G=5 StateTransition Time=1773016114944 GoID=1
/// Runnable->Running Reason=""`.
fn change(line: &str) -> Option<(u64, Change)> {
    let (_, transition) = line.split_once(" StateTransition Time=")?;
    let mut words = transition.split(' ');
    let at_ns = words.next()?.parse().ok()?;
    let goid = words.next()?.strip_prefix("GoID=")?.parse().ok()?;
    let (_, to) = words.next()?.split_once("->")?;
    Some((goid, Change { at_ns, is_on_thread: matches!(to, "Running" | "Syscall") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> GoTrace {
        let mut trace = GoTrace::default();
        for line in [
            "M=1 P=0 G=-1 StateTransition Time=50 ProcID=1 Undetermined->Running Reason=\"\"",
            "M=1 P=0 G=-1 StateTransition Time=100 GoID=5 Runnable->Running Reason=\"\"",
            "Stack=",
            "M=1 P=0 G=5 StateTransition Time=150 GoID=5 Running->Syscall Reason=\"\"",
            "M=1 P=0 G=5 StateTransition Time=200 GoID=5 Syscall->Running Reason=\"\"",
            "M=1 P=0 G=5 StateTransition Time=300 GoID=5 Running->Waiting Reason=\"sleep\"",
            "M=1 P=0 G=-1 StateTransition Time=700 GoID=5 Waiting->Runnable Reason=\"\"",
            "M=1 P=0 G=-1 StateTransition Time=800 GoID=5 Runnable->Running Reason=\"\"",
        ] {
            trace.add(line);
        }
        trace
    }

    #[test]
    fn time_on_a_thread_is_cut_to_what_is_asked_for() {
        let trace = trace();
        assert_eq!(trace.on_thread_ns(5, 100, 800), Some(200));
        assert_eq!(trace.on_thread_ns(5, 250, 800), Some(50));
        assert_eq!(trace.on_thread_ns(5, 400, 600), Some(0));
    }

    #[test]
    fn what_is_not_told_is_not_made_up() {
        let trace = trace();
        assert_eq!(trace.on_thread_ns(5, 99, 800), None);
        assert_eq!(trace.on_thread_ns(5, 100, 801), None);
        assert_eq!(trace.on_thread_ns(6, 100, 200), None);
    }
}
