//! `kubectl`, with its errors.
//!
//! Separate because everything else in the cluster's harness calls it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Runs `kubectl` with these arguments and standard input, and gives what it
/// printed.
///
/// # Errors
/// When it cannot be started, or fails: then with what it said.
pub fn kubectl(args: &[&str], input: Option<&str>) -> anyhow::Result<String> {
    let mut child = Command::new("kubectl")
        .arg("--request-timeout=60s")
        .args(args)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting kubectl")?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // It may end before it has read all: then its own message says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().context("waiting for kubectl")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {}: {}", args.join(" "), stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// [`kubectl`] with `-o json`, read.
///
/// # Errors
/// As [`kubectl`], and when it printed no JSON.
pub fn kubectl_json(args: &[&str]) -> anyhow::Result<Value> {
    let text = kubectl(&[args, &["-o", "json"]].concat(), None)?;
    serde_json::from_str(&text).with_context(|| format!("kubectl {}: {text}", args.join(" ")))
}

/// Whether [`kubectl`] succeeds: for what is awaited.
#[must_use]
pub fn succeeds(args: &[&str]) -> bool {
    kubectl(args, None).is_ok()
}
