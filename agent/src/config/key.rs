//! What a key of the configuration is: a name, a type, a place in [`Config`].
//!
//! Separate from the table so that the table is data and nothing else. The
//! name gives the flag and the variable; the type gives bounds, help and text.

use super::value::{Type, Unfit};
use super::{Config, KEYS};

/// One key. All there is to know about it is in its line of the table.
pub struct Key {
    /// The name, as in the file, with a dot for each level.
    pub name: &'static str,
    /// A shorter name of the flag, without dashes.
    pub alias: Option<&'static str>,
    /// What it does, in sentences.
    pub help: &'static str,
    /// Under which heading of the help its flag is found.
    pub topic: Topic,
    /// Whether a running agent takes a change without a restart.
    pub is_live: bool,
    /// Where its value lives, and of which type it is.
    pub(super) slot: &'static dyn Slot,
}

/// A heading of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Where the agent is reached; on the short help screen.
    Endpoint,
    /// What to watch; on the short help screen.
    Target,
    /// The rest.
    Setting,
}

impl Key {
    /// A key among the other settings, whose change needs a restart.
    pub(super) const fn new(
        name: &'static str,
        slot: &'static dyn Slot,
        help: &'static str,
    ) -> Self {
        Self { name, alias: None, help, topic: Topic::Setting, is_live: false, slot }
    }

    /// The same, taken up by a running agent.
    pub(super) const fn live(self) -> Self {
        Self { is_live: true, ..self }
    }

    /// The same, under another heading.
    pub(super) const fn under(self, topic: Topic) -> Self {
        Self { topic, ..self }
    }

    /// The same, with a shorter name for its flag.
    pub(super) const fn alias(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    /// The key of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The name of its flag, without the dashes: `watch-host`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// The name of its environment variable: `STRATA_WATCH_HOST`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("STRATA_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// Its type and bounds in a few words.
    #[must_use]
    pub fn describe(&self) -> String {
        self.slot.describe()
    }

    /// Whether the flag may stand alone, without a value.
    #[must_use]
    pub fn is_boolean(&self) -> bool {
        self.slot.is_boolean()
    }

    /// Whether it takes any number of values.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.slot.separator().is_some()
    }

    /// What stands between two values of a list in a flag or a variable.
    #[must_use]
    pub fn separator(&self) -> Option<char> {
        self.slot.separator()
    }

    /// Its value as text: one for a plain key, any number for a list.
    #[must_use]
    pub fn show(&self, config: &Config) -> Vec<String> {
        self.slot.show(config)
    }

    /// The texts in the text of a flag or a variable: a list's items, without
    /// the blanks around them, or the text itself.
    #[must_use]
    pub fn split(&self, text: &str) -> Vec<String> {
        match self.separator() {
            None => vec![text.to_owned()],
            Some(_) if text.trim().is_empty() => Vec::new(),
            Some(separator) => text.split(separator).map(|item| item.trim().to_owned()).collect(),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.name).finish()
    }
}

/// A place in [`Config`] together with the type of what it holds.
pub(super) trait Slot: Sync {
    /// Puts a value there, from its texts.
    fn set(&self, config: &mut Config, texts: &[String]) -> Result<(), Unfit>;
    /// The value that is there, as texts that [`Slot::set`] takes.
    fn show(&self, config: &Config) -> Vec<String>;
    /// The type in words.
    fn describe(&self) -> String;
    /// For a list, what stands between two items in one text.
    fn separator(&self) -> Option<char>;
    /// Whether it is true or false.
    fn is_boolean(&self) -> bool;
}

/// The slot of one value.
pub(super) struct One<T: Type + 'static> {
    /// Its type.
    pub(super) of: T,
    /// Where it is read.
    pub(super) get: fn(&Config) -> &T::Value,
    /// Where it is written.
    pub(super) place: fn(&mut Config) -> &mut T::Value,
}

impl<T: Type> Slot for One<T> {
    fn set(&self, config: &mut Config, texts: &[String]) -> Result<(), Unfit> {
        let [text] = texts else { return Err(Unfit::NotOne { count: texts.len() }) };
        *(self.place)(config) = self.of.parse(text)?;
        Ok(())
    }

    fn show(&self, config: &Config) -> Vec<String> {
        vec![self.of.show((self.get)(config))]
    }

    fn describe(&self) -> String {
        self.of.describe()
    }

    fn separator(&self) -> Option<char> {
        None
    }

    fn is_boolean(&self) -> bool {
        self.of.is_boolean()
    }
}

/// The slot of a list of values.
pub(super) struct Many<T: Type + 'static> {
    /// The type of each.
    pub(super) of: T,
    /// The most items.
    pub(super) max: usize,
    /// What stands between two items in one text.
    pub(super) separator: char,
    /// Where it is read.
    pub(super) get: fn(&Config) -> &Vec<T::Value>,
    /// Where it is written.
    pub(super) place: fn(&mut Config) -> &mut Vec<T::Value>,
}

impl<T: Type> Slot for Many<T> {
    fn set(&self, config: &mut Config, texts: &[String]) -> Result<(), Unfit> {
        if texts.len() > self.max {
            return Err(Unfit::Many { count: texts.len(), max: self.max });
        }
        *(self.place)(config) =
            texts.iter().map(|text| self.of.parse(text)).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn show(&self, config: &Config) -> Vec<String> {
        (self.get)(config).iter().map(|value| self.of.show(value)).collect()
    }

    fn describe(&self) -> String {
        format!("list, at most {}: {}", self.max, self.of.describe())
    }

    fn separator(&self) -> Option<char> {
        Some(self.separator)
    }

    fn is_boolean(&self) -> bool {
        false
    }
}
