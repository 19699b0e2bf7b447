//! Which format a scraper wants, from its `Accept` and `Accept-Encoding`.
//!
//! Separate and pure because the headers are foreign bytes: everything here is
//! total, and whatever cannot be understood falls back to text 0.0.4, which
//! every scraper reads.

/// Media ranges that are looked at; Prometheus sends four to six.
const MAX_RANGES: usize = 32;

/// A format of exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Length-delimited protobuf, with native histograms.
    Protobuf,
    /// `OpenMetrics` text 1.0.0.
    OpenMetrics1,
    /// `OpenMetrics` text 0.0.1, the same bytes under the older name.
    OpenMetrics0,
    /// Prometheus text 0.0.4.
    Text,
}

/// A format with the escaping of names that the scraper asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentType {
    /// The format.
    pub format: Format,
    /// The `escaping` parameter to echo. Our names need none, so every scheme
    /// is honoured by doing nothing.
    escaping: Option<&'static str>,
}

impl ContentType {
    const FALLBACK: Self = Self { format: Format::Text, escaping: None };

    /// The `Content-Type` of the answer.
    #[must_use]
    pub fn header(self) -> String {
        let base = match self.format {
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
            Format::OpenMetrics1 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::OpenMetrics0 => "application/openmetrics-text; version=0.0.1; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        };
        match self.escaping {
            Some(scheme) => format!("{base}; escaping={scheme}"),
            None => base.to_owned(),
        }
    }
}

/// The format with the highest quality in `accept`; of equals, the first.
#[must_use]
pub fn content_type(accept: &str) -> ContentType {
    let ranges = split_unquoted(accept, ',').take(MAX_RANGES).filter_map(parse_range);
    best(ranges).unwrap_or(ContentType::FALLBACK)
}

/// Whether the answer is to be compressed with gzip, by `accept_encoding`.
#[must_use]
pub fn is_gzip_wanted(accept_encoding: &str) -> bool {
    let codings = split_unquoted(accept_encoding, ',').take(MAX_RANGES).filter_map(|coding| {
        let mut parts = split_unquoted(coding, ';');
        let name = parts.next()?.trim();
        Some((quality(parts)?, name))
    });
    let mut named = None;
    let mut any = None;
    let mut plain = None;
    for (quality, name) in codings {
        let slot = match name {
            _ if is_word(name, "gzip") || is_word(name, "x-gzip") => &mut named,
            _ if is_word(name, "identity") => &mut plain,
            "*" => &mut any,
            _ => continue,
        };
        *slot = (*slot).max(Some(quality));
    }
    let gzip = named.or(any).unwrap_or(0);
    gzip > 0 && gzip >= plain.unwrap_or(0)
}

fn best<T>(candidates: impl Iterator<Item = (u16, T)>) -> Option<T> {
    let mut best: Option<(u16, T)> = None;
    for (quality, candidate) in candidates {
        if quality > best.as_ref().map_or(0, |(quality, _)| *quality) {
            best = Some((quality, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// One media range, if it names a format that we have.
fn parse_range(range: &str) -> Option<(u16, ContentType)> {
    let mut parts = split_unquoted(range, ';');
    let media_type = parts.next()?.trim();
    let quality = quality(parts.clone())?;
    let parameter = |wanted: &str| {
        parts.clone().filter_map(parse_parameter).find(|(name, _)| is_word(name, wanted))
    };
    let version = parameter("version").map(|(_, value)| value);
    let format = if is_word(media_type, "application/vnd.google.protobuf") {
        let (_, proto) = parameter("proto")?;
        let (_, encoding) = parameter("encoding")?;
        (proto == "io.prometheus.client.MetricFamily" && encoding == "delimited")
            .then_some(Format::Protobuf)
    } else if is_word(media_type, "application/openmetrics-text") {
        match version {
            Some("1.0.0") => Some(Format::OpenMetrics1),
            // Without a version the oldest is meant, as in Prometheus' own library.
            Some("0.0.1") | None => Some(Format::OpenMetrics0),
            Some(_) => None,
        }
    } else if is_word(media_type, "text/plain") {
        matches!(version, Some("0.0.4") | None).then_some(Format::Text)
    } else {
        (media_type == "*/*" || is_word(media_type, "text/*")).then_some(Format::Text)
    };
    // Text 0.0.4 is older than the parameter.
    let has_escaping = format != Some(Format::Text);
    let escaping =
        parameter("escaping").filter(|_| has_escaping).and_then(|(_, scheme)| known_scheme(scheme));
    format.map(|format| (quality, ContentType { format, escaping }))
}

fn known_scheme(scheme: &str) -> Option<&'static str> {
    ["allow-utf-8", "underscores", "dots", "values"].into_iter().find(|known| *known == scheme)
}

fn is_word(text: &str, word: &str) -> bool {
    text.eq_ignore_ascii_case(word)
}

fn parse_parameter(part: &str) -> Option<(&str, &str)> {
    let (name, value) = part.split_once('=')?;
    let value = value.trim();
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some((name.trim(), unquoted.unwrap_or(value)))
}

/// The `q` parameter in thousandths; 1000 if there is none, `None` (which
/// leaves the range out) if it is not a number from 0 to 1.
fn quality<'a>(parts: impl Iterator<Item = &'a str>) -> Option<u16> {
    let Some((_, value)) = parts.filter_map(parse_parameter).find(|(name, _)| is_word(name, "q"))
    else {
        return Some(1000);
    };
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// Splits at `separator` outside of quoted strings. An unclosed quote reaches
/// to the end.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> + Clone {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        let mut is_quoted = false;
        let mut is_escaped = false;
        let end = current.find(|c| {
            let was_escaped = std::mem::take(&mut is_escaped);
            match c {
                '"' if !was_escaped => is_quoted = !is_quoted,
                '\\' if is_quoted && !was_escaped => is_escaped = true,
                _ => {}
            }
            c == separator && !is_quoted
        });
        let (part, after) = match end.and_then(|end| current.split_at_checked(end)) {
            Some((part, after)) => (part, after.strip_prefix(separator)),
            None => (current, None),
        };
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

    fn check(accept: &str, expected: Format) {
        assert_eq!(content_type(accept).format, expected, "{accept}");
    }

    #[test]
    fn what_scrapers_send_gets_what_they_prefer() {
        // Prometheus 2.42 with and without native histograms, and 3.x.
        check(
            &format!(
                "{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            Format::Protobuf,
        );
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics1,
        );
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            Format::OpenMetrics1,
        );
        // curl and a browser.
        check("*/*", Format::Text);
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Text);
    }

    #[test]
    fn quality_decides_and_order_breaks_ties() {
        check(&format!("{PROTOBUF};q=0.3,text/plain;q=0.4"), Format::Text);
        check(&format!("text/plain;q=0.4,{PROTOBUF};q=0.401"), Format::Protobuf);
        check("application/openmetrics-text;version=0.0.1,text/plain", Format::OpenMetrics0);
        check("text/plain,application/openmetrics-text;version=1.0.0", Format::Text);
        check("application/openmetrics-text;version=1.0.0;q=0", Format::Text);
    }

    #[test]
    fn what_is_not_understood_falls_back_to_text() {
        for accept in [
            "",
            ",;,=",
            "application/json",
            "application/vnd.google.protobuf",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            "application/vnd.google.protobuf;proto=other;encoding=delimited",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=1.001",
            "application/openmetrics-text;q=0.1234",
            "application/openmetrics-text;q=-1",
            "application/openmetrics-text;q=+.5",
            "\"application/openmetrics-text;version=1.0.0",
        ] {
            check(accept, Format::Text);
        }
    }

    #[test]
    fn parameters_may_be_spaced_cased_and_quoted() {
        check(
            "Application/OpenMetrics-Text ; Version = \"1.0.0\" ; charset=\"a,b;c\\\"\"",
            Format::OpenMetrics1,
        );
        check("text/plain;x=\"a,application/openmetrics-text;version=1.0.0\"", Format::Text);
    }

    #[test]
    fn the_answer_names_its_version_and_echoes_known_escaping() {
        let header = |accept| content_type(accept).header();
        assert_eq!(header("*/*;escaping=dots"), "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(
            header("application/openmetrics-text;version=1.0.0;escaping=underscores"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
        );
        assert_eq!(
            header("application/openmetrics-text;version=0.0.1;escaping=\"x; y\""),
            "application/openmetrics-text; version=0.0.1; charset=utf-8"
        );
        assert_eq!(
            header(PROTOBUF),
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        );
    }

    #[test]
    fn gzip_is_used_only_where_it_is_wanted() {
        for wanted in [
            "gzip",
            "GZIP",
            "x-gzip",
            "deflate, gzip;q=0.5",
            "*",
            "identity, gzip",
            "br;q=1, gzip;q=0.001",
        ] {
            assert!(is_gzip_wanted(wanted), "{wanted}");
        }
        for unwanted in [
            "",
            "identity",
            "deflate, br",
            "gzip;q=0",
            "*, gzip;q=0",
            "identity, gzip;q=0.5",
            "gzip;q=x",
        ] {
            assert!(!is_gzip_wanted(unwanted), "{unwanted}");
        }
    }

    proptest! {
        #[test]
        fn hostile_headers_get_an_answer(accept in "\\PC{0,200}", encoding in "\\PC{0,200}") {
            let _ = is_gzip_wanted(&encoding);
            prop_assert!(content_type(&accept).header().is_ascii());
        }

        #[test]
        fn broken_headers_of_the_right_shape_get_an_answer(
            accept in "([a-z*]{0,3}/?|text/plain|application/openmetrics-text|;|,|=|\"|\\\\|q=|version=|[0-9.]{0,5}| ){0,40}",
        ) {
            prop_assert!(content_type(&accept).header().is_ascii());
        }

        #[test]
        fn what_comes_before_a_preferred_format_does_not_hide_it(
            noise in prop::collection::vec("[a-z]{1,8}/[a-z]{1,8}(;[a-z]{2,4}=(\"[a-z,;]{0,9}\"|[a-z]{1,3})){0,3};q=0\\.[0-9]{1,3}", 0..8),
        ) {
            let accept = format!("{}{}application/openmetrics-text;version=1.0.0", noise.join(","), if noise.is_empty() { "" } else { "," });
            prop_assert_eq!(content_type(&accept).format, Format::OpenMetrics1);
        }
    }
}
