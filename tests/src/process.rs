//! A child process that ends with its owner, whatever happens to the test.
//!
//! Separate because the agent, the workloads and Prometheus all are one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use crate::{eventually, sys};

/// How long a child may take over SIGTERM before its drop kills it.
const GRACE: Duration = Duration::from_secs(2);

/// A child, with its stdout and stderr in files.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `dir/NAME.out` and `dir/NAME.err`.
    ///
    /// # Errors
    /// When the files cannot be made or the program cannot be started.
    pub fn spawn(command: &mut Command, dir: &Path, name: &str) -> anyhow::Result<Self> {
        let stdout = dir.join(format!("{name}.out"));
        let stderr = dir.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).with_context(|| format!("making {}", stdout.display()))?)
            .stderr(File::create(&stderr).with_context(|| format!("making {}", stderr.display()))?)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Self { child, stdout, stderr })
    }

    /// Process id of the child.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What it has written to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// Its status, if it has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end, at most for `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        eventually::until(limit, || self.try_wait())
    }

    /// Sends SIGTERM and waits for its end, at most for `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Option<ExitStatus> {
        // No signal after the child was reaped: its pid may be another's.
        if let Some(status) = self.try_wait() {
            return Some(status);
        }
        sys::send_signal(self.pid(), libc::SIGTERM).ok();
        self.wait(limit)
    }

    /// Sends SIGKILL and waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.terminate(GRACE).is_none() {
            let _ = self.kill();
        }
    }
}

fn read_lossy(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Runs a command to its end and gives its stdout.
///
/// # Errors
/// When it cannot be started, or fails: then with its stderr.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}; is it installed?"))?;
    anyhow::ensure!(
        output.status.success(),
        "{command:?} failed with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
