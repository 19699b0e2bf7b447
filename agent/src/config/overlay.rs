//! Layers of settings, one over the other: the last one that sets a key wins.
//!
//! Separate because precedence is decided here and nowhere else. A list is
//! replaced, not added to: what a layer says can be read in that layer alone.

use std::fmt;
use std::path::PathBuf;

use super::resolve::contradictions;
use super::{Config, Error, Key, Problem};

/// What one source says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// The keys that it sets.
    pub entries: Vec<Entry>,
    /// What is wrong in it.
    pub problems: Vec<Problem>,
}

/// One key that a source sets.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: &'static Key,
    /// Its texts: one for a plain key, any number for a list.
    pub texts: Vec<String>,
    /// Where it stands.
    pub origin: Origin,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.key.name, &self.texts, &self.origin) == (other.key.name, &other.texts, &other.origin)
    }
}

impl Eq for Entry {}

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// In the environment.
    Variable {
        /// The variable.
        name: String,
    },
    /// On the command line.
    Flag {
        /// The flag, with its dashes.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable { name } | Self::Flag { name } => f.write_str(name),
        }
    }
}

/// A configuration, and which of it was not left to the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The keys that were set, in the order of the table.
    pub settings: Vec<Setting>,
}

/// A key that was set, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key's name.
    pub key: &'static str,
    /// Its value as text: one for a plain key, any number for a list.
    pub values: Vec<String>,
    /// What set it: of several, the one that won.
    pub origin: Origin,
}

/// The defaults with these layers over them, the last one on top.
pub(super) fn overlay(layers: impl IntoIterator<Item = Layer>) -> Result<Loaded, Error> {
    let mut config = Config::default();
    let mut problems = Vec::new();
    let mut set: Vec<Entry> = Vec::new();
    for layer in layers {
        problems.extend(layer.problems);
        for entry in layer.entries {
            // A value that is overruled must be valid all the same: it would
            // come to count when the flag is taken away.
            match entry.key.slot.set(&mut config, &entry.texts) {
                Ok(()) => {
                    set.retain(|earlier| earlier.key.name != entry.key.name);
                    set.push(entry);
                }
                Err(unfit) => problems.push(Problem::Value {
                    origin: entry.origin,
                    key: entry.key.name,
                    unfit,
                }),
            }
        }
    }
    problems.extend(contradictions(&config));
    if !problems.is_empty() {
        return Err(Error::Invalid { problems });
    }
    let position = |name: &str| super::KEYS.iter().position(|key| key.name == name);
    set.sort_by_key(|entry| position(entry.key.name));
    let settings = set
        .into_iter()
        .map(|entry| Setting {
            key: entry.key.name,
            values: entry.key.show(&config),
            origin: entry.origin,
        })
        .collect();
    Ok(Loaded { config, settings })
}
