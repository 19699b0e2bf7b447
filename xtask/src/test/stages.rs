//! The table of stages: what `test` runs, in order. A new stage is a new row.
//!
//! Separate so that what CI checks can be read in one place. Everything is
//! built with the release profile and for the same set of packages, so that
//! cargo compiles each dependency once.

use std::process::{Command, Stdio};

use super::Options;
use super::skips::{self, Skips};
use super::tally::{self, Tally};
use crate::cluster::Cluster;
use crate::{build, client, deploy, place, process, tidy, vm};

/// Packages that run on the host. Every stage names all of them, or those with
/// the most features: another choice would make cargo compile anew.
const HOST_PACKAGES: [&str; 4] = ["agent", "agent-common", "xtask", "tests"];

/// Failed tests that are run again: more are no accident.
const MAX_AGAIN: usize = 3;

/// What a stage is given.
pub(super) struct Context<'a> {
    pub(super) options: &'a Options,
    pub(super) skips: &'a Skips,
}

/// What a stage needs of the machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// The kernel programs in the agent.
    KernelPrograms,
    /// Those, and leave to load them.
    Root,
    /// All that, and a cluster that is named or can be brought up.
    Cluster,
}

/// One row.
pub(super) struct Stage {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Whether it runs tests that a filter can select.
    pub(super) has_tests: bool,
    /// An earlier stage without which this one makes no sense.
    pub(super) after: Option<&'static str>,
    needs: Needs,
    pub(super) run: fn(&Context<'_>) -> (Tally, Option<anyhow::Error>),
}

/// Every stage: quick ones first.
pub(super) const STAGES: &[Stage] = &[
    Stage {
        name: "fmt",
        what: "the formatter would change nothing",
        has_tests: false,
        after: None,
        needs: Needs::Nothing,
        run: |_| check(process::cargo().args(["fmt", "--all", "--check"])),
    },
    Stage {
        name: "tidy",
        what: "the house rules",
        has_tests: false,
        after: None,
        needs: Needs::Nothing,
        run: |_| (Tally::default(), tidy::run(&tidy::Options::default()).err()),
    },
    Stage {
        name: "clippy",
        what: "lints of everything that runs on the host",
        has_tests: false,
        after: None,
        needs: Needs::Nothing,
        run: |_| {
            let mut command = process::cargo();
            command.args(["clippy", "--release", "--all-targets"]);
            check(with_packages(&mut command, &HOST_PACKAGES).args(["--", "--deny", "warnings"]))
        },
    },
    Stage {
        name: "client",
        what: "`kubectl strata` builds without the agent, also for other platforms",
        has_tests: false,
        after: None,
        needs: Needs::Nothing,
        run: |_| (Tally::default(), client::run().err()),
    },
    Stage {
        name: "clippy-bpf",
        what: "lints of the kernel programs",
        has_tests: false,
        after: None,
        needs: Needs::KernelPrograms,
        // Apart from the host's: the two cannot share one choice of features.
        run: |_| {
            check(process::cargo().args([
                "clippy",
                "--release",
                "--package=agent-ebpf",
                "--target=bpfel-unknown-none",
                "-Zbuild-std=core",
                "--",
                "--deny",
                "warnings",
            ]))
        },
    },
    Stage {
        name: "docs",
        what: "the documentation builds, and its links lead somewhere",
        has_tests: false,
        after: None,
        needs: Needs::Nothing,
        run: |_| {
            let mut command = process::cargo();
            command
                .args(["doc", "--release", "--no-deps", "--document-private-items"])
                .env("RUSTDOCFLAGS", "--deny warnings");
            check(with_packages(&mut command, &HOST_PACKAGES))
        },
    },
    Stage {
        name: "unit",
        what: "tests that need nothing",
        has_tests: true,
        after: None,
        needs: Needs::Nothing,
        run: |context| {
            let mut targets = vec!["--lib".to_owned(), "--bins".to_owned()];
            targets.extend(integration_tests());
            let (mut tally, error) = tests(context, &HOST_PACKAGES, &targets, &[]);
            let (examples, second) =
                tests(context, &["agent", "agent-common"], &["--doc".to_owned()], &[]);
            tally.add(&examples);
            (tally, error.or(second))
        },
    },
    Stage {
        name: "deploy",
        what: "the chart and the manifests",
        has_tests: true,
        after: None,
        needs: Needs::Nothing,
        run: |context| {
            let targets = [deploy::TARGET.to_owned()];
            let mut command = test_command(context, &HOST_PACKAGES, &targets, &[]);
            deploy::provide(&mut command);
            tally::run(&mut command)
        },
    },
    Stage {
        name: "build",
        what: "the agent as it is shipped",
        has_tests: false,
        after: None,
        needs: Needs::Nothing,
        run: |_| (Tally::default(), build::run().err()),
    },
    Stage {
        name: "kernel",
        what: "kernel programs on this kernel",
        has_tests: true,
        after: Some("build"),
        needs: Needs::Root,
        run: |context| timed(|names| Ok(tally::run(&mut timed_command(context, "kernel", names)))),
    },
    Stage {
        name: "e2e",
        what: "the agent among real servers and clients",
        has_tests: true,
        after: Some("build"),
        needs: Needs::Root,
        run: |context| timed(|names| Ok(tally::run(&mut timed_command(context, "e2e", names)))),
    },
    Stage {
        name: "vm",
        what: "the agent on other kernels, in emulation",
        has_tests: false,
        after: Some("build"),
        needs: Needs::Root,
        run: guests,
    },
    Stage {
        name: "cluster",
        what: "the agent as a DaemonSet of a Kubernetes cluster",
        has_tests: true,
        after: Some("build"),
        needs: Needs::Cluster,
        run: on_cluster,
    },
];

impl Stage {
    /// Whether it will run real servers and tools on this machine.
    pub(super) fn needs_packages(&self) -> bool {
        matches!(self.needs, Needs::Root | Needs::Cluster) && self.reason_to_skip().is_none()
    }

