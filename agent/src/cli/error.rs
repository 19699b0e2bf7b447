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
    /// The agent could not start.
    #[error(transparent)]
    Agent(#[from] crate::app::Error),
    /// The verb is known, but this build cannot carry it out.
    #[error("this build has no verb `{verb}`")]
    NotBuilt {
        /// The verb.
        verb: &'static str,
    },
}
