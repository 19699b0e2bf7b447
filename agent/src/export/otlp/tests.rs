//! What a request says as spans: the sums, the names, and what is never there.

use std::sync::Arc;

use agent_common::conn::Protocol;
use agent_common::head::Method;
use agent_common::parts::{PARTS, Part, Split};
use agent_common::record::request::FLAG_ABORTED;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use proptest::prelude::*;

use super::span::spans;
use crate::event::call::{Call, Caller};
use crate::event::request::{Request, Trace};
use crate::spans::{Called, Finished};
use crate::telemetry::traces::Decision;

const OFFSET_NS: u64 = 1_700_000_000_000_000_000;

fn finished(request: Request, calls: Vec<Call>) -> Finished {
    let calls = calls.into_iter().zip(100..).map(|(call, span_id)| Called { call, span_id });
    Finished {
        request,
        origin: Arc::default(),
        calls: calls.collect(),
        route: None,
        missing: 0,
        decision: Decision::Slow,
        trace_id: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
        span_id: 7,
        parent: None,
        offset_ns: OFFSET_NS,
    }
}

fn call(status: u16) -> Call {
    let loopback = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    Call {
        service: 1,
        protocol: Protocol::Http1,
        method: Method::Post,
        status,
        flags: 0,
        caller: Caller::Sender,
        tgid: 10,
        tid: 11,
        goid: 12,
        request_read_ns: 0,
        retransmits: 0,
        sent_ns: 10,
        ready_ns: 20,
        read_ns: 30,
        end_ns: 40,
        bytes_out: 1,
        bytes_in: 2,
        loss_ns: 0,
        netns: 1,
        local: (loopback, 40_001),
        peer: (loopback, 6379),
    }
}

fn value(span: &Span, key: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|one| one.key == key)?;
    found.value.clone()?.value
}

fn text(span: &Span, key: &str) -> String {
    match value(span, key) {
        Some(Value::StringValue(text)) => text,
        None => String::new(),
        other => panic!("{key}: {other:?}"),
    }
}