    /// Why it cannot run here, if so.
    pub(super) fn reason_to_skip(&self) -> Option<&'static str> {
        match self.needs {
            Needs::KernelPrograms | Needs::Root | Needs::Cluster
                if build::is_without_kernel_programs() =>
            {
                Some("AYA_BUILD_SKIP leaves the kernel programs out")
            }
            Needs::Root | Needs::Cluster if !place::is_root() => {
                Some("not root: kernel programs cannot be loaded")
            }
            Needs::Cluster if Cluster::find().is_none() => Some(
                "no Kubernetes cluster: KUBECONFIG names none, and there is no lab to bring one up",
            ),
            _ => None,
        }
    }
}

/// A stage that is one command without tests.
fn check(command: &mut Command) -> (Tally, Option<anyhow::Error>) {
    (Tally::default(), process::run(command).err())
}

/// A stage that runs tests: cargo's choice of targets, the runner's options.
fn tests(
    context: &Context<'_>,
    packages: &[&str],
    targets: &[String],
    runner: &[&str],
) -> (Tally, Option<anyhow::Error>) {
    tally::run(&mut test_command(context, packages, targets, runner))
}

/// The command of [`tests`].
fn test_command(
    context: &Context<'_>,
    packages: &[&str],
    targets: &[String],
    runner: &[&str],
) -> Command {
    let mut command = process::cargo();
    command.args(["test", "--release", "--no-fail-fast"]);
    with_packages(&mut command, packages).args(targets);
    command.args(&context.options.filter).arg("--").args(runner);
    command.env(skips::VARIABLE, context.skips.path());
    // Daemons are not in everybody's `PATH`; setup finds them all the same.
    if let Ok(path) = std::env::join_paths(place::search_path()) {
        command.env("PATH", path);
    }
    if context.options.is_strict {
        command.env("STRATA_STRICT", "1");
    }
    if context.options.is_full {
        command.env("STRATA_FULL", "1");
    }
    command
}

/// The tests of a cluster, once there is one.
fn on_cluster(context: &Context<'_>) -> (Tally, Option<anyhow::Error>) {
    let Some(cluster) = Cluster::find() else {
        return (Tally::default(), Some(anyhow::anyhow!("the cluster is gone")));
    };
    // Built before, for in the cluster's network there is nothing to fetch from.
    let targets = ["--test=cluster".to_owned()];
    let mut build = test_command(context, &HOST_PACKAGES, &targets, &[]);
    if let Err(error) = process::run(build.arg("--list").stdout(Stdio::null())) {
        return (Tally::default(), Some(error));
    }
    timed(|names| {
        cluster.test(timed_command(context, "cluster", names), context.options.is_full, tally::run)
    })
}

/// The command for tests whose outcome hangs on what else the machine does,
/// one at a time: all of a target, or the named ones.
fn timed_command(context: &Context<'_>, target: &str, names: &[String]) -> Command {
    let targets = [format!("--test={target}")];
    let mut command = test_command(context, &HOST_PACKAGES, &targets, &["--test-threads=1"]);
    if !names.is_empty() {
        command.arg("--exact").args(names);
    }
    command
}

