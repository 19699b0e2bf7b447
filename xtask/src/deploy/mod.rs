//! The tests of what installs strata: Helm chart, manifests, dashboards.
//!
//! Separate from the other stages because tools have to be had first that are
//! no packages of Debian: Helm itself, and the schemas of Kubernetes. Each is
//! fetched once, into `target/tools`; what cannot be had is skipped by the
//! tests that need it.

mod tools;

use std::process::Command;

use anyhow::Result;

use crate::{place, process};

/// The test binary.
pub(crate) const TARGET: &str = "--test=deploy";

/// Tells tests where the tools are; says why one is missing.
pub(crate) fn provide(command: &mut Command) {
    // Side by side: one waits for a compiler, the other for the network.
    let outcomes = std::thread::scope(|scope| {
        tools::TOOLS.map(|tool| (tool, scope.spawn(move || tool.ensure()))).map(|(tool, thread)| {
            let panicked = |_| Err(anyhow::anyhow!("the thread that fetches it died"));
            (tool, thread.join().unwrap_or_else(panicked))
        })
    });
    for (tool, outcome) in outcomes {
        match outcome {
            Ok(path) => {
                command.env(tool.variable, path);
            }
            Err(error) => println!("{} cannot be had: {error:#}", tool.name),
        }
    }
    if let Some(kubectl) = place::command("kubectl") {
        command.env("STRATA_KUBECTL", kubectl);
    }
}

/// Writes the golden renders of the chart anew.
pub(crate) fn bless() -> Result<()> {
    let mut command = process::cargo();
    command.args(["test", "--release", "--quiet", "--package=tests", TARGET, "golden"]);
    provide(command.env("STRATA_BLESS", "1"));
    process::run(&mut command)
}
