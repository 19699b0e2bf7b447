//! The variables `OTEL_EXPORTER_OTLP_*`, as every exporter of spans reads them.
//!
//! Separate from the variables of ours because their names, units and rules are
//! those of the OpenTelemetry specification: a signal's own variable overrules
//! the general one, an empty one is not set, and what is not known is ignored.

use std::fmt;

use super::overlay::{Entry, Layer, Origin};
use super::{Key, Problem};

/// What all of these begin with.
pub(super) const PREFIX: &str = "OTEL_EXPORTER_OTLP_";

/// Headers that requests to the endpoint carry. They hold secrets: they are
/// shown nowhere, and are no key of the configuration, which is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Headers {
    /// Names with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A variable, and its value.
type Variable<'a> = (String, &'a str);

/// The value of a variable, and which one it is. Looks first for the one of
/// this signal.
fn find<'a>(variables: &'a [(String, String)], name: &str) -> Option<(Variable<'a>, bool)> {
    [("TRACES_", true), ("", false)].into_iter().find_map(|(signal, is_own)| {
        let full = format!("{PREFIX}{signal}{name}");
        let value = variables.iter().find(|(name, _)| *name == full)?.1.trim();
        (!value.is_empty()).then_some(((full, value), is_own))
    })
}

/// What the variables set of the keys `traces.*`.
pub(super) fn layer(variables: &[(String, String)]) -> Layer {
    let mut layer = Layer::default();
    let mut set = |key: &str, text: String, name: &str| {
        if let Some(key) = Key::find(key) {
            let origin = Origin::Variable { name: name.to_owned() };
            layer.entries.push(Entry { key, texts: vec![text], origin });
        }
    };
    if let Some(((name, value), is_own)) = find(variables, "ENDPOINT") {
        let url = with_scheme(value, variables);
        // One for traces alone is used as it is, and says so by its path.
        let has_path = url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        let path = match (is_own, has_path) {
            (true, true) => "",
            (true, false) => "/",
            (false, _) => "/v1/traces",
        };
        let base = if is_own { &*url } else { url.trim_end_matches('/') };
        set("traces.endpoint", format!("{base}{path}"), &name);
    }
    if let Some(((name, value), _)) = find(variables, "PROTOCOL") {
        set("traces.protocol", value.to_owned(), &name);
    }
    if let Some(((name, value), _)) = find(variables, "COMPRESSION") {
        set("traces.compression", value.to_owned(), &name);
    }
    if let Some(((name, value), _)) = find(variables, "CERTIFICATE") {
        set("traces.certificate", value.to_owned(), &name);
    }
    if let Some(((name, value), _)) = find(variables, "TIMEOUT") {
        set("traces.timeout", format!("{value}ms"), &name);
    }
    if let Err(name) = headers(variables) {
        layer.problems.push(Problem::Headers { name });
    }
    layer
}

/// An endpoint without a scheme is one for gRPC, and is spoken to by TLS unless
/// told otherwise.
fn with_scheme(endpoint: &str, variables: &[(String, String)]) -> String {
    if endpoint.contains("://") {
        return endpoint.to_owned();
    }
    let is_insecure = find(variables, "INSECURE")
        .is_some_and(|((_, value), _)| value.eq_ignore_ascii_case("true"));
    format!("{}://{endpoint}", if is_insecure { "http" } else { "https" })
}

/// The headers: `name=value`, with commas between them, values percent-encoded.
///
/// # Errors
///
/// The name of the variable if it is not of that form; never its value.
pub(super) fn headers(variables: &[(String, String)]) -> Result<Headers, String> {
    let Some(((variable, text), _)) = find(variables, "HEADERS") else {
        return Ok(Headers::default());
    };
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let headers = pairs.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let value = percent_decoded(value.trim())?;
        let is_fit = !name.is_empty()
            && name.bytes().all(is_token)
            && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        is_fit.then_some((name, value))
    });
    headers.collect::<Option<Vec<_>>>().map(Headers).ok_or(variable)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_owned())).collect()
    }

    fn set(of: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let entries = layer(&variables(of)).entries;
        entries.into_iter().map(|entry| (entry.key.name, entry.texts.concat())).collect()
    }

    #[test]
    fn the_signals_own_variable_wins_and_an_empty_one_is_not_set() {
        let endpoint = |own: &str, general: &str| {
            set(&[("ENDPOINT", general), ("TRACES_ENDPOINT", own)])
                .first()
                .map(|(key, text)| {
                    assert_eq!(*key, "traces.endpoint");
                    text.clone()
                })
                .unwrap_or_default()
        };
        assert_eq!(endpoint("http://b/x", "http://a:4318"), "http://b/x");
        assert_eq!(endpoint("http://b:1", "http://a:4318"), "http://b:1/");
        assert_eq!(endpoint(" ", "http://a:4318"), "http://a:4318/v1/traces");
        assert_eq!(endpoint("", "http://a:4318/p/"), "http://a:4318/p/v1/traces");
        assert_eq!(set(&[("ENDPOINT", "")]), []);
        assert_eq!(set(&[("METRICS_ENDPOINT", "http://a")]), []);
    }

    #[test]
    fn an_endpoint_without_a_scheme_is_secure_unless_told_otherwise() {
        let endpoint = |of: &[(&str, &str)]| set(of)[0].1.clone();
        assert_eq!(endpoint(&[("TRACES_ENDPOINT", "a:4317/")]), "https://a:4317/");
        let insecure = [("TRACES_ENDPOINT", "a:4317/"), ("INSECURE", "TRUE")];
        assert_eq!(endpoint(&insecure), "http://a:4317/");
        let told = [("TRACES_ENDPOINT", "https://a:4317/"), ("INSECURE", "true")];
        assert_eq!(endpoint(&told), "https://a:4317/", "a scheme says enough");
    }

    #[test]
    fn a_timeout_is_in_milliseconds() {
        assert_eq!(set(&[("TIMEOUT", "2500")]), [("traces.timeout", "2500ms".to_owned())]);
    }

    #[test]
    fn headers_are_decoded_and_never_shown() {
        let text = "Authorization=Bearer%20s3cret, x-tenant = a=b ,";
        let of = headers(&variables(&[("HEADERS", text)])).unwrap();
        let pairs: Vec<_> = of.iter().collect();
        assert_eq!(pairs, [("authorization", "Bearer s3cret"), ("x-tenant", "a=b")]);
        assert!(!format!("{of:?}").contains("s3cret"));
        for bad in ["a", "=b", "a=%", "a=%zz", "a=%0a", "a b=c"] {
            let of = variables(&[("TRACES_HEADERS", bad)]);
            assert!(headers(&of).is_err(), "{bad}");
            let problem = layer(&of).problems[0].to_string();
            assert!(problem.contains("OTEL_EXPORTER_OTLP_TRACES_HEADERS"), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn no_headers_panic_or_carry_a_line_break(text in "\\PC{0,40}|([a-z]{1,3}=[%0-9a-f\\PC]{0,9},){0,3}") {
            if let Ok(of) = headers(&variables(&[("HEADERS", &text)])) {
                prop_assert!(of.iter().all(|(name, value)| !name.contains('\n') && !value.contains('\n')));
            }
        }
    }
}
