//! A process that does what a test tells it, one step at a time.
//!
//! Separate from `workload`: those serve on their own, and what they do
//! besides is not known to the call. A [`Puppet`] holds sockets open, leaves
//! them unaccepted, resets them, or fails a system call so many times, exactly.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::Context as _;

use crate::{apps, workload};

/// The longest that a step may take.
const STEP: Duration = Duration::from_secs(60);

/// A Python interpreter on a string; killed at drop.
///
/// Besides Python's own names its steps have those of `puppet.py`: `listen`,
/// `connect`, `accept`, `receive`, `reset`, `error_of`.
#[derive(Debug)]
pub struct Puppet {
    child: Child,
    steps: ChildStdin,
    answers: Receiver<String>,
}

impl Puppet {
    /// Starts one by a command made of its argv: into a cgroup, a network
    /// namespace, or as it is.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(wrap: impl FnOnce(&[String]) -> Command) -> anyhow::Result<Self> {
        let script = apps::source_dir().join("puppet.py").to_string_lossy().into_owned();
        // Its own path: a version manager's shim would be a shell first.
        let mut command = wrap(&[workload::system_tool("python3"), script]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let steps = child.stdin.take().context("no pipe to the puppet")?;
        let lines = BufReader::new(child.stdout.take().context("no pipe from the puppet")?).lines();
        let (to, answers) = mpsc::channel();
        // Ends with the puppet, whose drop closes the pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| to.send(line)));
        let mut puppet = Self { child, steps, answers };
        puppet.run("None").context("the puppet's first step")?;
        Ok(puppet)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a step and gives its value.
    ///
    /// # Errors
    /// When the step raises (then with the traceback) or takes too long.
    pub fn run(&mut self, code: &str) -> anyhow::Result<serde_json::Value> {
        self.begin(code)?;
        self.end().with_context(|| code.to_owned())
    }

    /// Begins a step; [`Puppet::end`] waits for it.
    ///
    /// # Errors
    /// When the puppet is gone.
    pub fn begin(&mut self, code: &str) -> anyhow::Result<()> {
        writeln!(self.steps, "{}", serde_json::to_string(code)?).context("the puppet is gone")
    }

    /// Waits for the step that was begun and gives its value.
    ///
    /// # Errors
    /// As [`Puppet::run`].
    pub fn end(&mut self) -> anyhow::Result<serde_json::Value> {
        let line = self.answers.recv_timeout(STEP).context("no answer from the puppet")?;
        let (error, value): (Option<String>, serde_json::Value) = serde_json::from_str(&line)?;
        match error {
            Some(error) => anyhow::bail!("{error}"),
            None => Ok(value),
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command for argv as it is.
#[must_use]
pub fn plain(argv: &[String]) -> Command {
    let mut command = Command::new(argv.first().map_or("", String::as_str));
    command.args(argv.iter().skip(1));
    command
}

/// Program and arguments of a command, to wrap it once more.
#[must_use]
pub fn argv_of(command: &Command) -> Vec<String> {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}
