//! `bench`: builds the agent and what measures it, runs it, and puts the
//! budget's table into the README if told to.
//!
//! Separate from the measuring itself, which lies with the clients and
//! workloads of the tests: here is only what needs cargo and the repository.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::{UsageError, build, place, process, setup, splice};

/// Name of the table in the README.
const TABLE: &str = "cost";

/// The test that says what a scrape costs.
const SCRAPE_TEST: &str = "what_a_full_scrape_costs";

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// About three minutes instead of fifteen.
    is_quick: bool,
    /// Replace the table in the README.
    writes_readme: bool,
}

impl Options {
    /// Reads the words after `bench`.
    pub(crate) fn parse(words: &[String]) -> Result<Self, UsageError> {
        let mut options = Self::default();
        for word in words {
            match word.as_str() {
                "--quick" => options.is_quick = true,
                "--write-readme" => options.writes_readme = true,
                unknown => return Err(UsageError(format!("unknown option `{unknown}`"))),
            }
        }
        Ok(options)
    }
}

/// Measures, and prints the tables.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(place::is_root(), "the bench loads kernel programs: run it as root");
    anyhow::ensure!(
        !build::is_without_kernel_programs(),
        "AYA_BUILD_SKIP leaves out what is to be measured"
    );
    let readme = place::repository().join("README.md");
    if options.writes_readme {
        // Before a quarter of an hour is spent.
        splice::replace(&read(&readme)?, TABLE, "")?;
    }
    setup::ensure_toolchain()?;
    setup::ensure_packages()?;
    // The packages of `test`, so that cargo compiles nothing anew.
    let packages = ["agent", "agent-common", "xtask", "tests"].map(|it| format!("--package={it}"));
    process::run(process::cargo().args(["build", "--release", "--bins"]).args(&packages))?;
    let scrapes = scrapes(process::cargo().args(["test", "--release", "--lib"]).args(&packages))?;

    let summary = place::target().join("bench-summary.md");
    let mut command = Command::new(place::target().join("release/strata-bench"));
    command.arg("--summary").arg(&summary).args(options.is_quick.then_some("--quick"));
    for (format, milliseconds) in &scrapes {
        command.arg("--scrape").arg(format!("{format}={milliseconds}"));
    }
    // Daemons and Go are not in everybody's `PATH`; setup finds them all the same.
    let path = std::env::join_paths(place::search_path()).context("making a search path")?;
    process::run(command.env("PATH", path))?;

    if options.writes_readme {
        let text = splice::replace(&read(&readme)?, TABLE, &read(&summary)?)?;
        std::fs::write(&readme, text).context("writing README.md")?;
        println!("README.md has the new table");
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

/// CPU milliseconds of a scrape by format.
fn scrapes(command: &mut Command) -> anyhow::Result<Vec<(String, f64)>> {
    let said = process::output(command.args([SCRAPE_TEST, "--", "--nocapture"]))?;
    let found: Vec<_> = said.lines().filter_map(scrape).collect();
    anyhow::ensure!(!found.is_empty(), "the test {SCRAPE_TEST} printed no times");
    Ok(found)
}

/// A line like `OpenMetrics gzip   12.34 ms   123456 bytes`.
fn scrape(line: &str) -> Option<(String, f64)> {
    let (before, _) = line.split_once(" ms ")?;
    let (format, milliseconds) = before.rsplit_once(' ')?;
    Some((format.trim().to_owned(), milliseconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_scrape_test_is_read() {
        let line = "text 0.0.4 gzip      12.34 ms    123456 bytes";
        assert_eq!(scrape(line), Some(("text 0.0.4 gzip".to_owned(), 12.34)));
        assert_eq!(scrape("30000 series; mean of 30, CPU milliseconds on one thread"), None);
    }
}
