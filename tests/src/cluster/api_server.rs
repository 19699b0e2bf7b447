//! The API server, stopped and brought back.
//!
//! Separate because only a cluster whose control plane runs on this machine
//! lets a test do that.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::kubectl::succeeds;
use crate::{eventually, sys};

/// Names the file with its process id.
const VARIABLE: &str = "STRATA_API_SERVER_PID_FILE";
/// How long it may take to end, or to be ready again.
const PATIENCE: Duration = Duration::from_secs(60);

/// An API server that was stopped; comes back by [`ApiServer::start`], or by
/// the drop.
#[derive(Debug)]
pub struct ApiServer {
    argv: Vec<String>,
    pid_file: PathBuf,
    is_back: bool,
}

impl ApiServer {
    /// Whether there is one that may be stopped.
    #[must_use]
    pub fn can_be_stopped() -> bool {
        std::env::var_os(VARIABLE).is_some()
    }

    /// Ends it, and remembers how it was started.
    ///
    /// # Errors
    /// When it is not there, or does not end.
    pub fn stop() -> anyhow::Result<Self> {
        let pid_file = PathBuf::from(std::env::var_os(VARIABLE).context("no API server to stop")?);
        let text = std::fs::read_to_string(&pid_file)
            .with_context(|| format!("reading {}", pid_file.display()))?;
        let pid: u32 = text.trim().parse().context("a process id")?;
        let command_line = std::fs::read(format!("/proc/{pid}/cmdline"))?;
        let argv = command_line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        let argv = argv.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        // It would take its time over a request to end.
        sys::send_signal(pid, libc::SIGKILL)?;
        // A zombie has no command line; who should wait for it may not.
        let is_alive =
            || std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
        let ended = eventually::until(PATIENCE, || (!is_alive()).then_some(()));
        ended.with_context(|| format!("the API server {pid} does not end"))?;
        Ok(Self { argv, pid_file, is_back: false })
    }

    /// Starts it again, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn start(mut self) -> anyhow::Result<()> {
        self.bring_back()
    }

    fn bring_back(&mut self) -> anyhow::Result<()> {
        let (program, args) = self.argv.split_first().context("no command line")?;
        let mut command = Command::new("setsid");
        command.arg(program).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("starting the API server")?;
        self.is_back = true;
        std::fs::write(&self.pid_file, format!("{}\n", child.id()))?;
        let ready =
            eventually::until(PATIENCE, || succeeds(&["get", "--raw", "/readyz"]).then_some(()));
        ensure!(ready.is_some(), "the API server does not come back");
        Ok(())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if !self.is_back {
            let _ = self.bring_back();
        }
    }
}
