//! `traceparent` as it is written, and as it should not be.

use std::format;
use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::head::scan;
use crate::record::request::TRACE_SAMPLED;

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn read(bytes: &[u8]) -> TraceContext {
    let mut head = Head::new();
    scan(bytes, &mut head);
    let mut context = TraceContext { flags: 7, outcome: 9, ..TraceContext::new() };
    trace(bytes, &head, &mut context);
    if context.outcome != FLAG_TRACE {
        // Nothing of what was there instead.
        assert_eq!((context.trace_id, context.parent_id), ([0; 2], 0));
    }
    context
}

/// What a request with these headers says.
fn with(headers: &str) -> TraceContext {
    read(format!("GET /a HTTP/1.1\r\nHost: x\r\n{headers}Accept: */*\r\n\r\n").as_bytes())
}

fn outcome(headers: &str) -> u32 {
    with(headers).outcome
}

/// The ids in the order of their digits.
fn ids(context: &TraceContext) -> (u128, u64) {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&context.trace_id[0].to_le_bytes());
    bytes[8..].copy_from_slice(&context.trace_id[1].to_le_bytes());
    (u128::from_be_bytes(bytes), u64::from_be_bytes(context.parent_id.to_le_bytes()))
}

#[test]
fn a_traceparent_is_read_with_its_flags() {
    for (flags, is_sampled) in [("01", 1), ("00", 0), ("03", 1), ("02", 0), ("ff", 1)] {
        let context = with(&format!("traceparent: {}{flags}\r\n", &GOOD[..53]));
        assert_eq!(context.outcome, FLAG_TRACE);
        assert_eq!(
            ids(&context),
            (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331)
        );
        assert_eq!(context.flags & TRACE_SAMPLED, is_sampled);
        assert_eq!(format!("{:02x}", context.flags), flags);
    }
}

#[test]
fn its_name_is_of_either_case_and_blanks_may_stand_around_its_value() {
    for name in ["traceparent", "Traceparent", "TRACEPARENT", "TraceParent"] {
        for value in [
            GOOD.into(),
            format!(" {GOOD}"),
            format!(" \t {GOOD}"),
            format!("{GOOD} "),
            format!(" {GOOD}\t "),
        ] {
            assert_eq!(outcome(&format!("{name}:{value}\r\n")), FLAG_TRACE, "{name}:{value}");
        }
    }
    // Lines that end with a bare newline, which servers take too.
    assert_eq!(outcome(&format!("traceparent: {GOOD}\n")), FLAG_TRACE);
}

#[test]
fn what_is_not_that_header_is_not_looked_at() {
    for headers in [
        format!("xtraceparent: {GOOD}\r\n"),
        format!("traceparents: {GOOD}\r\n"),
        format!("traceparent : {GOOD}\r\n"),
        format!("tracestate: {GOOD}\r\n"),
        // A line that goes on with that of before.
        format!(" traceparent: {GOOD}\r\n"),
        format!("Cookie: traceparent: {GOOD}\r\n"),
        format!("Cookie: a\rtraceparent: {GOOD}\r\n"),
        format!("traceparent\u{1a} {GOOD}\r\n"),
    ] {
        assert_eq!(outcome(&headers), 0, "{headers:?}");
    }
    let target = format!("GET /traceparent:{GOOD} HTTP/1.1\r\n\r\n");
    assert_eq!(read(target.as_bytes()).outcome, 0);
}

#[test]
fn what_is_malformed_is_refused_whole() {
    for value in [
        "",
        "00",
        &GOOD[..54],
        &format!("{GOOD}0"),
        &format!("{GOOD}-"),
        &format!("{GOOD}-what-the-future-has"),
        &format!("{GOOD} x"),
        &format!("    {GOOD}"),
        &GOOD.replace("0af7", "0AF7"),
        &GOOD.replace("b7ad", "b7aG"),
        &GOOD.replace("b7ad", "b7a/"),
        &GOOD.replace("b7ad", "b7a:"),
        &GOOD.replace("b7ad", "b7a`"),
        &GOOD.replace("b7ad", "b7ag"),
        &GOOD.replace('-', "_"),
        &GOOD.replace("-01", "-0x"),
        &GOOD.replace("00-", "0x-"),
        &format!("ff{}", &GOOD[2..]),
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    ] {
        assert_eq!(outcome(&format!("traceparent: {value}\r\n")), FLAG_TRACE_REFUSED, "{value}");
    }
}

#[test]
fn a_later_version_is_read_as_far_as_this_one_goes() {
    for value in [
        format!("01{}", &GOOD[2..]),
        format!("cc{}-more", &GOOD[2..]),
        format!("fe{}-", &GOOD[2..]),
    ] {
        assert_eq!(outcome(&format!("traceparent: {value}\r\n")), FLAG_TRACE, "{value}");
    }
    for value in [format!("01{}.more", &GOOD[2..]), format!("01{}0", &GOOD[2..])] {
        assert_eq!(outcome(&format!("traceparent: {value}\r\n")), FLAG_TRACE_REFUSED, "{value}");
    }
}

#[test]
fn two_are_as_good_as_none() {
    let line = format!("traceparent: {GOOD}\r\n");
    assert_eq!(outcome(&format!("{line}{line}")), FLAG_TRACE_REFUSED);
    assert_eq!(outcome(&format!("{line}Traceparent: x\r\n")), FLAG_TRACE_REFUSED);
}

