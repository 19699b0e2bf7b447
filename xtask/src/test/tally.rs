//! Counts of tests, read from what the runners print while it is shown.
//!
//! Separate because it is the one part of a run that parses foreign text.

use std::io::{BufRead as _, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// Tests that ran, and those that a runner was told to ignore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
    /// Names of those that failed, as the runner prints them.
    pub(super) failures: Vec<String>,
    /// Names of those that failed once and passed when run again.
    pub(super) flaky: Vec<String>,
}

impl Tally {
    /// Adds all of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.failures.extend_from_slice(&other.failures);
        self.flaky.extend_from_slice(&other.flaky);
    }

    /// Takes what a second run of all that failed says of it.
    pub(super) fn settle(&mut self, again: &Self) {
        let failed = std::mem::take(&mut self.failures);
        let (failures, flaky): (Vec<_>, Vec<_>) =
            failed.into_iter().partition(|name| again.failures.contains(name));
        self.passed += flaky.len() as u64;
        self.failed -= flaky.len() as u64;
        (self.failures, self.flaky) = (failures, flaky);
    }

    /// The counts in one line of output, if it is a runner's last line:
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
        };
        Some(Self {
            passed: count(" passed")?,
            failed: count(" failed")?,
            ignored: count(" ignored")?,
            ..Self::default()
        })
    }
}

/// The test that a line says has failed: `test a::b ... FAILED`.
fn failure(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// Runs a command, shows its output as it comes, and adds up its tests.
pub(super) fn run(command: &mut Command) -> (Tally, Option<anyhow::Error>) {
    let mut tally = Tally::default();
    let outcome = stream(command, &mut tally, &mut std::io::stdout());
    (tally, outcome.err())
}

fn stream(command: &mut Command, tally: &mut Tally, shown: &mut impl Write) -> anyhow::Result<()> {
    let name = crate::process::line(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting `{name}`"))?;
    let output = child.stdout.take().context("no pipe from the test runner")?;
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        // Bytes, not text: a test may print anything.
        if output.read_until(b'\n', &mut line).context("reading test output")? == 0 {
            break;
        }
        // Whether anybody reads along does not change the result.
        let _ = shown.write_all(&line).and_then(|()| shown.flush());
        let text = String::from_utf8_lossy(&line);
        if let Some(counts) = Tally::parse(text.trim_end()) {
            tally.add(&counts);
        }
        tally.failures.extend(failure(text.trim_end()).map(str::to_owned));
    }
    let status = child.wait().with_context(|| format!("waiting for `{name}`"))?;
    anyhow::ensure!(status.success(), "`{name}` failed ({status})");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_gives_its_counts() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 7 filtered \
                    out; finished in 0.05s";
        let tally = Tally { passed: 12, failed: 3, ignored: 1, ..Tally::default() };
        assert_eq!(Tally::parse(line), Some(tally));
    }

    #[test]
    fn a_second_run_tells_the_flaky_from_the_failed() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut tally =
            Tally { passed: 5, failed: 2, failures: names(&["a::b", "c"]), ..Tally::default() };
        let again = Tally { passed: 1, failed: 1, failures: names(&["c"]), ..Tally::default() };
        tally.settle(&again);
        assert_eq!((tally.passed, tally.failed), (6, 1));
        assert_eq!(tally.failures, ["c"]);
        assert_eq!(tally.flaky, ["a::b"]);
    }

    #[test]
    fn a_failed_test_is_known_by_name() {
        assert_eq!(failure("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(failure("test a::b ... ok"), None);
        assert_eq!(failure("test result: FAILED. 1 passed"), None);
    }

    #[test]
    fn other_lines_give_nothing() {
        for line in ["", "test a ... ok", "test result: ", "running 3 tests", "3 passed; 0 failed"]
        {
            assert_eq!(Tally::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_runner_is_counted_even_if_it_fails() {
        let script = "printf 'test result: ok. 2 passed; 0 failed; 0 ignored; x\\n\\377\\n'; \
                      printf 'test b ... FAILED\\n'; \
                      printf 'test result: FAILED. 1 passed; 1 failed; 0 ignored; x\\n'; exit 1";
        // Not shown: whoever runs this test counts such lines too.
        let (mut tally, mut shown) = (Tally::default(), Vec::new());
        let mut command = Command::new("sh");
        let outcome = stream(command.args(["-c", script]), &mut tally, &mut shown);
        assert_eq!((tally.passed, tally.failed, tally.ignored), (3, 1, 0));
        assert_eq!(tally.failures, ["b"]);
        assert!(outcome.is_err());
        assert!(shown.windows(2).any(|bytes| bytes == b"\xff\n"));
    }
}
