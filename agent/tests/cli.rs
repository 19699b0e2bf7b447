//! The binary as a shell sees it: what is on stdout and on stderr, and how it ends.
//!
//! Separate from the unit tests because exit codes, pipes and the environment
//! exist only around a process.

#![expect(clippy::unwrap_used, reason = "a test ends where anything is not as it should be")]

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use agent::config::{Config, KEYS, Key, sample_yaml};

fn strata(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    strata(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs it, wants this exit code and nothing on stdout, and gives stderr.
fn refused(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    assert!(stderr.starts_with("strata: "), "{arguments:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

fn write(directory: &tempfile::TempDir, text: &str) -> String {
    let path = directory.path().join("strata.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_bad_flag_or_verb_is_2_and_names_the_nearest() {
    assert!(refused(&["agent", "--lisen", "127.0.0.1:1"], 2).contains("'--listen'"));
    assert!(refused(&["agent", "--watch-hosts"], 2).contains("'--watch-host'"));
    assert!(refused(&["agnet"], 2).contains("'agent'"));
    assert!(refused(&["metrics", "-o", "jsn"], 2).contains("'json'"));
    refused(&["metrics", "--listen", "127.0.0.1:1"], 2);
}

#[test]
fn a_bad_value_of_a_flag_is_2_and_says_what_would_do() {
    let stderr = refused(&["config", "check", "--port", "80,99999"], 2);
    assert_eq!(stderr, "strata: --port: `watch.ports` `99999` is out of bounds: 1 to 65535\n");
}

#[test]
fn an_unknown_key_is_2_and_every_mistake_has_a_line_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory, "watch:\n  hots: true\nring:\n  bytes: 5\n");
    let stderr = refused(&["agent", "--config", &path], 2);
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert_eq!(
        lines[0],
        format!(
            "strata: {path}:2: unknown key `watch.hots`; the nearest valid one is `watch.host`"
        )
    );
    assert!(lines[1].starts_with(&format!("strata: {path}:4: `ring.bytes`")), "{stderr}");
}

#[test]
fn an_unknown_variable_is_2_and_names_the_nearest() {
    let output = strata(&["config", "check"]).env("STRATA_WATCH_PORT", "80").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).ends_with("the nearest valid one is STRATA_WATCH_PORTS\n"));
}

#[test]
fn a_file_that_cannot_be_read_is_1_and_named() {
    let stderr = refused(&["agent", "--config", "/nowhere/strata.yaml"], 1);
    assert!(stderr.contains("/nowhere/strata.yaml: No such file"), "{stderr}");
}

#[test]
fn no_verb_is_2_and_shows_the_verbs() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("Where did each"));
    assert!(text(&output.stderr).contains("\n  agent "));
}

#[test]
fn help_and_version_are_data_and_short_help_is_one_screen() {
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(text(&version.stdout), format!("strata {}\n", env!("CARGO_PKG_VERSION")));
    for verb in [&["agent"][..], &["check"], &["top"], &["config", "check"]] {
        let help = run(&[verb, &["-h"]].concat());
        assert_eq!(help.status.code(), Some(0));
        assert_eq!(text(&help.stderr), "");
        let lines = text(&help.stdout).lines().count();
        assert!(lines <= 40, "{verb:?} -h has {lines} lines");
        assert!(!text(&help.stdout).contains("--ring-bytes"));
    }
}

#[test]
fn long_help_has_the_flag_of_every_key_with_its_default() {
    let help = text(&run(&["agent", "--help"]).stdout);
    for key in KEYS {
        assert!(help.contains(&format!("--{}", key.flag())), "{key:?}");
        for value in key.show(&Config::default()) {
            assert!(help.contains(&value), "{key:?}: {value}");
        }
    }
    assert!(help.contains("Configuration:"), "{help}");
}

#[test]
fn help_has_no_colours_in_a_pipe() {
    for variable in [("TERM", "xterm"), ("NO_COLOR", "1")] {
        let help = strata(&["-h"]).envs([variable]).output().unwrap();
        assert!(!text(&help.stdout).contains('\x1b'));
    }
}

