//! Why there is no way to an agent.
//!
//! Separate because it reads what `kubectl` says, which is meant for people.

use std::path::PathBuf;
use std::time::Duration;

use crate::admin::socket::client;

/// Why there is no way to an agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such program.
    #[error(
        "there is no {}; install kubectl, or name it in STRATA_KUBECTL", program.display()
    )]
    NoKubectl {
        /// What was looked for.
        program: PathBuf,
    },
    /// It cannot be run.
    #[error("cannot run kubectl: {0}")]
    Run(std::io::Error),
    /// The user may not.
    #[error(
        "the cluster refuses: {said}\n\
         `kubectl strata` takes `list` on pods where they are looked for, and where the agents \
         are `list` on pods and `create` on pods/exec"
    )]
    Forbidden {
        /// In kubectl's words.
        said: String,
    },
    /// There is no such object.
    #[error("{said}\nname another, or another namespace with -n")]
    NotFound {
        /// In kubectl's words.
        said: String,
    },
    /// It failed otherwise.
    #[error("kubectl {verb} failed: {said}")]
    Failed {
        /// Which of its verbs.
        verb: String,
        /// In its words.
        said: String,
    },
    /// What it printed are no pods.
    #[error("kubectl's answer is not understood: {0}")]
    Malformed(#[from] serde_json::Error),
    /// No pod is meant.
    #[error("no running pod is {wanted}; `kubectl get pods` shows which there are")]
    NoPod {
        /// What was wanted.
        wanted: String,
    },
    /// No agent is on a node that was named.
    #[error("no agent runs on node {node}; agents are on {there}")]
    NoNode {
        /// The node.
        node: String,
        /// Nodes that have one.
        there: String,
    },
    /// No agent is where the pods are.
    #[error(
        "no agent runs on {nodes}, going by the pods of namespace {namespace} with the label {label}\n\
         install it there, or name its namespace with --agent-namespace"
    )]
    NoAgent {
        /// Where one was looked for.
        nodes: String,
        /// The namespace of agents.
        namespace: String,
        /// The label of agents.
        label: &'static str,
    },
    /// An agent that is there does not do what it is asked.
    #[error("the agent on node {node}: {source}{}", with(said))]
    Agent {
        /// Its node.
        node: String,
        /// Why.
        source: client::Error,
        /// What kubectl, and the agent through it, said meanwhile.
        said: String,
    },
    /// The agent is of another age.
    #[error(
        "the agent on node {node} does not understand kubectl strata {}: {said}\n\
         use the plugin of the agent's version: `kubectl exec` into it, `strata --version`",
        env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// Its node.
        node: String,
        /// In its words.
        said: String,
    },
    /// An agent said nothing.
    #[error("the agent on node {node} does not answer within {} s", wait.as_secs())]
    Silent {
        /// Its node.
        node: String,
        /// How long it was waited for.
        wait: Duration,
    },
}

fn with(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("\n{said}") }
}

impl Error {
    /// What kubectl's verb failed for, by what it said.
    #[must_use]
    pub fn of_failure(verb: &str, said: &str) -> Self {
        let said = said.trim().trim_start_matches("Error from server ").to_owned();
        let is = |word: &str| said.contains(word);
        if is("(Forbidden)") || is("is forbidden") || is("(Unauthorized)") {
            Self::Forbidden { said }
        } else if is("(NotFound)") {
            Self::NotFound { said }
        } else {
            Self::Failed { verb: verb.to_owned(), said }
        }
    }

    /// What an agent's stream failed for, by what was said beside it.
    #[must_use]
    pub fn of_stream(node: String, source: client::Error, said: &str) -> Self {
        let said = said.trim().to_owned();
        if let client::Error::Refused { reason } = &source
            && reason.contains("version")
        {
            return Self::Version { node, said: reason.clone() };
        }
        if said.contains("unrecognized subcommand") {
            return Self::Version { node, said };
        }
        match Self::of_failure("exec", &said) {
            forbidden @ Self::Forbidden { .. } => forbidden,
            _ => Self::Agent { node, source, said },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_says_is_told_apart() {
        let forbidden = "Error from server (Forbidden): pods is forbidden: User \"bob\" cannot \
                         list resource \"pods\" in API group \"\" in the namespace \"shop\"\n";
        assert!(matches!(Error::of_failure("get", forbidden), Error::Forbidden { .. }));
        let missing = "Error from server (NotFound): pods \"api-1\" not found\n";
        assert!(matches!(Error::of_failure("get", missing), Error::NotFound { .. }));
        let down = "The connection to the server 127.0.0.1:6443 was refused\n";
        assert!(matches!(Error::of_failure("get", down), Error::Failed { .. }));
    }

    #[test]
    fn another_version_is_told_from_a_refusal_and_from_an_end() {
        let of = |source, said| Error::of_stream("n1".to_owned(), source, said);
        let refused = |reason: &str| client::Error::Refused { reason: reason.to_owned() };
        let older = "this is no request of version 1: unknown field `pods`";
        assert!(matches!(of(refused(older), ""), Error::Version { .. }));
        assert!(matches!(of(refused("4 others trace already"), ""), Error::Agent { .. }));
        let unknown = "error: unrecognized subcommand 'relay'";
        assert!(matches!(of(client::Error::Ended, unknown), Error::Version { .. }));
        let denied = "Error from server (Forbidden): pods \"strata-x\" is forbidden";
        assert!(matches!(of(client::Error::Ended, denied), Error::Forbidden { .. }));
    }
}
