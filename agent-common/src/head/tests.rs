//! Heads as clients write them, and as they should not.

use super::*;
use crate::limits::{HEAD_BYTES, MAX_PIPELINED, PATH_BYTES};
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

fn scanned(text: &str) -> Head {
    let mut head = Head::default();
    scan(text.as_bytes(), &mut head);
    head
}

fn opened(text: &str) -> Opened {
    let mut opened = Opened::new();
    open(text.as_bytes(), &mut opened);
    opened
}

fn kind(text: &str) -> u8 {
    opened(text).opening
}

#[test]
fn methods_are_known_by_name() {
    for (text, method) in [
        ("GET / HTTP/1.1\r\n\r\n", Method::Get),
        ("HEAD /x HTTP/1.1\r\n", Method::Head),
        ("POST /x HTTP/1.1\r\n", Method::Post),
        ("PUT /x HTTP/1.1\r\n\r\n", Method::Put),
        ("DELETE /x HTTP/1.1\r\n", Method::Delete),
        ("PATCH /x HTTP/1.1\r\n", Method::Patch),
        ("QUERY /x HTTP/1.1\r\n", Method::Query),
        ("TRACE /x HTTP/1.1\r\n", Method::Trace),
        ("OPTIONS * HTTP/1.1\r\n", Method::Options),
        ("CONNECT example.org:443 HTTP/1.1\r\n", Method::Connect),
        ("PROPFIND /dav HTTP/1.1\r\n", Method::Other),
        ("GET http://example.org/ HTTP/1.1\r\n", Method::Get),
    ] {
        let found = opened(text);
        assert_eq!((found.opening, found.method), (Opening::Request as u8, method as u8), "{text}");
        let at = usize::from(found.target_at);
        assert_eq!(&text[at - 1..at], " ");
    }
}

