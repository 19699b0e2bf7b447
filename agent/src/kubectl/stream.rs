//! A connection to the agent of a node: kubectl between two pipes.
//!
//! Separate because it owns a process, which must be gone at the end whatever
//! happened.

use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;

use super::Error;
use super::choose::AgentPod;
use super::run::Kubectl;
use super::said::Said;
use crate::admin::socket::client::{self, Client};

/// How long kubectl may take to end once its input is closed.
const END_WAIT: Duration = Duration::from_secs(3);

/// The process; its input and output belong to the [`Client`].
#[derive(Debug)]
pub struct Stream {
    /// The node.
    pub node: String,
    child: Child,
    said: Option<Said>,
}

impl Stream {
    /// Starts it. Whether anybody answers shows when the client asks.
    ///
    /// # Errors
    ///
    /// If kubectl cannot be run.
    pub fn open(
        kubectl: &Kubectl,
        agent: &AgentPod,
        socket: Option<&str>,
    ) -> Result<(Self, Client), Error> {
        let mut child = kubectl.relay(agent, socket)?;
        let (Some(output), Some(input)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(Error::Run(std::io::Error::other("it has no pipes")));
        };
        let client = Client::over_streams(output, input);
        let said = child.stderr.take().map(Said::follow);
        Ok((Self { node: agent.node.clone(), child, said }, client))
    }

    /// Why the client failed, with what was said beside it.
    pub async fn explain(&mut self, error: client::Error) -> Error {
        let said = match self.said.take() {
            Some(said) => said.rest().await,
            None => Vec::new(),
        };
        Error::of_stream(self.node.clone(), error, &String::from_utf8_lossy(&said))
    }

    /// Waits for its end, and makes it end; the client must be gone, or have
    /// finished.
    pub async fn close(mut self) {
        if timeout(END_WAIT, self.child.wait()).await.is_err() {
            // An error: it has ended by itself meanwhile.
            let _ = self.child.kill().await;
        }
    }
}
