//! Text for a terminal: foreign bytes made safe, widths, times.
//!
//! Separate because every foreign name that is drawn goes through here.

use super::super::top::units;
use crate::tap::traced::{Traced, is_hostile};

/// The text with everything visible that could do something to a terminal.
pub(in crate::cli) fn safe(text: &str) -> String {
    if !text.contains(is_hostile) {
        return text.to_owned();
    }
    text.chars().fold(String::new(), |mut safe, c| {
        if is_hostile(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
        safe
    })
}

/// The text in so many characters, its middle left out if it must be.
pub(super) fn fit(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else { return String::new() };
    let head = kept / 2;
    let tail = kept - head;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start}…{end}")
}

/// A duration in three digits and a unit: `12.1ms`.
pub(in crate::cli) fn duration(ns: u64) -> String {
    units::duration(ns as f64 / 1e9)
}

/// The same, as in a sentence: `12.1 ms`.
pub(super) fn words(ns: u64) -> String {
    let text = duration(ns);
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    format!("{number} {unit}")
}

/// A number of bytes: `812 B`, `3.4 KiB`.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => units::bytes(count),
    }
}

/// The time of day, UTC: `12:00:01.234`.
pub(super) fn time_of_day(unix_ns: u64) -> String {
    let ms = unix_ns / 1_000_000;
    let (s, ms) = (ms / 1000, ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// The name of a workload, as `strata top` shows it.
pub(super) fn workload(traced: &Traced<'_>) -> String {
    let Traced { namespace, pod, container, workload, .. } = traced;
    let name = match (pod.is_empty(), container.is_empty()) {
        (true, true) => workload.to_string(),
        (true, false) => format!("{workload} ({container})"),
        (false, true) => format!("{namespace}/{pod}"),
        (false, false) => format!("{namespace}/{pod}/{container}"),
    };
    safe(&name)
}

/// The status, or why there is none.
pub(super) fn status(traced: &Traced<'_>) -> String {
    match traced.status {
        0 if traced.flags.iter().any(|flag| flag == "aborted") => "aborted".to_owned(),
        0 => "-".to_owned(),
        status => status.to_string(),
    }
}

/// Whether the request failed by the server's fault, or has no response.
pub(super) fn is_failure(traced: &Traced<'_>) -> bool {
    traced.status >= 500 || traced.flags.iter().any(|flag| flag == "aborted")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_in_words_have_a_space() {
        for (ns, text) in [(12_100_000, "12.1 ms"), (812_000, "812 us"), (2_500_000_000, "2.50 s")]
        {
            assert_eq!(words(ns), text);
        }
    }

    #[test]
    fn the_day_begins_at_midnight() {
        assert_eq!(time_of_day(0), "00:00:00.000");
        assert_eq!(time_of_day(86_399_999_000_000), "23:59:59.999");
    }

    #[test]
    fn what_does_not_fit_loses_its_middle() {
        assert_eq!(fit("/v1/users/7", 11), "/v1/users/7");
        assert_eq!(fit("/v1/users/7", 7), "/v1…s/7");
        assert_eq!((fit("abc", 1), fit("abc", 0)), ("…".to_owned(), String::new()));
    }

    #[test]
    fn control_bytes_are_shown_and_not_done() {
        assert_eq!(safe("a\x1b[2Jb\u{9b}\u{202e}c"), "a\\u{1b}[2Jb\\u{9b}\\u{202e}c");
    }

    proptest! {
        #[test]
        fn any_text_becomes_harmless_and_any_width_holds(text in any::<String>(), width in 0usize..40) {
            let text = safe(&text);
            prop_assert!(!text.contains(is_hostile));
            prop_assert!(fit(&text, width).chars().count() <= width);
        }
    }
}
