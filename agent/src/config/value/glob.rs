//! Patterns for names: `*` for any run of characters, `?` for any one.
//!
//! Separate because selection uses it after configuration is done: matching is
//! the part that must be right, so it is pure and checked against a naive twin.

use super::{Type, Unfit};

/// The most bytes of a pattern; a name of Kubernetes has at most 253.
const MAX_BYTES: usize = 253;

/// The fewest characters of a container id that select it. A shorter prefix
/// would let a container called `db` select others by chance of their id.
const MIN_ID_PREFIX: usize = 8;

/// A pattern for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
}

impl Glob {
    /// The pattern that fits this name; for a name without `*` and `?`.
    pub(in crate::config) fn exactly(name: &str) -> Self {
        Self { text: name.to_owned() }
    }

    /// A pattern for names of containers and namespaces, that is no key of the
    /// configuration.
    ///
    /// # Errors
    ///
    /// If the text is none.
    pub fn name(text: &str) -> Result<Self, Unfit> {
        GlobText { what: "name" }.parse(text)
    }

    /// A pattern for paths of requests; `*` goes over `/` as well.
    ///
    /// # Errors
    ///
    /// If the text is none.
    pub fn path(text: &str) -> Result<Self, Unfit> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let wanted = "a pattern for paths, such as /v1/*, with `*` and `?` for any";
            return Err(Unfit::Form { text: text.to_owned(), wanted });
        }
        if text.len() > MAX_BYTES {
            return Err(Unfit::Long { text: text.to_owned(), max: MAX_BYTES });
        }
        Ok(Self { text: text.to_owned() })
    }

    /// Whether the whole of `name` fits the pattern.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<char> = self.text.chars().collect();
        let name: Vec<char> = name.chars().collect();
        let (mut p, mut n) = (0, 0);
        // Where to go on after a mismatch: behind the last `*`, one character
        // of the name further. Without recursion the worst case is quadratic.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(c) = name.get(n) {
            match pattern.get(p) {
                Some('*') => {
                    retry = Some((p + 1, n));
                    p += 1;
                }
                Some(wanted) if *wanted == '?' || wanted == c => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((after_star, from)) = retry else { return false };
                    retry = Some((after_star, from + 1));
                    p = after_star;
                    n = from + 1;
                }
            }
        }
        pattern.iter().skip(p).all(|rest| *rest == '*')
    }

    /// Whether the pattern selects a container: its name fits, or the pattern
    /// is a prefix of its id, of eight characters or more.
    #[must_use]
    pub fn matches_container(&self, name: &str, id: &str) -> bool {
        self.matches(name) || (self.text.len() >= MIN_ID_PREFIX && id.starts_with(&self.text))
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The type of [`Glob`] values.
pub(in crate::config) struct GlobText {
    /// What the pattern is for, for the documentation.
    pub(in crate::config) what: &'static str,
}

impl Type for GlobText {
    type Value = Glob;

    fn parse(&self, text: &str) -> Result<Glob, Unfit> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.*?".contains(c);
        if text.is_empty() || !text.chars().all(is_name) {
            let wanted = "a name of letters, digits, `-`, `_`, `.`, with `*` and `?` for any";
            return Err(Unfit::Form { text: text.to_owned(), wanted });
        }
        if text.len() > MAX_BYTES {
            return Err(Unfit::Long { text: text.to_owned(), max: MAX_BYTES });
        }
        Ok(Glob { text: text.to_owned() })
    }

    fn show(&self, value: &Glob) -> String {
        value.text.clone()
    }

    fn describe(&self) -> String {
        self.what.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> Glob {
        GlobText { what: "name" }.parse(text).unwrap()
    }

    /// The definition, without care for its cost.
    fn matches_naively(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                (0..=name.len()).any(|skip| matches_naively(rest, &name[skip..]))
            }
            (Some((b'?', p)), Some((_, n))) => matches_naively(p, n),
            (Some((p, pattern)), Some((n, name))) => p == n && matches_naively(pattern, name),
            _ => false,
        }
    }

    #[test]
    fn a_container_is_selected_by_name_or_by_an_id_prefix_that_is_long_enough() {
        let id = "db12345678901234";
        assert!(glob("db").matches_container("db", id));
        assert!(!glob("db").matches_container("web", id), "two characters of an id select nothing");
        assert!(glob("db123456").matches_container("web", id));
        assert!(glob("api-*").matches_container("api-1", id));
        assert!(!glob("api-?").matches_container("api-10", id));
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = glob(&"*a".repeat(120));
        assert!(!pattern.matches(&"a".repeat(10_000).replacen('a', "b", 9_950)));
    }

    proptest! {
        #[test]
        fn matching_is_the_definition(pattern in "[ab*?]{1,8}", name in "[ab]{0,10}") {
            let expected = matches_naively(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(glob(&pattern).matches(&name), expected);
        }
    }
}
