//! The `kubectl-strata` binary, which kubectl runs as `kubectl strata`.
//!
//! Separate from `strata` because it is for people who are not on a node: it
//! has no engine, and builds where Linux is not.

use std::process::ExitCode;

use agent::cli::{exit, plugin};

fn main() -> ExitCode {
    exit::report(plugin::run(std::env::args_os()))
}
