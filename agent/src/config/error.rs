//! What can be wrong with a configuration.
//!
//! Separate from the parsers because an operator gets all of it at once: file,
//! environment and flags are read to the end before anything is refused.

use std::path::PathBuf;

use super::overlay::Origin;
use super::value::Unfit;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("reading the configuration file {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Something in file, environment or flags is wrong.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// Everything that is wrong, in the order of precedence; not empty.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is not YAML, or not of the shape that the keys want.
    #[error(
        "{}{}: {message}",
        path.display(),
        line.map(|line| format!(":{line}")).unwrap_or_default()
    )]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<u64>,
        /// What the parser says.
        message: String,
    },
    /// The file has a key that does not exist.
    #[error("{origin}: unknown key `{name}`; the nearest valid one is `{nearest}`")]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// What was given.
        name: String,
        /// The key or section that was most likely meant.
        nearest: String,
    },
    /// A key with its section in one word, where the file wants two levels.
    #[error(
        "{origin}: `{name}` is one key of a section: write `{}:` under `{}:`",
        name.rsplit('.').next().unwrap_or_default(),
        name.split('.').next().unwrap_or_default()
    )]
    Dotted {
        /// Where it stands.
        origin: Origin,
        /// What was given.
        name: String,
    },
    /// The environment has a variable of ours that does not exist.
    #[error("unknown variable {name} in the environment; the nearest valid one is {nearest}")]
    UnknownVariable {
        /// What was given.
        name: String,
        /// The variable that was most likely meant.
        nearest: String,
    },
    /// A variable's value is no list of headers.
    #[error("the variable {name} is no list of headers such as name=value,name=value")]
    Headers {
        /// The variable. Its value may be a secret.
        name: String,
    },
    /// A variable's value is not text.
    #[error("the variable {name} is not UTF-8")]
    NotText {
        /// The variable.
        name: String,
    },
    /// A key's value is not of its type.
    #[error("{origin}: `{key}` {unfit}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// Why it does not fit.
        unfit: Unfit,
    },
    /// Two keys contradict each other.
    #[error("`{key}` and `{other}` contradict each other: {reason}")]
    Conflict {
        /// One key.
        key: &'static str,
        /// The other.
        other: &'static str,
        /// How they do.
        reason: String,
    },
}

impl Error {
    /// What to tell a person: one message for each thing that is wrong.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        match self {
            Self::Unreadable { .. } => vec![self.to_string()],
            Self::Invalid { problems } => problems.iter().map(ToString::to_string).collect(),
        }
    }
}
