//! `accuracy`: builds the agent and what injects known times into requests, runs
//! it, and puts the confusion matrix into the README if told to.
//!
//! Separate from the injecting itself, which lies with the clients and
//! workloads of the tests: here is only what needs cargo and the repository.

use std::process::Command;

use anyhow::Context as _;

use crate::{UsageError, build, place, process, setup, splice};

/// Name of the table in the README.
const TABLE: &str = "accuracy";

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Fewer requests, of one size.
    is_quick: bool,
    /// Replace the table in the README.
    writes_readme: bool,
    /// Only scenes whose names begin so.
    scenes: Vec<String>,
}

impl Options {
    /// Reads the words after `accuracy`.
    pub(crate) fn parse(words: &[String]) -> Result<Self, UsageError> {
        let mut options = Self::default();
        for word in words {
            match word.as_str() {
                "--quick" => options.is_quick = true,
                "--write-readme" => options.writes_readme = true,
                unknown if unknown.starts_with('-') => {
                    return Err(UsageError(format!("unknown option `{unknown}`")));
                }
                scene => options.scenes.push(scene.to_owned()),
            }
        }
        if options.writes_readme && !options.scenes.is_empty() {
            return Err(UsageError("the README takes all scenes or none".to_owned()));
        }
        Ok(options)
    }
}

/// Injects, compares, and prints the tables.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(place::is_root(), "the agent loads kernel programs: run it as root");
    anyhow::ensure!(
        !build::is_without_kernel_programs(),
        "AYA_BUILD_SKIP leaves out what is to be judged"
    );
    let readme = place::repository().join("README.md");
    let text = std::fs::read_to_string(&readme).context("reading README.md")?;
    if options.writes_readme {
        // Before half an hour is spent.
        splice::replace(&text, TABLE, "")?;
    }
    setup::ensure_toolchain()?;
    setup::ensure_packages()?;
    // The packages of `test`, so that cargo compiles nothing anew.
    let packages = ["agent", "agent-common", "xtask", "tests"].map(|it| format!("--package={it}"));
    process::run(process::cargo().args(["build", "--release", "--bins"]).args(&packages))?;

    let summary = place::target().join("accuracy-summary.md");
    let mut command = Command::new(place::target().join("release/strata-accuracy"));
    command.arg("--summary").arg(&summary).args(options.is_quick.then_some("--quick"));
    // Daemons and Go are not in everybody's `PATH`; setup finds them all the same.
    let path = std::env::join_paths(place::search_path()).context("making a search path")?;
    process::run(command.args(&options.scenes).env("PATH", path))?;

    if options.writes_readme {
        let table = std::fs::read_to_string(&summary).context("reading the summary")?;
        let text = std::fs::read_to_string(&readme).context("reading README.md")?;
        std::fs::write(&readme, splice::replace(&text, TABLE, &table)?)
            .context("writing README.md")?;
        println!("README.md has the new table");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, UsageError> {
        Options::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn some_scenes_are_not_written_into_the_readme() {
        assert_eq!(parse(&["lock-c", "--quick"]).unwrap().scenes, ["lock-c"]);
        assert!(parse(&["--write-readme"]).unwrap().writes_readme);
        assert!(parse(&["--write-readme", "lock-c"]).is_err());
        assert!(parse(&["--fast"]).is_err());
    }
}
