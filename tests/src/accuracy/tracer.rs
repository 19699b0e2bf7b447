//! `strata trace` beside a load: everything that it printed.
//!
//! Separate because both the closure tests and the trials read their answers
//! through it, and both need to know that none is missing.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;

use super::answer::Answer;
use crate::agent_process::{self, Agent};
use crate::eventually;
use crate::process::Process;

/// How long the first answer may take.
const FIRST: Duration = Duration::from_secs(10);
/// How long the last one may take after the last response: an idle connection
/// waits for a sweep.
const LAST: Duration = Duration::from_secs(10);

/// A running `strata trace`.
#[derive(Debug)]
pub struct Tracer {
    process: Process,
    _dir: tempfile::TempDir,
}

impl Tracer {
    /// Starts it for the requests that `server` answers, and waits until it
    /// shows one of those for `path`, which `probe` makes.
    ///
    /// # Errors
    /// When it ends, or shows nothing in time.
    pub fn start(
        agent: &Agent,
        server: SocketAddr,
        path: &str,
        mut probe: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("strata-trace").tempdir()?;
        let mut command = agent_process::strata();
        command.arg("trace").arg("--socket").arg(agent.socket());
        command.args(["-o", "json", "--port", &server.port().to_string()]);
        let process = Process::spawn(&mut command, dir.path(), "trace")?;
        let mut tracer = Self { process, _dir: dir };
        let seen = eventually::until(FIRST, || {
            if tracer.process.try_wait().is_some() {
                return Some(Err(anyhow::anyhow!("strata trace ended")));
            }
            if let Err(error) = probe() {
                return Some(Err(error));
            }
            tracer.process.stdout().contains(path).then_some(Ok(()))
        });
        match seen {
            Some(Ok(())) => Ok(tracer),
            Some(Err(error)) => Err(error).with_context(|| tracer.process.stderr()),
            None => anyhow::bail!(
                "strata trace shows no request within {FIRST:?}: {}{}",
                tracer.process.stderr(),
                agent.log()
            ),
        }
    }

    /// Waits until it has shown `wanted` requests whose paths end in a number,
    /// and ends it. Fewer after a while are given as they are: the caller says
    /// which are missing.
    ///
    /// # Errors
    /// When a line is not as it should be.
    pub fn finish(mut self, wanted: usize) -> anyhow::Result<Vec<Answer>> {
        // Whole files are read again and again, but seldom.
        let mut seen = 0;
        eventually::settle(
            LAST,
            || {
                std::thread::sleep(Duration::from_millis(100));
                seen = self.process.stdout().lines().filter(|line| has_number(line)).count();
                seen
            },
            |seen| *seen >= wanted,
        );
        self.process.terminate(Duration::from_secs(5));
        let text = self.process.stdout();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().filter(|line| line.starts_with('{'));
        let answers = lines.map(Answer::parse).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(answers.into_iter().filter(|answer| answer.id().is_some()).collect())
    }
}

/// Whether the path of a line ends in a number, without reading all of it.
fn has_number(line: &str) -> bool {
    let path = line.split_once("\"path\":\"").and_then(|(_, rest)| rest.split('"').next());
    path.and_then(|path| path.rsplit('/').next()).is_some_and(|last| last.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_end_in_a_number_count() {
        assert!(has_number(r#"{"a":1,"path":"/hello/000012","b":2}"#));
        assert!(!has_number(r#"{"a":1,"path":"/hello/probe","b":2}"#));
        assert!(!has_number(r#"{"a":1,"b":12}"#));
    }
}
