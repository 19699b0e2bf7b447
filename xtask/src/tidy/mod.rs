//! `tidy`: the rules of the house that a machine can check.
//!
//! Separate from clippy because they are about this project: its rooms, its
//! names, its prose. Each rule is a pure function over text, in a file of its
//! own; this one reads the repository and prints what they find.

mod dependencies;
mod files;
mod heads;
mod imports;
mod layout;
mod names;
mod paths;
mod prose;
mod source;

use std::process::Command;

use crate::{UsageError, process, setup};
use files::File;

/// What was asked for on the command line.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Regenerate committed files rather than check.
    pub(crate) is_bless: bool,
}

impl Options {
    /// Reads the words after `tidy`.
    pub(crate) fn parse(words: &[String]) -> Result<Self, UsageError> {
        let mut options = Self::default();
        for word in words {
            match word.as_str() {
                "--bless" => options.is_bless = true,
                unknown => return Err(UsageError(format!("unknown option `{unknown}`"))),
            }
        }
        Ok(options)
    }
}

/// Something that breaks a rule, or soon will.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    message: String,
    is_warning: bool,
}

impl Problem {
    fn error(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into(), is_warning: false }
    }

    fn warning(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { is_warning: true, ..Self::error(path, line, message) }
    }
}

/// Checks the repository, or regenerates what is generated in it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.is_bless {
        return bless();
    }
    let files = files::read()?;
    let problems = check(&files);
    for problem in &problems {
        let kind = if problem.is_warning { "warning" } else { "error" };
        println!("{}:{}: {kind}: {}", problem.path, problem.line, problem.message);
    }
    let errors = problems.iter().filter(|problem| !problem.is_warning).count();
    anyhow::ensure!(errors == 0, "{errors} house rules broken");
    println!("tidy: {} files in order", files.len());
    Ok(())
}

/// Every rule on every file.
fn check(files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files {
        if file.path.ends_with(".rs") {
            problems.extend(heads::check(&file.path, &file.text));
            problems.extend(imports::check(&file.path, &file.text));
        }
        problems.extend(prose::check(&file.path, &file.text));
    }
    problems.extend(dependencies::check(files));
    problems.extend(names::check(files));
    problems.extend(layout::check(files));
    problems
}

/// Runs the tests that write committed files, then says which changed.
fn bless() -> anyhow::Result<()> {
    if !crate::build::is_without_kernel_programs() {
        setup::ensure_toolchain()?;
    }
    process::run(
        process::cargo()
            .args(["test", "--release", "--quiet", "--no-fail-fast"])
            .args(["--package=agent", "--package=agent-common"])
            .env("STRATA_BLESS", "1"),
    )?;
    crate::deploy::bless()?;
    println!("tidy: regenerated; against the index:");
    process::run(files::git(&mut Command::new("git")).args(["status", "--short", "--", "."]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_rule_is_found_in_the_right_file() {
        let files = [
            File { path: "agent/src/event/mod.rs".into(), text: "//! Events.\n".into() },
            File { path: "agent/src/sys/mod.rs".into(), text: "fn f() {}\n".into() },
        ];
        let problems = check(&files);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            problems.first().map(|problem| problem.path.as_str()),
            Some("agent/src/sys/mod.rs")
        );
    }
}
