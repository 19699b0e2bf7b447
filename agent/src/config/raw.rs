//! The file as it is written: which keys stand where, with their texts.
//!
//! Separate from `resolve` because this is all that knows YAML. The table says
//! which keys are lists, so a scalar is taken as its very characters: YAML's
//! guesses (`12e45678`, a container id, is a number; `on` is a boolean) never
//! come into play.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::{MessageFormatter as _, Spanned, UserMessageFormatter};

use super::{Error, KEYS, Key};

/// The most bytes of a file that are read: a hundred times every key with its
/// help, and no memory to speak of.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the file says of one key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// The key's name with its section, valid or not.
    pub(super) name: String,
    /// The line it stands on, from 1.
    pub(super) line: u64,
    /// What stands there.
    pub(super) content: Content,
}

/// What stands behind a key in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// No such key exists, or it is not written like this: nothing was read.
    Unknown,
    /// Nothing.
    Nothing,
    /// The texts: one for a plain key, any number for a list.
    Texts(Vec<String>),
}

/// Reads a file of at most [`MAX_FILE_BYTES`].
pub(super) fn read(path: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}

/// Why a text is not a configuration file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The line, from 1, where the parser knows it.
    pub(super) line: Option<u64>,
    /// What the parser says.
    pub(super) message: String,
}

/// Parses a file's text.
pub(super) fn parse(text: &str) -> Result<Vec<Item>, Malformed> {
    // Three levels are the deepest that any key needs; aliases are cut short
    // because an alias bomb is the only file that would need many.
    // Comments that are handed out are counted, and a section of the sample file
    // has more than are taken.
    let options = serde_saphyr::options! {
        emit_comments: false,
        budget: serde_saphyr::budget! {
            max_depth: 8,
            flow_nesting_limit: 8,
            max_aliases: 64,
            max_events: 100_000,
        },
    };
    let mut document = Document::default();
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        Section { prefix: "", document: &mut document }.deserialize(yaml)
    });
    match parsed {
        Ok(()) => Ok(document.items),
        Err(error) => {
            let error = error.without_snippet();
            let message = UserMessageFormatter.format_message(error);
            let message = match document.reading {
                Some(key) if key.is_list() => {
                    format!("`{}` takes a list, such as [a, b]: {message}", key.name)
                }
                Some(key) => format!("`{}` takes one value: {message}", key.name),
                None => message.into_owned(),
            };
            Err(Malformed { line: error.location().map(|location| location.line()), message })
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Document {
    items: Vec<Item>,
    /// The key whose value is being read, for the message if it cannot be.
    reading: Option<&'static Key>,
}

/// A mapping of keys: the whole file, or what stands under `watch`.
struct Section<'a> {
    /// Empty, or the section's name with its dot.
    prefix: &'a str,
    document: &'a mut Document,
}

impl<'de> DeserializeSeed<'de> for Section<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // A section may be empty: all of its keys are commented out.
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Section<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.trim_end_matches('.') {
            "" => write!(f, "keys with their values"),
            section => write!(f, "the keys of `{section}`"),
        }
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // With "any", a scalar in the place of the keys is told what was expected.
        deserializer.deserialize_any(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let line = key.referenced.line();
            let name = format!("{}{}", self.prefix, key.value);
            let section = format!("{name}.");
            let content = match Key::find(&name) {
                // A dot in one key of the file would be a second way to write it.
                _ if key.value.contains('.') => skip(&mut map)?,
                Some(key) => {
                    self.document.reading = Some(key);
                    let texts = texts(key, &mut map)?;
                    self.document.reading = None;
                    texts.map_or(Content::Nothing, Content::Texts)
                }
                None if KEYS.iter().any(|key| key.name.starts_with(&section)) => {
                    let document = &mut *self.document;
                    map.next_value_seed(Section { prefix: &section, document })?;
                    continue;
                }
                None => skip(&mut map)?,
            };
            self.document.items.push(Item { name, line, content });
        }
        Ok(())
    }
}

fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Content, A::Error> {
    map.next_value::<IgnoredAny>()?;
    Ok(Content::Unknown)
}

fn texts<'de, A: MapAccess<'de>>(key: &Key, map: &mut A) -> Result<Option<Vec<String>>, A::Error> {
    if key.is_list() {
        map.next_value()
    } else {
        Ok(map.next_value::<Option<String>>()?.map(|text| vec![text]))
    }
}
