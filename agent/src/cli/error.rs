//! Why a verb could not be carried out.
//!
//! Separate from the exit codes because this is what happened, and those are
//! what it means to a script.

use crate::config;

/// Why a verb could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments do not fit, or ask for help.
    #[error("{0}")]
    Usage(#[from] clap::Error),
    /// There is no valid configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The output could not be written; a broken pipe among others, which is
    /// no failure: whoever read has read enough.
    #[error("writing to stdout: {0}")]
    Output(#[from] std::io::Error),
    /// A file could not be written.
    #[error("writing {}: {source}", path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The agent could not start.
    #[cfg(feature = "agent")]
    #[error(transparent)]
    Agent(#[from] crate::app::Error),
    /// There is nobody who says what workloads do.
    #[cfg(feature = "agent")]
    #[error(transparent)]
    Watching(#[from] crate::app::client::Error),
    /// The screen needs one.
    #[error(
        "{0} is no terminal that can show a screen; use `strata top --once`, \
         and -o json for other programs"
    )]
    NoTerminal(&'static str),
    /// The terminal does not do what it is told.
    #[error("the terminal: {0}")]
    Terminal(std::io::Error),
    /// A line of a trace is not one.
    #[error("the agent's line is not understood ({0}); use the same version on both sides")]
    Malformed(String),
    /// No workload is meant by the targets.
    #[error("no workload matches {targets}; {there}")]
    NoMatch {
        /// The targets, as flags.
        targets: String,
        /// What there is.
        there: String,
    },
    /// What is meant is on several nodes, and has to be on one.
    #[cfg(feature = "client")]
    #[error(
        "these pods are on several nodes ({}), whose clocks differ: name one with --node",
        nodes.join(", ")
    )]
    SeveralNodes {
        /// Which.
        nodes: Vec<String>,
    },
    /// A cluster's agents.
    #[cfg(feature = "client")]
    #[error(transparent)]
    Cluster(#[from] crate::kubectl::Error),
    /// The agent of this host, for who relays it.
    #[cfg(feature = "agent")]
    #[error(transparent)]
    Relay(#[from] super::relay::Error),
    /// The async runtime or its signals.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    /// A verb of another program ended so, and has said why.
    #[error("it ended with {0}")]
    Ended(u8),
    /// The agent could not run on this host.
    #[error("the agent cannot run here: {reason}")]
    CannotRun {
        /// Why.
        reason: String,
    },
}
