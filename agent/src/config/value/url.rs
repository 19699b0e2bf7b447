//! URLs of HTTP endpoints.
//!
//! Separate because what is refused here would otherwise fail once a second, for
//! as long as the agent runs.

use super::{Type, Unfit};

/// The most bytes of a URL; longer ones are mistakes.
const MAX_BYTES: usize = 2_048;

/// An `http` or `https` URL with a host, without user, query or fragment: those
/// are where secrets would be, and there is a variable for headers.
pub(in crate::config) struct HttpUrl;

impl Type for HttpUrl {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, Unfit> {
        if text.len() > MAX_BYTES {
            return Err(Unfit::Long { text: text.to_owned(), max: MAX_BYTES });
        }
        if is_url(text) {
            return Ok(text.to_owned());
        }
        Err(Unfit::Form { text: text.to_owned(), wanted: "a URL such as http://collector:4318" })
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn describe(&self) -> String {
        "URL, http or https".to_owned()
    }
}

/// An [`HttpUrl`] without TLS and without a path: of a server of ours.
pub(in crate::config) struct PlainUrl;

impl Type for PlainUrl {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, Unfit> {
        let url = HttpUrl.parse(text)?;
        let rest = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        if rest.is_some_and(|rest| !rest.contains('/')) {
            return Ok(url);
        }
        Err(Unfit::Form { text: url, wanted: "a URL such as http://strata-peers.strata.svc:9465" })
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn describe(&self) -> String {
        "URL, http".to_owned()
    }
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        // Of an IPv6 address the last colon is within the brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_plain =
        rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\\\"<>".contains(&byte));
    is_host && is_port && is_plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_and_a_host_and_nothing_that_hides_a_secret() {
        for text in [
            "http://collector:4318",
            "https://otlp.example.com/tenant/a",
            "http://127.0.0.1:4317/",
            "http://[::1]:4318/x",
            "http://a_b.svc",
        ] {
            assert_eq!(HttpUrl.parse(text), Ok(text.to_owned()));
        }
        for text in [
            "",
            "collector:4318",
            "ftp://a",
            "http://",
            "http:///v1",
            "http://a:0",
            "http://a:99999",
            "http://u:p@a",
            "http://a?k=v",
            "http://a#f",
            "http://a b",
            "http://[::1",
            "http://a\n",
        ] {
            assert!(matches!(HttpUrl.parse(text), Err(Unfit::Form { .. })), "{text:?}");
        }
        assert!(PlainUrl.parse("http://strata-peers.strata.svc:9465/").is_ok());
        for text in ["https://a:9465", "http://a/path", "a:9465"] {
            assert!(matches!(PlainUrl.parse(text), Err(Unfit::Form { .. })), "{text:?}");
        }
        let long = format!("http://{}", "a".repeat(MAX_BYTES));
        assert!(matches!(HttpUrl.parse(&long), Err(Unfit::Long { .. })));
    }
}