/// Tests that share a real machine's clock with all that runs on it. Up to
/// [`MAX_AGAIN`] failed ones run once again; those that pass then are shown as
/// flaky, a defect to mend that does not hide whether the rest works.
fn timed(
    run: impl Fn(&[String]) -> anyhow::Result<(Tally, Option<anyhow::Error>)>,
) -> (Tally, Option<anyhow::Error>) {
    let (mut tally, error) = match run(&[]) {
        Ok(outcome) => outcome,
        Err(error) => return (Tally::default(), Some(error)),
    };
    let is_told = tally.failed == tally.failures.len() as u64;
    if tally.failed == 0 || !is_told || tally.failures.len() > MAX_AGAIN {
        return (tally, error);
    }
    println!("== again: {}", tally.failures.join(", "));
    let (again, second) = match run(&tally.failures) {
        Ok(outcome) => outcome,
        Err(second) => return (tally, Some(second)),
    };
    if again.passed + again.failed != tally.failed {
        return (tally, error);
    }
    tally.settle(&again);
    (tally, second)
}

/// The kernel matrix: each kernel counts as one test.
fn guests(context: &Context<'_>) -> (Tally, Option<anyhow::Error>) {
    let mut tally = Tally::default();
    let outcomes = match vm::run(&vm::KERNELS) {
        Ok(outcomes) => outcomes,
        Err(error) => return (tally, Some(error)),
    };
    let mut reports = Vec::new();
    for outcome in outcomes {
        match outcome {
            vm::Outcome::Reported(report) => reports.push(report),
            vm::Outcome::NotHad { kernel, error } => {
                let reason = format!("kernel {} cannot be had: {error:#}", kernel.series);
                println!("SKIPPED: {reason}");
                if let Err(error) = context.skips.add("vm", &reason.replace('\n', " ")) {
                    return (tally, Some(error));
                }
            }
        }
    }
    print!("{}", vm::table(&reports));
    for failures in reports.iter().map(vm::GuestReport::failures) {
        failures.iter().for_each(|failure| println!("FAILED: {failure}"));
        if failures.is_empty() { tally.passed += 1 } else { tally.failed += 1 }
    }
    (tally, None)
}

fn with_packages<'a>(command: &'a mut Command, packages: &[&str]) -> &'a mut Command {
    command.args(packages.iter().map(|package| format!("--package={package}")))
}

/// The integration tests that need no root, as cargo's options: those of every
/// crate but `tests`.
fn integration_tests() -> Vec<String> {
    let mut names = Vec::new();
    for package in ["agent", "agent-common", "xtask"] {
        // A package without the directory has none.
        let Ok(entries) = std::fs::read_dir(place::repository().join(package).join("tests")) else {
            continue;
        };
        let files = entries.flatten().map(|entry| entry.file_name());
        names
            .extend(files.filter_map(|file| {
                Some(format!("--test={}", file.to_str()?.strip_suffix(".rs")?))
            }));
    }
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run in which `failing` fail, of `count` tests.
    fn outcome(count: u64, failing: &[&str]) -> (Tally, Option<anyhow::Error>) {
        let failures: Vec<String> = failing.iter().map(|name| (*name).to_owned()).collect();
        let failed = failures.len() as u64;
        let error = (failed > 0).then(|| anyhow::anyhow!("failed"));
        (Tally { passed: count - failed, failed, failures, ..Tally::default() }, error)
    }

    #[test]
    fn what_fails_twice_fails_the_stage() {
        let (tally, error) = timed(|names| {
            Ok(if names.is_empty() { outcome(9, &["a", "b"]) } else { outcome(2, &["b"]) })
        });
        assert_eq!((tally.passed, tally.failed, tally.flaky), (8, 1, vec!["a".to_owned()]));
        assert!(error.is_some());
    }

    #[test]
    fn what_passes_again_is_flaky() {
        let (tally, error) =
            timed(|names| Ok(if names.is_empty() { outcome(9, &["a"]) } else { outcome(1, &[]) }));
        assert_eq!((tally.passed, tally.failed, tally.flaky), (9, 0, vec!["a".to_owned()]));
        assert!(error.is_none());
    }

    #[test]
    fn many_failures_and_tests_that_vanish_stand() {
        let (tally, error) = timed(|names| {
            assert!(names.is_empty());
            Ok(outcome(9, &["a", "b", "c", "d"]))
        });
        assert!(tally.failed == 4 && error.is_some());
        let (tally, error) =
            timed(|names| Ok(if names.is_empty() { outcome(9, &["a"]) } else { outcome(0, &[]) }));
        assert!(tally.failed == 1 && error.is_some());
    }

    #[test]
    fn the_integration_tests_are_found() {
        assert!(integration_tests().contains(&"--test=layout".to_owned()));
    }
}
