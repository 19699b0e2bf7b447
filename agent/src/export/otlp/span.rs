//! A finished request and its calls as OTLP spans. Pure.
//!
//! Separate because names, units and status follow the stable conventions of
//! OpenTelemetry for HTTP, and the same numbers as the metrics.
//!
//! Nothing here can say what was asked for but a method, a status and a route: a
//! path comes here only where paths are kept by configuration.

use std::net::IpAddr;

use agent_common::conn::Protocol;
use agent_common::head::Method;
use agent_common::parts::Part;
use agent_common::record::request::{
    FLAG_JOINED_LATE, FLAG_PIPELINED, FLAG_STREAM, FLAG_TRACE_REFUSED, FLAG_TRACE_UNSEEN,
    FLAG_UNPARSED,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::attributes::Attributes;
use crate::event::call::{Call, Caller};
use crate::event::request::Request;
use crate::spans::{Called, Finished};

/// What the conventions call a request whose method is none that is known.
const OTHER_METHOD: &str = "HTTP";
/// `error.type` of a client that left, as in metrics.
const CLIENT_LEFT: &str = "client_disconnected";
/// Bits of `flags`: the trace is sampled; it is known whether the parent is in
/// another process; it is.
const SAMPLED: u32 = 0x001;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Names of flags that are worth an attribute.
const FLAGS: [(u32, &str); 6] = [
    (FLAG_PIPELINED, "pipelined"),
    (FLAG_STREAM, "stream"),
    (FLAG_UNPARSED, "unparsed"),
    (FLAG_JOINED_LATE, "joined_late"),
    (FLAG_TRACE_UNSEEN, "traceparent_unseen"),
    (FLAG_TRACE_REFUSED, "traceparent_refused"),
];

/// The span of a request, and after it one for each call.
pub(super) fn spans(finished: &Finished) -> Vec<Span> {
    let mut spans = Vec::with_capacity(1 + finished.calls.len());
    spans.push(server(finished));
    spans.extend(finished.calls.iter().map(|called| client(called, finished)));
    spans
}

fn server(finished: &Finished) -> Span {
    let request = &finished.request;
    let unix = |ns: u64| ns.saturating_add(finished.offset_ns);
    let mut to = Attributes::default();
    if request.protocol == Protocol::Http1 {
        to.text("http.request.method", request.method.as_str());
        to.text("url.scheme", "http");
        if request.status != 0 {
            to.number("http.response.status_code", u64::from(request.status));
        }
        to.text("url.path", request.path.as_deref().unwrap_or_default());
        to.text("http.route", finished.route.as_deref().unwrap_or_default());
    }
    let error = server_error(request);
    to.text("error.type", error.as_deref().unwrap_or_default());
    let client = request.client_ip();
    to.text("client.address", &client.to_string());
    peer(&mut to, client, request.remote.1);
    to.number("server.port", u64::from(request.local.1));
    to.number("thread.id", u64::from(request.tid));
    to.number("strata.pid", u64::from(request.tgid));
    if request.goid != 0 {
        to.number("strata.goroutine", request.goid);
    }
    to.text("strata.protocol", protocol(request.protocol));
    to.text("strata.sampled", finished.decision.as_str());
    parts(&mut to, request);
    to.list("strata.flags", flags(finished));
    let read = Event {
        time_unix_nano: unix(request.read_ns),
        name: "strata.read".to_owned(),
        ..Event::default()
    };
    Span {
        trace_id: finished.trace_id.to_be_bytes().to_vec(),
        span_id: finished.span_id.to_be_bytes().to_vec(),
        parent_span_id: finished.parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: SAMPLED | finished.parent.map_or(0, |_| HAS_IS_REMOTE | IS_REMOTE),
        name: match finished.route.as_deref() {
            Some(route) => format!("{} {route}", name(request.protocol, request.method)),
            None => name(request.protocol, request.method).to_owned(),
        },
        kind: SpanKind::Server.into(),
        start_time_unix_nano: unix(request.arrival_ns),
        end_time_unix_nano: unix(request.end_ns),
        attributes: to.into_vec(),
        events: vec![read],
        links: link(finished).into_iter().collect(),
        status: error.map(|_| failed()),
        ..Span::default()
    }
}

/// What `traceparent` says, where its parent is the call that was seen.
fn link(finished: &Finished) -> Option<Link> {
    let said = finished.request.trace?;
    (finished.parent != Some(said.parent_id)).then(|| Link {
        trace_id: said.trace_id.to_be_bytes().to_vec(),
        span_id: said.parent_id.to_be_bytes().to_vec(),
        flags: SAMPLED | HAS_IS_REMOTE | IS_REMOTE,
        ..Link::default()
    })
}

fn client(called: &Called, finished: &Finished) -> Span {
    let call = &called.call;
    let unix = |ns: u64| ns.saturating_add(finished.offset_ns);
    let mut to = Attributes::default();
    if call.protocol == Protocol::Http1 {
        to.text("http.request.method", call.method.as_str());
        to.text("url.scheme", "http");
        if call.status != 0 {
            to.number("http.response.status_code", u64::from(call.status));
        }
    }
    let error = client_error(call);
    to.text("error.type", error.as_deref().unwrap_or_default());
    to.text("server.address", &call.peer_ip().to_string());
    to.number("server.port", u64::from(call.peer.1));
    peer(&mut to, call.peer_ip(), call.peer.1);
    to.text("strata.protocol", protocol(call.protocol));
    to.text(
        "strata.caller",
        match call.caller {
            Caller::Unknown => "unknown",
            Caller::Sender => "sender",
            Caller::Probe => "probe",
            Caller::Loop => "loop",
        },
    );
    if call.loss_ns > 0 {
        to.seconds("strata.part.network.loss".to_owned(), call.loss_ns);
        to.number("strata.retransmits", u64::from(call.retransmits));
    }
    let reply = [(call.ready_ns, "strata.reply_readable"), (call.read_ns, "strata.reply_read")];
    let reply = reply.into_iter().filter(|(ns, _)| *ns != 0).map(|(ns, name)| Event {
        time_unix_nano: unix(ns),
        name: name.to_owned(),
        ..Event::default()
    });
    Span {
        trace_id: finished.trace_id.to_be_bytes().to_vec(),
        span_id: called.span_id.to_be_bytes().to_vec(),
        parent_span_id: finished.span_id.to_be_bytes().to_vec(),
        flags: SAMPLED | HAS_IS_REMOTE,
        name: name(call.protocol, call.method).to_owned(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: unix(call.sent_ns),
        end_time_unix_nano: unix(call.end_ns.max(call.sent_ns)),
        attributes: to.into_vec(),
        events: reply.collect(),
        status: error.map(|_| failed()),
        ..Span::default()
    }
}

/// Where its time went: as many seconds as the metrics count of it.
fn parts(to: &mut Attributes, request: &Request) {
    let named = |part: Part| format!("{}.{}", part.layer().as_str(), part.as_str());
    let times = Part::ALL.into_iter().zip(request.parts.ns).filter(|(_, ns)| *ns > 0);
    let mut estimated = Vec::new();
    for (part, ns) in times {
        to.seconds(format!("strata.part.{}", named(part)), ns);
        if request.work.estimated & part.bit() != 0 {
            estimated.push(named(part));
        }
    }
    to.text("strata.confidence", if estimated.is_empty() { "exact" } else { "estimated" });
    to.list("strata.estimated", estimated.into_iter());
    to.text("strata.unit", request.work.kind.as_str());
    if request.work.wait_worst_ns > 0 {
        to.text("strata.wait.reason", request.work.wait.as_str());
        to.seconds("strata.wait.longest".to_owned(), request.work.wait_worst_ns);
    }
    if let Some(culprit) = &request.work.culprit {
        to.text("strata.runqueue.culprit", &culprit.comm);
        to.seconds("strata.runqueue.longest".to_owned(), request.work.runqueue_worst_ns);
    }
    if request.retransmits_during > 0 {
        to.number("strata.retransmits", u64::from(request.retransmits_during));
    }
}

fn flags(finished: &Finished) -> impl Iterator<Item = String> {
    let set = finished.request.flags;
    let missing = (finished.missing > 0).then_some("calls_missing");
    let named = FLAGS.into_iter().filter(move |(bit, _)| set & bit != 0).map(|(_, name)| name);
    named.chain(missing).map(str::to_owned)
}

fn peer(to: &mut Attributes, address: IpAddr, port: u16) {
    to.text("network.peer.address", &address.to_string());
    to.number("network.peer.port", u64::from(port));
}

const fn name(protocol: Protocol, method: Method) -> &'static str {
    match (protocol, method) {
        (Protocol::Http1, Method::Other | Method::None) => OTHER_METHOD,
        (Protocol::Http1, method) => method.as_str(),
        (of, _) => self::protocol(of),
    }
}

/// As the label `protocol` of metrics has it.
const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "http",
        Protocol::Http2 => "http2",
        Protocol::Tls => "tls",
        Protocol::Unknown | Protocol::Opaque => "tcp",
    }
}

const fn failed() -> Status {
    Status { message: String::new(), code: StatusCode::Error as i32 }
}

fn server_error(request: &Request) -> Option<String> {
    if !request.has_failed() {
        return None;
    }
    Some(if request.is_aborted() { CLIENT_LEFT.to_owned() } else { request.status.to_string() })
}

/// To a client every status from 400 on is an error.
fn client_error(call: &Call) -> Option<String> {
    (call.status >= 400).then(|| call.status.to_string())
}
