//! `test`: every check of the project, stage by stage.
//!
//! Separate from the stages themselves: this runs them in order, keeps going
//! after a failure so that one run tells all, and adds everything up.

mod skips;
mod stages;
mod tally;

use std::time::{Duration, Instant};

use crate::{UsageError, build, setup};
use skips::Skips;
use stages::{STAGES, Stage};
use tally::Tally;

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Long tests too.
    pub(crate) is_full: bool,
    /// A skip is a failure, and so is a test that passed only when run again.
    pub(crate) is_strict: bool,
    /// Stages to run; empty for all.
    pub(crate) stages: Vec<String>,
    /// Part of the names of the tests to run.
    pub(crate) filter: Option<String>,
}

impl Options {
    /// Reads the words after `test`.
    pub(crate) fn parse(words: &[String]) -> Result<Self, UsageError> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--full" => options.is_full = true,
                "--strict" => options.is_strict = true,
                "--stage" => {
                    let names: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
                    match words.next() {
                        Some(name) if names.contains(&name.as_str()) => {
                            options.stages.push(name.clone());
                        }
                        _ => {
                            let names = names.join(", ");
                            return Err(UsageError(format!("`--stage` takes one of {names}")));
                        }
                    }
                }
                option if option.starts_with('-') => {
                    return Err(UsageError(format!("unknown option `{option}`")));
                }
                filter if options.filter.is_none() => options.filter = Some(filter.to_owned()),
                second => return Err(UsageError(format!("a second filter, `{second}`"))),
            }
        }
        Ok(options)
    }

    /// Whether a stage is to run. A filter names tests, so it leaves out the
    /// stages that have none.
    fn selects(&self, stage: &Stage) -> bool {
        let is_named = self.stages.iter().any(|name| name == stage.name);
        is_named || (self.stages.is_empty() && (self.filter.is_none() || stage.has_tests))
    }
}

/// How a stage ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Passed,
    Failed,
    Skipped,
    /// A stage that it builds on failed.
    NotRun,
}

/// A stage that is over.
struct Finished {
    name: &'static str,
    ending: Ending,
    took: Duration,
}

/// Runs the stages; fails if one of them failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let selected: Vec<&Stage> = STAGES.iter().filter(|stage| options.selects(stage)).collect();
    if !build::is_without_kernel_programs() {
        setup::ensure_toolchain()?;
    }
    if selected.iter().any(|stage| stage.needs_packages()) {
        setup::ensure_packages()?;
    }
    let skips = Skips::open()?;
    let context = stages::Context { options, skips: &skips };
    let mut total = Tally::default();
    let mut finished: Vec<Finished> = Vec::new();
    for stage in selected {
        println!("\n== {}: {}", stage.name, stage.what);
        let start = Instant::now();
        let is_blocked = finished
            .iter()
            .any(|before| Some(before.name) == stage.after && before.ending == Ending::Failed);
        let ending = if is_blocked {
            Ending::NotRun
        } else if let Some(reason) = stage.reason_to_skip() {
            println!("SKIPPED: {reason}");
            skips.add(stage.name, reason)?;
            Ending::Skipped
        } else {
            run_stage(stage, &context, &mut total)?
        };
        let took = start.elapsed();
        println!("== {}: {} after {}", stage.name, word(&ending), minutes(took));
        finished.push(Finished { name: stage.name, ending, took });
    }
    let skipped = skips.read()?;
    print!("{}", summary(&finished, &skipped, &total.flaky));
    let skips = skipped.len() as u64 + total.ignored;
    let flaky = total.flaky.len();
    println!("{} passed ({flaky} flaky), {} failed, {skips} skipped", total.passed, total.failed);
    conclude(options, &total, skips)
}

fn run_stage(
    stage: &Stage,
    context: &stages::Context<'_>,
    total: &mut Tally,
) -> anyhow::Result<Ending> {
    let (mut tally, error) = (stage.run)(context);
    if let Some(error) = &error {
        eprintln!("{}: {error:#}", stage.name);
        // What failed before a test could (a lint, a build) counts as one, so
        // that the last line never hides a failure.
        tally.failed = tally.failed.max(1);
    } else if stage.has_tests && tally.passed == 0 && context.options.filter.is_none() {
        context.skips.add(stage.name, "no test ran")?;
    }
    total.add(&tally);
    Ok(if error.is_some() || tally.failed > 0 { Ending::Failed } else { Ending::Passed })
}

/// The verdict of the whole run.
fn conclude(options: &Options, total: &Tally, skips: u64) -> anyhow::Result<()> {
    anyhow::ensure!(total.failed == 0, "{} failed", total.failed);
    anyhow::ensure!(!options.is_strict || skips == 0, "{skips} skipped, and --strict allows none");
    let flaky = total.flaky.len();
    anyhow::ensure!(!options.is_strict || flaky == 0, "{flaky} flaky, and --strict allows none");
    if let Some(filter) = &options.filter {
        anyhow::ensure!(total.passed > 0, "no test that ran has `{filter}` in its name");
    }
    Ok(())
}

fn summary(finished: &[Finished], skipped: &[String], flaky: &[String]) -> String {
    let mut text = String::from("\nstage        result    took\n");
    for stage in finished {
        let ending = word(&stage.ending);
        text.push_str(&format!("{:12} {ending:9} {}\n", stage.name, minutes(stage.took)));
    }
    let total = finished.iter().map(|stage| stage.took).sum();
    text.push_str(&format!("{:22} {}\n", "", minutes(total)));
    let lists = [("skipped", skipped), ("flaky (failed once, passed when run again)", flaky)];
    for (what, lines) in lists.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        text.push_str(&format!("\n{what}:\n"));
        for line in lines {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text.push('\n');
    text
}

const fn word(ending: &Ending) -> &'static str {
    match ending {
        Ending::Passed => "ok",
        Ending::Failed => "FAILED",
        Ending::Skipped => "skipped",
        Ending::NotRun => "not run",
    }
}

fn minutes(duration: Duration) -> String {
    format!("{:.1} min", duration.as_secs_f64() / 60.0)
}

#[cfg(test)]
mod tests;