#[test]
fn other_protocols_are_not_requests() {
    assert_eq!(kind("*1\r\n$4\r\nPING\r\n"), Opening::Opaque as u8);
    assert_eq!(kind("GET some-inline-key\r\n"), Opening::Opaque as u8);
    assert_eq!(kind("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Opening::Http2 as u8);
    assert_eq!(kind("\u{16}\u{3}\u{1}\0"), Opening::Tls as u8);
    assert_eq!(kind("P"), Opening::Short as u8);
    assert_eq!(kind("PING\r\n"), Opening::Short as u8);
    assert_eq!(kind(""), Opening::Opaque as u8);
}

#[test]
fn bodies_are_measured() {
    let body = scanned("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!((body.body_left, body.is_complete), (7, 1));
    assert_eq!(scanned("POST / HTTP/1.1\r\ncontent-length:5\r\n\r\n").body_left, 5);
    assert_eq!(scanned("POST / HTTP/1.1\r\nCONTENT-LENGTH: 5\r\n\r\nabcde").body_left, 0);
    let chunked = scanned("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n");
    assert_eq!(chunked.body_left, BODY_UNKNOWN);
}

#[test]
fn pipelined_requests_are_counted_with_their_methods() {
    let text = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nHEAD /b HTTP/1.1\r\nHost: x\r\n\r\nDELETE /c HTTP/1.1\r\n\r\n";
    let head = scanned(text);
    assert_eq!((head.pipelined, head.may_have_more), (2, 0));
    assert_eq!(head.pipelined_methods & 15, Method::Head as u64);
    assert_eq!(head.pipelined_methods >> 4 & 15, Method::Delete as u64);
}

#[test]
fn requests_behind_a_body_are_found_with_their_methods() {
    let post =
        |body: &str| format!("POST /b HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let get = "GET /c HTTP/1.1\r\nHost: x\r\n\r\n";
    // Blank lines and headers within a body are the body's.
    for body in ["body", "\r\n\r\n", "Content-Length: 9\r\n\r\nDELETE / HTTP/1.1\r\n\r\n"] {
        let cases: [(String, Vec<Method>); 4] = [
            (format!("{}{get}", post(body)), vec![Method::Get]),
            (format!("{get}{}{get}", post(body)), vec![Method::Post, Method::Get]),
            (format!("{get}{}", post(body)), vec![Method::Post]),
            (format!("{0}{0}{get}", post(body)), vec![Method::Post, Method::Get]),
        ];
        for (text, methods) in cases {
            let head = scanned(&text);
            let found: Vec<u64> =
                (0..head.pipelined).map(|i| head.pipelined_methods >> (4 * i) & 15).collect();
            let methods: Vec<u64> = methods.into_iter().map(|method| method as u64).collect();
            assert_eq!((found, head.may_have_more, head.body_left), (methods, 0, 0), "{text}");
        }
    }
}

#[test]
fn a_body_that_is_not_all_there_ends_the_scan() {
    let text = "GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 50\r\n\r\n\r\n\r\nabc";
    let head = scanned(text);
    assert_eq!((head.pipelined, head.may_have_more, head.body_left), (1, 0, 0));
    let chunked = "GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!((scanned(chunked).pipelined, scanned(chunked).may_have_more), (1, 1));
    let long = format!(
        "POST / HTTP/1.1\r\nContent-Length: 600\r\n\r\n{}GET / HTTP/1.1\r\n\r\n",
        "x".repeat(600)
    );
    assert_eq!((scanned(&long).pipelined, scanned(&long).may_have_more), (0, 1));
}

#[test]
fn a_head_that_is_too_long_says_that_more_may_follow() {
    let long = format!("GET /a HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(600));
    let head = scanned(&long);
    assert_eq!((head.is_complete, head.may_have_more), (0, 1));
}

#[test]
fn event_streams_are_seen_from_both_sides() {
    assert_eq!(scanned("GET /sse HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n").wants_stream, 1);
    assert_eq!(scanned("GET /sse HTTP/1.1\r\nAccept: text/html\r\n\r\n").wants_stream, 0);
    let response = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: x";
    assert!(names_event_stream(&response[..]));
    assert!(!names_event_stream(&b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"[..]));
}

#[test]
fn paths_end_before_the_query() {
    let whole = |text: &str| {
        let mut opened = Opened::new();
        path(text.as_bytes(), &mut opened);
        (opened.path_len, opened.path_hash)
    };
    assert_eq!(whole("/healthz HTTP/1.1").0, 8);
    assert_eq!(whole("/a HTTP/1.1").0, 2);
    assert_eq!(whole("/healthz?secret=1 HTTP/1.1"), whole("/healthz HTTP/1.1"));
    assert_ne!(whole("/healthz HTTP/1.1"), whole("/healthy HTTP/1.1"));
    assert_eq!(whole(&"/x".repeat(40)), (PATH_BYTES as u8, 0));
}

#[test]
fn statuses_are_read_from_the_first_line() {
    let text = b"HTTP/1.1 404 Not Found\r\n";
    assert_eq!(status(text[..].word(0), text[..].word(8)), 404);
    let text = b"HTTP/1.0 200 OK\r\n\r\n";
    assert_eq!(status(text[..].word(0), text[..].word(8)), 200);
    let text = b"+OK\r\nHTTP/1.1 200";
    assert_eq!(status(text[..].word(0), text[..].word(8)), 0);
}

/// A second opinion on how many requests a buffer holds.
fn count_blank_lines(text: &str) -> usize {
    text.matches("\r\n\r\n").count()
}

proptest! {
    #[test]
    fn hostile_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut head = Head::default();
        scan(&bytes[..], &mut head);
        prop_assert!(head.pipelined <= MAX_PIPELINED);
        let mut opened = Opened::new();
        open(&bytes[..], &mut opened);
        path(&bytes[..], &mut opened);
        prop_assert!(usize::from(opened.path_len) <= PATH_BYTES);
    }

    #[test]
    fn every_pipelined_request_within_sight_is_found(
        paths in proptest::collection::vec("/[a-z]{0,12}", 1..9)
    ) {
        let text: String = paths.iter().map(|p| format!("GET {p} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
        prop_assume!(text.len() <= HEAD_BYTES);
        let head = scanned(&text);
        prop_assert_eq!(head.pipelined as usize + 1, count_blank_lines(&text));
        prop_assert_eq!(head.may_have_more, 0);
    }

    #[test]
    fn a_path_ends_at_the_first_byte_that_cannot_be_in_it(path_bytes in "/[ -~]{0,60}") {
        let expected = path_bytes.find([' ', '?', '#']).unwrap_or(path_bytes.len());
        let text = format!("{path_bytes} HTTP/1.1");
        let mut opened = Opened::new();
        path(text.as_bytes(), &mut opened);
        prop_assert_eq!(usize::from(opened.path_len), expected);
    }

    #[test]
    fn a_content_length_is_read_wherever_it_stands(
        before in proptest::collection::vec("[A-Za-z-]{1,12}: [ -~]{0,20}\r\n", 0..8),
        length in 1u64..1_000_000,
    ) {
        let lines: Vec<String> = before.into_iter()
            .filter(|l| !l.to_ascii_lowercase().starts_with("transfer") && !l.to_ascii_lowercase().starts_with("content"))
            .collect();
        let text = format!("POST / HTTP/1.1\r\n{}Content-Length: {length}\r\n\r\n", lines.concat());
        prop_assume!(text.len() <= HEAD_BYTES);
        prop_assert_eq!(scanned(&text).body_left, length);
    }
}