#[test]
fn one_in_a_body_or_a_later_request_is_not_this_ones() {
    let line = format!("traceparent: {GOOD}\r\n");
    for end in ["\r\n\r\n", "\n\n"] {
        let body = format!("POST / HTTP/1.1\r\nContent-Length: 300{end}{line}\r\n{line}");
        assert_eq!(read(body.as_bytes()).outcome & FLAG_TRACE, 0, "{end:?}");
    }
    let next = format!("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n{line}\r\n");
    assert_eq!(read(next.as_bytes()).outcome, 0);
    let first = format!("GET / HTTP/1.1\r\n{line}\r\nGET / HTTP/1.1\r\n{line}\r\n");
    assert_eq!(read(first.as_bytes()).outcome, FLAG_TRACE);
}

#[test]
fn what_lies_beyond_sight_is_said_to_be_unseen() {
    let with_cookie = |bytes: usize| {
        let cookie = "x".repeat(bytes);
        let text = format!("GET / HTTP/1.1\r\nCookie: {cookie}\r\ntraceparent: {GOOD}\r\n\r\n");
        read(text.get(..HEAD_BYTES.min(text.len())).unwrap().as_bytes()).outcome
    };
    assert_eq!(with_cookie(200), FLAG_TRACE);
    // The last that is whole with the end of its line, the first that is not.
    let last = HEAD_BYTES - "GET / HTTP/1.1\r\nCookie: \r\ntraceparent: \r\n".len() - GOOD.len();
    assert_eq!(with_cookie(last), FLAG_TRACE);
    assert_eq!(with_cookie(last + 1), FLAG_TRACE_UNSEEN);
    assert_eq!(with_cookie(last + 60), FLAG_TRACE_UNSEEN);
    assert_eq!(with_cookie(900), FLAG_TRACE_UNSEEN);
    assert_eq!(read(b"GET / HTTP/1.1\r\n").outcome, FLAG_TRACE_UNSEEN, "more is to come");
    // In sight, and malformed, with the head's end not in sight.
    let bad = format!("GET / HTTP/1.1\r\ntraceparent: x\r\nCookie: {}", "x".repeat(600));
    assert_eq!(read(&bad.as_bytes()[..HEAD_BYTES]).outcome, FLAG_TRACE_UNSEEN);
}

/// A second opinion, by the letter of the recommendation.
fn parse(value: &str) -> Option<(u128, u64, u32)> {
    let value = value.trim_matches([' ', '\t']);
    let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let parts: Vec<&str> = value.split('-').collect();
    let [version, trace, parent, flags, rest @ ..] = &parts[..] else { return None };
    let lengths = [version.len(), trace.len(), parent.len(), flags.len()];
    let is_good = lengths == [2, 32, 16, 2]
        && [version, trace, parent, flags].into_iter().all(|part| is_hex(part))
        && *version != "ff"
        && (*version != "00" || rest.is_empty());
    let ids = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(parent, 16).ok()?);
    (is_good && ids.0 != 0 && ids.1 != 0)
        .then(|| (ids.0, ids.1, u32::from_str_radix(flags, 16).unwrap()))
}

/// Values that are near to good ones.
fn values() -> impl Strategy<Value = String> {
    let good = (any::<u8>(), any::<u128>(), any::<u64>(), any::<u8>()).prop_map(
        |(version, trace, parent, flags)| {
            let version = if version % 2 == 0 { 0 } else { version };
            format!("{version:02x}-{trace:032x}-{parent:016x}-{flags:02x}")
        },
    );
    let broken =
        (good.clone(), any::<prop::sample::Index>(), "[ -~]").prop_map(|(mut value, at, with)| {
            let at = at.index(value.len());
            value.replace_range(at..=at, &with);
            value
        });
    let longer = (good.clone(), "[-0-9a-f .]{1,4}").prop_map(|(value, more)| value + &more);
    prop_oneof![good, broken, longer, "[-0-9a-f]{0,60}"]
}

proptest! {
    #[test]
    fn every_value_is_read_as_the_recommendation_says(
        value in values(),
        before in proptest::collection::vec("[A-SU-Za-su-z-]{1,12}: [ -~]{0,20}\r\n", 0..5),
    ) {
        let context = with(&format!("{}traceparent: {value}\r\n", before.concat()));
        let read = (context.outcome == FLAG_TRACE).then(|| {
            let (trace, parent) = ids(&context);
            (trace, parent, context.flags)
        });
        // More blanks than are passed over are not what anybody sends.
        prop_assume!(!value.contains("    ") && !value.starts_with("   "));
        prop_assert_eq!(read, parse(&value), "{}", value);
    }

    #[test]
    fn nothing_but_a_header_of_that_name_at_the_start_of_a_line_is_read(
        head in "(GET|POST) /[ -~]{0,30}\r\n([ -~]{0,40}(\r\n|\n|\r)){0,8}",
        put in prop::sample::select(&["", "\r\n", "\n", "\r", " ", "x", "\0", "\r\n\r\n", "\n\n"][..]),
        cut in 0usize..200,
    ) {
        let text = format!("{head}{put}traceparent: {GOOD}\r\n\r\n");
        let end = text.len() - cut.min(text.len());
        let text = text.get(..end).unwrap_or(&text);
        // By lines, up to the first that is empty.
        let mut lines = text.split_inclusive('\n').skip(1);
        let found = lines.by_ref().take_while(|line| !["\n", "\r\n"].contains(line)).filter(|line| {
            line.to_ascii_lowercase().strip_prefix("traceparent:").is_some_and(|value| {
                value.ends_with('\n') && parse(value.trim_end_matches(['\r', '\n'])).is_some()
            })
        });
        let wanted = found.count() == 1;
        prop_assert_eq!(read(text.as_bytes()).outcome == FLAG_TRACE, wanted, "{:?}", text);
    }

    #[test]
    fn hostile_bytes_are_never_kept(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_ne!(read(&bytes).outcome, FLAG_TRACE);
    }
}
