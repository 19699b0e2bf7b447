//! The binary as it is called: exit codes, and the clean-up process.
//!
//! Separate from the unit tests because these need the finished program.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};

fn xtask(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(words).output().unwrap()
}

#[test]
fn a_command_line_that_makes_no_sense_shows_the_usage_and_exits_2() {
    for words in [
        &[][..],
        &["frobnicate"],
        &["build", "--fast"],
        &["setup", "all"],
        &["demo", "--seconds", "soon"],
        &["test", "--stage", "none"],
        &["vm", "5.4"],
        &["tidy", "--fix"],
    ] {
        let output = xtask(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stdout.is_empty(), "{words:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("Usage: cargo xtask"),
            "{words:?}"
        );
    }
}

#[test]
fn help_names_every_verb() {
    let output = xtask(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for verb in ["setup", "build", "demo", "test", "vm", "tidy"] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb}");
    }
}

fn janitor() -> Child {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("__janitor")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn when_the_pipe_closes_processes_are_stopped_and_files_removed() {
    let directory = std::env::temp_dir().join(format!("strata-verbs-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("deep")).unwrap();
    let mut polite = Command::new("sleep").arg("60").spawn().unwrap();
    let mut spared = Command::new("sleep").arg("60").spawn().unwrap();

    let mut janitor = janitor();
    let mut orders = janitor.stdin.take().unwrap();
    writeln!(orders, "remove {}\nstop {}", directory.display(), polite.id()).unwrap();
    assert!(directory.exists() && polite.try_wait().unwrap().is_none());
    drop(orders);
    assert!(janitor.wait().unwrap().success());

    assert!(!directory.exists());
    assert!(!polite.wait().unwrap().success());
    assert!(spared.try_wait().unwrap().is_none());
    spared.kill().unwrap();
    spared.wait().unwrap();
}

#[test]
fn an_order_that_it_does_not_know_is_an_error_and_harms_nothing() {
    let mut janitor = janitor();
    writeln!(janitor.stdin.take().unwrap(), "paint the shed").unwrap();
    assert_eq!(janitor.wait().unwrap().code(), Some(1));
}
