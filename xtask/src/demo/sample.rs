//! The sample API and its downstream: Go's `net/http` where there is a Go.
//!
//! Separate so that the demo does not care which of the two it shows.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::api;
use crate::janitor::Janitor;
use crate::{place, process};

/// The Go API's source, from the repository's root.
const GO_SOURCE: &str = "tests/apps/goapi";

/// What the load asks for, the first most often: at once; with 2 ms of CPU;
/// after 10 ms; through the downstream; in vain.
pub(super) const PATHS: &[&str] =
    &["/hello", "/spin?us=2000", "/sleep?ms=10", "/down", "/status/404"];

/// What `/down` asks of the downstream.
const DOWNSTREAM_PATH: &str = "/sleep?ms=10";

/// An API that runs.
pub(super) struct Api {
    pub(super) what: &'static str,
    pub(super) address: SocketAddr,
    pub(super) downstream: SocketAddr,
}

/// Starts the API and its downstream.
pub(super) fn start(janitor: &mut Janitor) -> anyhow::Result<Api> {
    let program = Program::choose()?;
    let downstream = program.listen(janitor, None)?;
    let address = program.listen(janitor, Some(downstream))?;
    Ok(Api { what: program.what, address, downstream })
}

/// How an API is started; both kinds take the same options.
struct Program {
    what: &'static str,
    file: PathBuf,
    verb: &'static [&'static str],
}

impl Program {
    fn choose() -> anyhow::Result<Self> {
        let source = place::repository().join(GO_SOURCE);
        let go = place::command("go").filter(|_| source.join("go.mod").is_file());
        let Some(go) = go else {
            let file = std::env::current_exe().context("finding this program's own file")?;
            let what = "a threaded Rust API";
            return Ok(Self { what, file, verb: &[api::VERB] });
        };
        eprintln!("demo: building the Go sample API (the first time about 30 s)");
        let file = place::target().join("goapi");
        process::run_quietly(
            Command::new(go)
                .args(["build", "-o"])
                .arg(&file)
                .arg(".")
                .current_dir(source)
                // The machine's Go is good enough: fetch no other.
                .env("GOTOOLCHAIN", "local"),
        )?;
        Ok(Self { what: "a Go net/http API", file, verb: &[] })
    }

    /// Starts one on a free port, and waits until it says which.
    fn listen(
        &self,
        janitor: &mut Janitor,
        downstream: Option<SocketAddr>,
    ) -> anyhow::Result<SocketAddr> {
        let mut command = Command::new(&self.file);
        command.args(self.verb).args(["-listen", "127.0.0.1:0"]);
        if let Some(downstream) = downstream {
            command.args(["-downstream", &format!("http://{downstream}{DOWNSTREAM_PATH}")]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = janitor.spawn(&mut command)?;
        let said = child.stdout.take().context("no pipe from the sample API")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).context("reading what the sample API says")?;
        parse_address(&line)
            .with_context(|| format!("`{}` said `{}`", process::line(&command), line.trim()))
    }
}

/// The address in `listening ADDR`.
fn parse_address(line: &str) -> Option<SocketAddr> {
    line.trim().strip_prefix("listening ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_what_follows_the_word() {
        assert_eq!(
            parse_address("listening 127.0.0.1:8080\n"),
            Some("127.0.0.1:8080".parse().unwrap())
        );
        assert_eq!(parse_address("listening on 8080"), None);
        assert_eq!(parse_address(""), None);
    }
}
