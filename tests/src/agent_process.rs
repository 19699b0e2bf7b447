//! The real agent as a child process: started, scraped, ended.
//!
//! Separate because every end-to-end test begins with it; the agent is the
//! released binary, never a part of it linked into a test.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::metrics_text::Metrics;
use crate::process::Process;
use crate::{apps, eventually, http};

/// How long the agent may take until it is ready.
const READY: Duration = Duration::from_secs(20);

/// Series a container, where all statuses and methods are to be seen apart.
pub const ROOM: &str = "1000";

/// Path of the binary: `STRATA_BIN`, else the workspace's release build.
#[must_use]
pub fn binary() -> PathBuf {
    std::env::var_os("STRATA_BIN")
        .map_or_else(|| apps::target_dir().join("release/strata"), PathBuf::from)
}

fn ensure_built() -> anyhow::Result<()> {
    let path = binary();
    anyhow::ensure!(
        path.is_file(),
        "no agent at {}; `cargo xtask build` makes it, STRATA_BIN names another",
        path.display()
    );
    Ok(())
}

/// A TCP port of 127.0.0.1 that was free a moment ago.
///
/// # Errors
/// When none can be had.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("looking for a free port")?.local_addr()?.port())
}

/// A running agent with a port and a socket of its own.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    addr: SocketAddr,
    dir: tempfile::TempDir,
}

/// How an agent ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Time from the signal to its end.
    pub took: Duration,
}

impl Agent {
    /// Starts `strata agent` with these further arguments and waits until it
    /// is ready.
    ///
    /// # Errors
    /// When it does not get ready in time, or ends: then with what it said.
    pub fn start(args: &[&str]) -> anyhow::Result<Self> {
        Self::start_under(&[], args)
    }

    /// Starts it with the server's port as its target.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn start_on_port(port: u16) -> anyhow::Result<Self> {
        Self::start(&["--port", &port.to_string()])
    }

    /// The same, with room in the budget of series for each method with each
    /// status: by default all but the first few are folded into one.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn start_on_port_with_room(port: u16) -> anyhow::Result<Self> {
        Self::start(&["--port", &port.to_string(), "--series-per-container", ROOM])
    }

    /// Starts it under a wrapper such as `["setpriv", "--bounding-set=..."]`
    /// that executes what follows in its own place.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn start_under(wrapper: &[&str], args: &[&str]) -> anyhow::Result<Self> {
        ensure_built()?;
        let dir = tempfile::Builder::new().prefix("strata-agent").tempdir()?;
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = command(wrapper, addr, &socket_in(dir.path()), args);
        let process = Process::spawn(&mut command, dir.path(), "agent")?;
        let mut agent = Self { process, addr, dir };
        agent.wait_ready(READY)?;
        Ok(agent)
    }

    fn wait_ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        let addr = self.addr;
        let outcome = eventually::until(limit, || {
            if let Some(status) = self.process.try_wait() {
                return Some(Err(status));
            }
            let is_ready = http::get(addr, "/readyz").is_ok_and(|response| response.status == 200);
            is_ready.then_some(Ok(()))
        });
        match outcome {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => anyhow::bail!("the agent ended with {status}: {}", self.log()),
            None => anyhow::bail!("the agent was not ready within {limit:?}: {}", self.log()),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it serves HTTP.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket_in(self.dir.path())
    }

    /// Everything it has written to stdout and stderr.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stdout() + &self.process.stderr()
    }

    /// `/metrics` as text.
    ///
    /// # Errors
    /// When it cannot be had with status 200.
    pub fn scrape_text(&self) -> anyhow::Result<String> {
        let response = http::get(self.addr, "/metrics")?;
        anyhow::ensure!(response.status == 200, "/metrics gave {}", response.status);
        Ok(response.text())
    }

    /// `/metrics`, parsed.
    ///
    /// # Errors
    /// As [`Agent::scrape_text`], or when it does not parse.
    pub fn scrape(&self) -> anyhow::Result<Metrics> {
        Metrics::parse(&self.scrape_text()?)
    }

    /// Resident set size in KiB.
    ///
    /// # Errors
    /// When `/proc` does not say.
    pub fn rss_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let value = line.and_then(|line| line.split_whitespace().next());
        value.context("no VmRSS; has the agent ended?")?.parse().context("parsing VmRSS")
    }

    /// Sends SIGTERM and waits for the end, at most for `limit`.
    ///
    /// # Errors
    /// When it goes on running.
    pub fn terminate(&mut self, limit: Duration) -> anyhow::Result<Ended> {
        let start = Instant::now();
        let status = self.process.terminate(limit);
        let status = status.with_context(|| format!("still running {limit:?} after SIGTERM"))?;
        Ok(Ended { status, took: start.elapsed() })
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().context("killing the agent")?;
        Ok(())
    }
}

fn socket_in(dir: &Path) -> PathBuf {
    dir.join("strata.sock")
}

fn command(wrapper: &[&str], addr: SocketAddr, socket: &Path, args: &[&str]) -> Command {
    let mut command = wrapped(wrapper);
    command.args(["agent", "--listen", &addr.to_string(), "--socket"]).arg(socket).args(args);
    // Load is what tests make, and one that sheds is not exact by design: only
    // tests of the governor have it on.
    if !args.iter().any(|arg| arg.starts_with("--governor") || arg.starts_with("--config")) {
        command.arg("--governor-enabled=false");
    }
    command
}

/// Variables of the tests, which the agent would refuse as misspelt.
pub const OWN_VARIABLES: [&str; 6] = [
    "STRATA_BIN",
    "STRATA_FULL",
    "STRATA_PATIENCE",
    "STRATA_RECORD",
    "STRATA_SKIPS",
    "STRATA_STRICT",
];

/// The released binary, in the environment of a user.
#[must_use]
pub fn strata() -> Command {
    let mut command = Command::new(binary());
    OWN_VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
    command
}

fn wrapped(wrapper: &[&str]) -> Command {
    match wrapper {
        [] => strata(),
        [program, args @ ..] => {
            let mut command = Command::new(program);
            command.args(args).arg(binary());
            OWN_VARIABLES.iter().for_each(|name| {
                command.env_remove(name);
            });
            command
        }
    }
}

/// Runs `strata` to its end with these arguments, under a wrapper or none; it
/// is killed when it goes on for longer than `limit`.
///
/// # Errors
/// When it cannot be started, or had to be killed.
pub fn run_once(wrapper: &[&str], args: &[&str], limit: Duration) -> anyhow::Result<Output> {
    ensure_built()?;
    let dir = tempfile::Builder::new().prefix("strata-once").tempdir()?;
    let mut process =
        Process::spawn(wrapped(wrapper).args(args).stdin(Stdio::null()), dir.path(), "strata")?;
    let status = process.wait(limit);
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = status.with_context(|| format!("strata {args:?} still runs: {stderr}"))?;
    Ok(Output { status, stdout: stdout.into_bytes(), stderr: stderr.into_bytes() })
}