fn number(span: &Span, key: &str) -> Option<i64> {
    match value(span, key)? {
        Value::IntValue(number) => Some(number),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn a_request_and_its_calls_are_spans_of_one_trace() {
    let request = Request { status: 404, ..Request::sample(1_000) };
    let all = spans(&finished(request, vec![call(200), call(404)]));
    let [server, first, second] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((server.kind(), server.name.as_str()), (SpanKind::Server, "GET"));
    assert_eq!(server.trace_id, (1..=16).collect::<Vec<u8>>());
    assert!(server.parent_span_id.is_empty());
    assert_eq!(server.start_time_unix_nano, OFFSET_NS + 5);
    assert_eq!(server.end_time_unix_nano, OFFSET_NS + 1_005);
    assert_eq!(number(server, "http.response.status_code"), Some(404));
    assert!(server.status.is_none(), "a client's mistake is no error of the server's");
    for client in [first, second] {
        assert_eq!((client.kind(), client.name.as_str()), (SpanKind::Client, "POST"));
        assert_eq!(client.trace_id, server.trace_id);
        assert_eq!(client.parent_span_id, server.span_id);
        assert_eq!(text(client, "server.address"), "127.0.0.1");
        assert_eq!(number(client, "server.port"), Some(6379));
        let events: Vec<_> =
            client.events.iter().map(|one| one.time_unix_nano - OFFSET_NS).collect();
        assert_eq!(events, [20, 30]);
    }
    assert!(first.status.is_none());
    assert!(second.status.is_some(), "but the client's own");
    assert_eq!(text(second, "error.type"), "404");
}

#[test]
fn errors_are_those_of_the_metrics() {
    let of = |status, flags| {
        let request = Request { status, flags, ..Request::sample(1) };
        let span = spans(&finished(request, Vec::new())).remove(0);
        (text(&span, "error.type"), span.status.is_some())
    };
    assert_eq!(of(200, 0), (String::new(), false));
    assert_eq!(of(499, 0), (String::new(), false));
    assert_eq!(of(500, 0), ("500".to_owned(), true));
    assert_eq!(of(0, FLAG_ABORTED), ("client_disconnected".to_owned(), true));
}

#[test]
fn methods_that_nobody_knows_and_turns_have_names_without_a_path() {
    let of = |protocol, method| {
        let request = Request { protocol, method, ..Request::sample(1) };
        let span = spans(&finished(request, Vec::new())).remove(0);
        assert_eq!(text(&span, "url.path"), "");
        span.name
    };
    assert_eq!(of(Protocol::Http1, Method::Other), "HTTP");
    assert_eq!(of(Protocol::Http1, Method::Delete), "DELETE");
    assert_eq!(of(Protocol::Opaque, Method::None), "tcp");
    assert_eq!(of(Protocol::Tls, Method::None), "tls");
    let request = Request { path: Some("/kept".into()), ..Request::sample(1) };
    let span = spans(&finished(request, Vec::new())).remove(0);
    assert_eq!((text(&span, "url.path"), span.name), ("/kept".to_owned(), "GET".to_owned()));
    let routed =
        Finished { route: Some("/a/{id}".into()), ..finished(Request::sample(1), Vec::new()) };
    let span = spans(&routed).remove(0);
    assert_eq!(
        (text(&span, "http.route"), span.name),
        ("/a/{id}".to_owned(), "GET /a/{id}".to_owned())
    );
}

#[test]
fn a_trace_is_continued_and_a_nearer_parent_links_to_the_one_that_was_told() {
    let trace = Trace { trace_id: 0x77, parent_id: 0x99, is_sampled: true };
    let request = Request { trace: Some(trace), ..Request::sample(1) };
    let told =
        Finished { trace_id: 0x77, parent: Some(0x99), ..finished(request.clone(), Vec::new()) };
    let span = spans(&told).remove(0);
    assert_eq!(span.trace_id, 0x77_u128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0x99_u64.to_be_bytes());
    assert_eq!((span.flags, span.links.len()), (0x301, 0));
    let nearer = Finished { trace_id: 0x77, parent: Some(0x55), ..finished(request, Vec::new()) };
    let span = spans(&nearer).remove(0);
    assert_eq!(span.parent_span_id, 0x55_u64.to_be_bytes());
    assert_eq!(span.links[0].span_id, 0x99_u64.to_be_bytes());
    assert_eq!(span.links[0].trace_id, 0x77_u128.to_be_bytes());
    let root = spans(&finished(Request::sample(1), Vec::new())).remove(0);
    assert_eq!((root.flags, root.links.len()), (1, 0));
}

proptest! {
    #[test]
    fn parts_are_said_in_seconds_and_add_up(times in proptest::array::uniform19(0u64..10_000_000_000)) {
        assert_eq!(times.len(), PARTS);
        let wall_ns: u64 = times.iter().sum();
        let mut request = Request { parts: Split { ns: times, overrun_ns: 0 }, ..Request::sample(wall_ns) };
        request.work.estimated = Part::Runqueue.bit();
        let span = spans(&finished(request, Vec::new())).remove(0);
        let parts = span.attributes.iter().filter(|one| one.key.starts_with("strata.part."));
        let seconds: f64 = parts.map(|one| match one.value.clone().and_then(|any| any.value) {
            Some(Value::DoubleValue(seconds)) => seconds,
            other => panic!("{other:?}"),
        }).sum();
        let said_ns = span.end_time_unix_nano - span.start_time_unix_nano;
        prop_assert_eq!(said_ns, wall_ns);
        prop_assert!((seconds - wall_ns as f64 / 1e9).abs() < 1e-6);
        let confidence = if times[Part::Runqueue as usize] > 0 { "estimated" } else { "exact" };
        prop_assert_eq!(text(&span, "strata.confidence"), confidence);
    }
}
