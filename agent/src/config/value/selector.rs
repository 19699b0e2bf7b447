//! Label selectors as `kubectl -l` takes them: `app=api,tier in (web,edge),!canary`.
//!
//! Separate because it is a grammar of its own; parsing and matching are pure
//! and know nothing of where labels come from.

use std::fmt;

use super::{Type, Unfit};

/// All of these requirements, as commas join them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Each must hold; never empty.
    pub requirements: Vec<Requirement>,
}

/// One condition on the labels of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// `key`: the label is there.
    Exists(String),
    /// `!key`: the label is not there.
    Missing(String),
    /// `key=value` or `key in (a,b)`: the label has one of these values.
    In(String, Vec<String>),
    /// `key!=value` or `key notin (a,b)`: the label has none of these values,
    /// or is not there.
    NotIn(String, Vec<String>),
}

impl Selector {
    /// Whether labels satisfy every requirement; `label` looks one up.
    #[must_use]
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let has = |key: &str, values: &[String]| {
            label(key).is_some_and(|value| values.iter().any(|wanted| wanted == value))
        };
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Missing(key) => label(key).is_none(),
            Requirement::In(key, values) => has(key, values),
            Requirement::NotIn(key, values) => !has(key, values),
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(key) => write!(f, "{key}"),
            Self::Missing(key) => write!(f, "!{key}"),
            Self::In(key, values) => match values.as_slice() {
                [value] => write!(f, "{key}={value}"),
                _ => write!(f, "{key} in ({})", values.join(",")),
            },
            Self::NotIn(key, values) => match values.as_slice() {
                [value] => write!(f, "{key}!={value}"),
                _ => write!(f, "{key} notin ({})", values.join(",")),
            },
        }
    }
}

/// The type of [`Selector`] values.
pub(in crate::config) struct SelectorText;

impl Type for SelectorText {
    type Value = Selector;

    fn parse(&self, text: &str) -> Result<Selector, Unfit> {
        let requirements =
            split(text).and_then(|parts| parts.into_iter().map(requirement).collect());
        requirements.map(|requirements| Selector { requirements }).ok_or_else(|| Unfit::Form {
            text: text.to_owned(),
            wanted: "a label selector such as app=api,tier!=cache",
        })
    }

    fn show(&self, value: &Selector) -> String {
        value.to_string()
    }

    fn describe(&self) -> String {
        "label selector".to_owned()
    }
}

/// Cuts at the commas that are not between parentheses.
fn split(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let comma = rest.find(',').unwrap_or(rest.len());
        let end = match rest.find('(') {
            Some(open) if open < comma => {
                let close = open + rest.get(open..)?.find(')')?;
                close + rest.get(close..)?.find(',').unwrap_or(rest.len() - close)
            }
            _ => comma,
        };
        parts.push(rest.get(..end)?.trim());
        match rest.get(end + 1..) {
            Some(after) if end < rest.len() => rest = after,
            _ => return Some(parts),
        }
    }
}

fn requirement(text: &str) -> Option<Requirement> {
    if let Some(name) = text.strip_prefix('!') {
        return Some(Requirement::Missing(key(name)?));
    }
    if let Some(inside) = text.strip_suffix(')') {
        let (head, values) = inside.split_once('(')?;
        let (name, operator) = head.trim().split_once(char::is_whitespace)?;
        let values = values.split(',').map(value).collect::<Option<Vec<_>>>()?;
        return match operator.trim() {
            "in" => Some(Requirement::In(key(name)?, values)),
            "notin" => Some(Requirement::NotIn(key(name)?, values)),
            _ => None,
        };
    }
    if let Some((name, wanted)) = text.split_once("!=") {
        return Some(Requirement::NotIn(key(name)?, vec![value(wanted)?]));
    }
    if let Some((name, wanted)) = text.split_once('=') {
        let wanted = wanted.strip_prefix('=').unwrap_or(wanted);
        return Some(Requirement::In(key(name)?, vec![value(wanted)?]));
    }
    Some(Requirement::Exists(key(text)?))
}

/// A label key: a name of at most 63 bytes, with a DNS prefix or without.
fn key(text: &str) -> Option<String> {
    let text = text.trim();
    let (prefix, name) = text.split_once('/').map_or((None, text), |(p, n)| (Some(p), n));
    let is_prefix = |prefix: &str| {
        prefix.len() <= 253 && prefix.split('.').all(is_name) && !prefix.contains('_')
    };
    (is_name(name) && prefix.is_none_or(is_prefix)).then(|| text.to_owned())
}

/// A label value: empty, or a name of at most 63 bytes.
fn value(text: &str) -> Option<String> {
    let text = text.trim();
    (text.is_empty() || is_name(text)).then(|| text.to_owned())
}

/// The alphabet of Kubernetes' names: ends are letters or digits.
fn is_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_end = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text.chars().all(is_inner)
        && text.starts_with(is_end)
        && text.ends_with(is_end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Selector, Unfit> {
        SelectorText.parse(text)
    }

    fn matches(selector: &str, labels: &[(&str, &'static str)]) -> bool {
        let find = |key: &str| labels.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
        parse(selector).unwrap().matches(find)
    }

    #[test]
    fn the_forms_of_kubectl_are_understood() {
        let labels = [("app", "api"), ("app.kubernetes.io/part-of", "shop")];
        for selector in [
            "app=api",
            "app==api",
            "app",
            "!canary",
            "app in (web, api)",
            "app notin (web,db),app.kubernetes.io/part-of=shop",
            "canary!=true",
            "app in (api),!canary",
        ] {
            assert!(matches(selector, &labels), "{selector}");
        }
        for selector in ["app=web", "!app", "canary", "app!=api", "app in (web)", "app=api,x"] {
            assert!(!matches(selector, &labels), "{selector}");
        }
    }

    #[test]
    fn what_kubectl_refuses_is_refused() {
        for text in [
            "",
            ",",
            "app=api,",
            "=api",
            "app in api",
            "app in (a",
            "app near (a)",
            "a b",
            "-a=b",
            "a=b c",
            "a/b/c",
            "app in ()(x)",
            "/a",
            "a_b/c",
        ] {
            assert!(parse(text).is_err(), "{text:?} is {:?}", parse(text));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_back(text in "(!?[ab]|[ab] ?!?==? ?[ab]?|[ab] (in|notin) \\([ab](,[ab]){0,2}\\))(,[ab]){0,2}") {
            if let Ok(selector) = parse(&text) {
                prop_assert_eq!(parse(&selector.to_string()), Ok(selector));
            }
        }

        #[test]
        fn no_text_panics(text in "[ab!=(), ]{0,20}|\\PC*") {
            let _ = parse(&text);
        }
    }
}
