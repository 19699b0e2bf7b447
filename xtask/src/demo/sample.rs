//! The sample API and its downstream: Go's `net/http` where there is a Go.
//!
//! Separate so that the demo does not care which of the two it shows, nor what
//! they run in: that is for `strata-demo` to find out.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::api;
use crate::janitor::Janitor;
use crate::{place, process};

/// What the load asks for, the first most often: at once; with 2 ms of CPU;
/// after 10 ms; through the downstream; in vain.
pub(super) const PATHS: &[&str] =
    &["/hello", "/spin?us=2000", "/sleep?ms=10", "/down", "/status/404"];

/// Both, running; they end with the janitor, or when this is dropped.
pub(super) struct Apis {
    pub(super) what: &'static str,
    pub(super) front: Api,
    pub(super) downstream: Api,
    /// Its close tells `strata-demo` to end, should the janitor be killed.
    _stdin: Option<std::process::ChildStdin>,
}

/// One API.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Api {
    pub(super) address: SocketAddr,
    /// Uid of its pod.
    pub(super) pod: String,
    /// Short id of its container.
    pub(super) container: String,
}

/// Builds what runs the two, and starts it.
pub(super) fn start(janitor: &mut Janitor) -> anyhow::Result<Apis> {
    process::run(
        process::cargo().args(["build", "--release", "--package=tests"]).arg("--bin=strata-demo"),
    )?;
    // Daemons and Go are not in everybody's `PATH`.
    let path = std::env::join_paths(place::search_path()).context("making a search path")?;
    let program = || {
        let mut command = Command::new(place::target().join("release/strata-demo"));
        command.env("PATH", &path);
        command
    };
    let mut command = program();
    let what = if place::command("go").is_some() {
        eprintln!("demo: building the Go sample API (the first time about 30 s)");
        process::run_quietly(program().arg("--build"))?;
        "a Go net/http API"
    } else {
        command.arg(std::env::current_exe().context("finding this program's own file")?);
        command.arg(api::VERB);
        "a threaded Rust API"
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = janitor.spawn(&mut command)?;
    let stdin = child.stdin.take();
    let said = child.stdout.take().context("no pipe from the sample API")?;
    let mut said = BufReader::new(said);
    let (front, downstream) = (read("front", &mut said)?, read("downstream", &mut said)?);
    Ok(Apis { what, front, downstream, _stdin: stdin })
}

/// The next line, which tells of the API of this name.
fn read(name: &str, from: &mut impl BufRead) -> anyhow::Result<Api> {
    let mut line = String::new();
    from.read_line(&mut line).context("reading what the sample API says")?;
    Api::parse(name, &line)
        .with_context(|| format!("no sample API: `strata-demo` said `{}`", line.trim()))
}

impl Api {
    /// From `NAME ADDR POD CONTAINER`.
    fn parse(name: &str, line: &str) -> Option<Self> {
        let mut words = line.strip_prefix(name)?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        let pod = words.next()?.to_owned();
        Some(Self { address, pod, container: words.next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_where_an_api_is_and_in_what() {
        let api = read("front", &mut &b"front 127.0.0.1:80 1-2 ab\nx"[..]).unwrap();
        let (pod, container) = ("1-2".to_owned(), "ab".to_owned());
        assert_eq!(api, Api { address: "127.0.0.1:80".parse().unwrap(), pod, container });
    }

    #[test]
    fn a_line_of_another_or_an_end_is_an_error() {
        for line in ["downstream 127.0.0.1:80 1-2 ab\n", "front here 1-2 ab\n", "front 1:1\n", ""] {
            let error = read("front", &mut line.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(line.trim()), "{error}");
        }
    }
}
