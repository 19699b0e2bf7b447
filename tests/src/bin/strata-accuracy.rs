//! `strata-accuracy`: injects known times into requests, and compares them with
//! what the agent says.
//!
//! Separate program, built together with the agent by `cargo xtask accuracy`,
//! so that the library's clients, clean-up and workloads serve here too.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use tests::accuracy::matrix::{self, Row};
use tests::accuracy::rig::{self, Effort, Scene};
use tests::accuracy::scenes;
use tests::sys;

const USAGE: &str = "\
usage: strata-accuracy [--quick] [--list] [--summary FILE] [SCENE]...

Prints the confusion matrix and every number behind it; SCENE selects scenes by
the beginning of their names, --summary writes the matrix alone to a file.";

#[derive(Default)]
struct Options {
    is_quick: bool,
    lists: bool,
    summary: Option<String>,
    scenes: Vec<String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.is_quick = true,
                "--list" => options.lists = true,
                "--summary" => {
                    options.summary = Some(args.next().context("--summary needs a file")?);
                }
                other if other.starts_with('-') => anyhow::bail!("unknown option {other}"),
                name => options.scenes.push(name.to_owned()),
            }
        }
        Ok(options)
    }

    fn selects(&self, scene: &Scene) -> bool {
        self.scenes.is_empty() || self.scenes.iter().any(|name| scene.name.starts_with(name))
    }
}

fn run() -> anyhow::Result<()> {
    let options = Options::parse(std::env::args().skip(1)).context(USAGE)?;
    if options.lists {
        for scene in scenes::ALL {
            writeln!(io::stdout(), "{:14} {}", scene.name, scene.what)?;
        }
        return Ok(());
    }
    anyhow::ensure!(sys::is_root(), "to load kernel programs takes root");
    let effort = if options.is_quick { Effort::QUICK } else { Effort::FULL };
    let start = Instant::now();
    let mut rows = Vec::new();
    for scene in scenes::ALL.iter().filter(|scene| options.selects(scene)) {
        // Progress: nobody is hurt if it cannot be shown.
        let seconds = start.elapsed().as_secs();
        let _ = writeln!(io::stderr(), "accuracy: {seconds:4} s: {}", scene.what);
        let result = match (scene.lacks)() {
            Some(why) => Err(why),
            None => rig::run(scene, &effort).map_err(|error| format!("{error:#}")),
        };
        rows.push(Row { name: scene.name, what: scene.what, parts: scene.parts, result });
    }
    anyhow::ensure!(!rows.is_empty(), "no scene is called so; --list shows their names");
    let summary = summary(&effort, &rows);
    writeln!(io::stdout(), "{summary}\n{}", matrix::details(&rows))?;
    if let Some(file) = &options.summary {
        std::fs::write(file, summary).with_context(|| format!("writing {file}"))?;
    }
    Ok(())
}

fn summary(effort: &Effort, rows: &[Row]) -> String {
    let met = rows.iter().filter(|row| row.is_met()).count();
    format!(
        "Percent of 20 ms that were injected into {} of {} requests, chosen at random, by the part \
         in which the agent shows them: difference of means against the untouched ones.\n\
         *Met*: for every size ({} ms) the 95 % interval meets 0.9 to 1.1 of what the workload \
         itself measured, from 20 ms on less than 5 % of it is shown elsewhere, and each request is \
         shown once. {met} of {} are.\n\n{}",
        effort.requests,
        effort.requests * 2,
        effort.sizes_ms.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
        rows.len(),
        matrix::confusion(rows)
    )
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "strata-accuracy: {error:#}");
            ExitCode::FAILURE
        }
    }
}
