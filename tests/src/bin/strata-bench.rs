//! `strata-bench`: measures everything and prints the tables.
//!
//! Separate program, built together with the agent by `cargo xtask bench`,
//! so that the library's clients, clean-up and workloads serve here too.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use tests::bench::report::{Findings, NODE, PACED};
use tests::bench::windows::{self, Load};
use tests::bench::{Effort, conditions, fleet, lanes, micro, paired, response};
use tests::{apps, sys};

const USAGE: &str = "\
usage: strata-bench [--quick] [--scrape FORMAT=MILLISECONDS]... [--summary FILE]

Prints the budget's table and what stands behind it; --summary writes the
first alone to a file.";

struct Options {
    effort: Effort,
    scrapes: Vec<(String, f64)>,
    summary: Option<String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self { effort: Effort::FULL, scrapes: Vec::new(), summary: None };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.effort = Effort::QUICK,
                "--scrape" => {
                    let value = args.next().context("--scrape needs a value")?;
                    let (format, ms) = value.split_once('=').context("want FORMAT=MILLISECONDS")?;
                    options.scrapes.push((format.to_owned(), ms.parse()?));
                }
                "--summary" => {
                    options.summary = Some(args.next().context("--summary needs a file")?)
                }
                other => anyhow::bail!("unknown option {other}"),
            }
        }
        Ok(options)
    }
}

fn measure(options: &Options) -> anyhow::Result<Findings> {
    let start = Instant::now();
    let say = |what: &str| {
        // Progress: nobody is hurt if it cannot be shown.
        let _ = writeln!(io::stderr(), "bench: {:4} s: {what}", start.elapsed().as_secs());
    };
    let effort = &options.effort;
    anyhow::ensure!(sys::is_root(), "the bench needs root");
    anyhow::ensure!(apps::has_go(), "the bench needs Go");

    let conditions = conditions::describe();
    let before = conditions::Ticks::now().context("reading /proc/stat")?;
    // Whatever else this machine does disturbs all of it less; all that is
    // measured inherits it alike.
    sys::take_precedence().context("taking precedence over other processes")?;
    let sets: Vec<_> = lanes::TOGETHER.into_iter().chain(lanes::EACH).collect();
    let micro = micro::run(effort, &sets, &say)?;

    let app = windows::pinned_server()?;
    let mut pairs = Vec::new();
    let mut choices = lanes::TOGETHER.to_vec();
    if effort.has_each_lane {
        choices.extend(lanes::EACH);
    }
    for load in [Load::Saturated, Load::Paced(PACED)] {
        for set in &choices {
            pairs.push(paired::run(effort, *set, load, &app, &say)?);
        }
    }
    say("kernel programs");
    let mut programs = Vec::new();
    let agent = lanes::EVERY.start(app.addr().port())?;
    for load in [Load::Saturated, Load::Paced(PACED), Load::Paced(NODE)] {
        programs.push((load, paired::program_costs(&agent, load, &app, effort)?));
    }
    drop(agent);
    app.stop()?;

    let mut counted = Vec::new();
    for load in [Load::Paced(20_000.0), Load::Saturated] {
        counted.push((load, response::counted(load, effort, &say)?));
    }
    let visible = response::visible(effort, &say)?;
    let fleet = fleet::run(effort, &say)?;
    say("done");
    let after = conditions::Ticks::now().context("reading /proc/stat")?;
    Ok(Findings {
        conditions,
        others: after.of_others_since(before),
        micro,
        pairs,
        programs,
        fleet,
        visible,
        counted,
        scrapes: options.scrapes.clone(),
    })
}

fn run() -> anyhow::Result<()> {
    let options = Options::parse(std::env::args().skip(1)).context(USAGE)?;
    let findings = measure(&options)?;
    let summary = findings.budget_table();
    writeln!(io::stdout(), "{summary}{}", findings.details())?;
    if let Some(file) = &options.summary {
        std::fs::write(file, summary).with_context(|| format!("writing {file}"))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "strata-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
