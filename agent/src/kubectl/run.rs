//! The program `kubectl`: how it is called, and how it fails.
//!
//! Separate because it is the only file that starts it.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, Command};

use super::Error;
use super::choose::AgentPod;
use super::said::{self, Said};

/// The container of the agent in its pod, and its program.
pub(super) const CONTAINER: &str = "strata";

/// The user's `kubectl`, with what the user told it.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    globals: Vec<OsString>,
}

impl Kubectl {
    /// `program`, else `kubectl` of the path; `globals` come before each verb.
    #[must_use]
    pub fn new(program: Option<OsString>, globals: Vec<OsString>) -> Self {
        let program = program.filter(|program| !program.is_empty());
        Self { program: program.unwrap_or_else(|| "kubectl".into()).into(), globals }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.globals).kill_on_drop(true);
        command
    }

    fn not_run(&self, error: std::io::Error) -> Error {
        match error.kind() {
            ErrorKind::NotFound => Error::NoKubectl { program: self.program.clone() },
            _ => Error::Run(error),
        }
    }

    /// What `kubectl get` prints with these arguments. It may ask the user to
    /// log in, so it keeps the terminal.
    ///
    /// # Errors
    ///
    /// If it cannot be run, or fails.
    pub async fn get(&self, arguments: &[String]) -> Result<Vec<u8>, Error> {
        let mut command = self.command();
        command.arg("get").args(arguments).stdin(Stdio::inherit());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.not_run(error))?;
        let said = child.stderr.take().map(Said::follow);
        let output = child.wait_with_output().await.map_err(|error| self.not_run(error))?;
        let rest = match said {
            Some(said) => said.rest().await,
            None => Vec::new(),
        };
        if output.status.success() {
            said::show(&rest);
            return Ok(output.stdout);
        }
        Err(Error::of_failure("get", &String::from_utf8_lossy(&rest)))
    }

    /// Runs a verb of `strata` in an agent's pod, with the agent's own
    /// configuration, its output the user's.
    ///
    /// # Errors
    ///
    /// If kubectl cannot be run.
    pub async fn show(&self, agent: &AgentPod, verb: &[&str]) -> Result<ExitStatus, Error> {
        let mut command = self.exec(agent, &[]);
        command.args(verb).args(&agent.arguments).stdin(Stdio::null());
        command.status().await.map_err(|error| self.not_run(error))
    }

    /// Starts `strata relay` in an agent's pod, with pipes to it.
    ///
    /// It gets a process group of its own: Ctrl-C on the terminal is for this
    /// process, which lets what had finished come yet.
    ///
    /// # Errors
    ///
    /// If kubectl cannot be run.
    pub fn relay(&self, agent: &AgentPod, socket: Option<&str>) -> Result<Child, Error> {
        let mut command = self.exec(agent, &["-i"]);
        command.arg("relay");
        match socket {
            Some(socket) => command.args(["--socket", socket]),
            None => command.args(&agent.arguments),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        command.process_group(0);
        command.spawn().map_err(|error| self.not_run(error))
    }

    fn exec(&self, agent: &AgentPod, options: &[&str]) -> Command {
        let mut command = self.command();
        command.arg("exec").args(options);
        command.args(["-n", &agent.namespace, &agent.name, "-c", CONTAINER, "--", "/strata"]);
        command
    }
}
