//! Endpoints of spans that are away, slow or wrong.
//!
//! What belongs here: what an endpoint does, as the agent counts it; metrics that
//! are whole meanwhile; and an endpoint that comes back.

use std::time::Duration;

use tests::agent_process::{Agent, free_port};
use tests::collector::{Collector, IllEndpoint, Illness, Place};
use tests::load::{Call, sequential};
use tests::workload::{Kind, Workload};
use tests::{eventually, require};

use crate::expect::{HTTP, OUTSIDE, assert_sum};

/// A try and a pause, several times over.
const TRIED: Duration = Duration::from_secs(40);
/// From an endpoint's return to the last span in its file: the pause before the
/// next try is at most 16 s.
const RECOVERED: Duration = Duration::from_secs(90);
/// What spans may take of memory while they wait.
const MAX_QUEUE_BYTES: f64 = (8 << 20) as f64;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const ERROR: &str =
    "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const AWAY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const LATER: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// An agent that watches the server and sends all its requests to `endpoint`.
#[track_caller]
fn agent(server: &Workload, endpoint: &str, more: &[&str]) -> Agent {
    let port = server.addr().port().to_string();
    let args = ["--port", &port, "--traces-endpoint", endpoint, "--traces-one-in", "1"];
    let all =
        [&args[..], &["--traces-per-second", "10000"], &["--watch-containers-out", "*"], more]
            .concat();
    Agent::start(&all).unwrap()
}

/// Puts load on the server, and asserts that metrics see it and that the endpoint
/// was found to be one of `wanted`.
#[track_caller]
fn assert_is_found(server: &Workload, agent: &Agent, wanted: &[&str]) {
    sequential::run(server.addr(), &[Call::get("/hello")], 50, true).unwrap();
    assert_sum(agent, HTTP, OUTSIDE, 50);
    let sends = || {
        let metrics = agent.scrape().unwrap();
        let of = |result| metrics.sum("strata_agent_trace_sends_total", &[("result", result)]);
        wanted.iter().map(|result| of(result)).sum::<f64>()
    };
    let seen = eventually::settle(TRIED, sends, |seen| *seen > 0.0);
    assert!(seen > 0.0, "{wanted:?}: {}", agent.log());
    let metrics = agent.scrape().unwrap();
    assert!(metrics.sum("strata_agent_trace_queue_bytes", &[]) <= MAX_QUEUE_BYTES);
}

#[test]
fn an_endpoint_that_is_away_or_hangs_is_found_and_costs_no_metric() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let dead = format!("http://127.0.0.1:{}", free_port().unwrap());
    for protocol in ["grpc", "http/protobuf"] {
        let agent = agent(&server, &dead, &["--traces-protocol", protocol]);
        assert_is_found(&server, &agent, &["unreachable"]);
    }
    let hangs = IllEndpoint::start(Illness::Hangs).unwrap();
    let endpoint = format!("http://{}", hangs.addr());
    for protocol in ["grpc", "http/protobuf"] {
        let more = ["--traces-protocol", protocol, "--traces-timeout", "300ms"];
        let agent = agent(&server, &endpoint, &more);
        assert_is_found(&server, &agent, &["timeout"]);
    }
    // A resolver may take its time to say no.
    let nowhere = agent(&server, "http://collector.invalid:4318", &[]);
    assert_is_found(&server, &nowhere, &["unreachable", "timeout"]);
}

#[test]
fn an_endpoint_that_answers_badly_is_tried_again_only_where_that_helps() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let now = Duration::ZERO;
    for (bytes, pause, wanted) in [
        (OK, Duration::from_millis(500), "ok"),
        (ERROR, now, "refused"),
        (AWAY, now, "busy"),
        (LATER, now, "busy"),
    ] {
        let endpoint = IllEndpoint::start(Illness::Answers(bytes, pause)).unwrap();
        let agent = agent(&server, &format!("http://{}", endpoint.addr()), &[]);
        assert_is_found(&server, &agent, &[wanted]);
        let metrics = agent.scrape().unwrap();
        let of =
            |outcome| metrics.sum("strata_agent_trace_requests_total", &[("outcome", outcome)]);
        let refused = metrics.sum("strata_agent_trace_dropped_total", &[("reason", "refused")]);
        assert_eq!(refused > 0.0, wanted == "refused", "{bytes}");
        assert_eq!(of("dropped"), refused, "{bytes}: nothing else is given up so soon");
    }
    // One that speaks no TLS.
    let plain = IllEndpoint::start(Illness::Answers(OK, now)).unwrap();
    let endpoint = format!("https://{}", plain.addr());
    let agent = agent(&server, &endpoint, &[]);
    assert_is_found(&server, &agent, &["unreachable"]);
}

#[test]
fn spans_that_waited_for_an_endpoint_arrive_when_it_comes_back() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let place = Place::free().unwrap();
    let agent = agent(&server, &format!("http://{}", place.http), &[]);
    assert_is_found(&server, &agent, &["unreachable"]);
    let collector = Collector::start_at(place).unwrap();
    let count = || collector.spans().unwrap().len();
    let seen = eventually::settle(RECOVERED, count, |seen| *seen >= 50);
    assert_eq!(seen, 50, "{}", agent.log());
}