#[test]
fn what_is_set_is_shown_with_what_set_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory, "watch:\n  ports: [80]\n  comms: [nginx]\n");
    let output = strata(&["config", "check", "--port", "8080", "--port", "8081", "--watch-host"])
        .envs([("STRATA_CONFIG", path.as_str()), ("STRATA_OFF", "true")])
        .output()
        .unwrap();
    assert_eq!(text(&output.stderr), "");
    let rows: Vec<Vec<String>> = text(&output.stdout)
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect();
    let file = format!("{path}:3");
    assert_eq!(
        rows,
        [
            ["KEY", "VALUE", "SET", "BY"].as_slice(),
            &["off", "true", "STRATA_OFF"],
            &["watch.host", "true", "--watch-host"],
            &["watch.ports", "8080,8081", "--port"],
            &["watch.comms", "nginx", &file],
        ]
    );
    let json = run(&["config", "check", "-o", "json", "--config", &path]);
    let objects: Vec<serde_json::Value> =
        text(&json.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["key"], "watch.ports");
    assert_eq!(objects[0]["value"], serde_json::json!(["80"]));
}

#[test]
fn every_key_has_its_flag_on_the_command_line() {
    for key in KEYS {
        let value = key.show(&Config::default()).join(",");
        let argument = format!("--{}={value}", key.flag());
        let output = run(&["config", "check", "-o", "json", &argument]);
        assert_eq!(text(&output.stderr), "", "{argument}");
        let set: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(set["key"], key.name);
        assert_eq!(output.status.code(), Some(0));
    }
    for key in KEYS.iter().filter(|key| Key::is_boolean(key)) {
        let output = run(&["config", "check", "-o", "json", &format!("--{}", key.flag())]);
        let set: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(set["value"], "true", "{key:?}");
    }
}

#[test]
fn the_default_file_is_printed_and_is_valid() {
    let output = run(&["config", "print-default"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), sample_yaml());
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory, &text(&output.stdout));
    assert_eq!(run(&["config", "check", "--config", &path]).status.code(), Some(0));
}

#[test]
fn a_reader_that_is_gone_is_0_without_a_word() {
    for arguments in [&["config", "print-default"][..], &["config", "check"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = strata(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
        assert_eq!(stderr, "", "{arguments:?}");
    }
}

#[test]
fn a_full_disk_under_stdout_is_1_and_said() {
    if !Path::new("/dev/full").exists() {
        panic!("/dev/full is missing, which every Linux has");
    }
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = strata(&["config", "print-default"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("strata: writing to stdout: "));
}

#[test]
fn a_screen_without_a_terminal_is_2_and_once_is_named() {
    let stderr = refused(&["top"], 2);
    assert!(stderr.contains("--once"), "{stderr}");
}

#[test]
fn an_interval_out_of_bounds_is_2_and_the_bounds_are_named() {
    for bad in ["10ms", "2m", "1"] {
        refused(&["top", "--once", "--interval", bad], 2);
    }
    assert!(refused(&["top", "--once", "--interval", "10ms"], 2).contains("100ms to 1m"));
}

#[test]
fn check_says_something_of_every_lane_wherever_it_runs() {
    let output = run(&["check", "-o", "json", "--socket", "/nowhere/s.sock", "--lanes-tcp=false"]);
    let objects: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let host = &objects[0]["host"];
    assert_eq!(host["agent_runs"], false);
    let can_run = host["can_run"].as_bool().unwrap();
    assert_eq!(output.status.code(), Some(if can_run { 0 } else { 3 }), "{host}");
    assert_eq!(can_run, host["reason"] == "", "{host}");
    assert_eq!(can_run, output.stderr.is_empty());
    let lanes: Vec<&serde_json::Value> =
        objects.iter().filter(|object| object["lane"].is_string()).collect();
    assert_eq!(lanes.len(), 6);
    for lane in lanes {
        let state = lane["state"].as_str().unwrap();
        assert_eq!(state == "works", lane["reason"] == "", "{lane}");
        assert!(can_run || matches!(state, "unavailable" | "off"), "{lane}");
        assert_eq!(state == "off", lane["lane"] == "tcp", "{lane}");
        assert!(lane["action"].is_string());
    }
}
