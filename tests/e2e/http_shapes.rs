//! Requests and responses of unusual shape.
//!
//! What belongs here: one trap of HTTP/1.x per test. Each is sent several
//! times between plain requests, so that a parser that loses its place shows.

use std::net::SocketAddr;
use std::time::Duration;

use tests::agent_process::Agent;
use tests::load::{Call, Tally, pipelined, sequential, shapes};
use tests::require;
use tests::workload::{Kind, Server, Workload};

use crate::expect::{HTTP, OUTSIDE, assert_http_counts, assert_sum, client_counts};

/// How often each shape is sent.
const TIMES: u64 = 20;

/// Sends a shape [`TIMES`] times to each server, with a plain request before
/// and after; the shape says what it should be counted as.
fn check(kinds: &[Kind], shape: impl Fn(SocketAddr) -> (&'static str, u16)) {
    for kind in kinds {
        require!(kind.is_available(), "{} is not installed", kind.tool());
        let server = Workload::start(*kind).unwrap();
        let agent = Agent::start_on_port(server.addr().port()).unwrap();
        let plain = [Call::get("/status/404")];
        let mut wanted = Tally::default();
        for _ in 0..TIMES {
            wanted.merge(&sequential::run(server.addr(), &plain, 1, true).unwrap());
            let (method, status) = shape(server.addr());
            wanted.add(method, status);
        }
        wanted.merge(&sequential::run(server.addr(), &plain, 1, true).unwrap());
        assert_http_counts(&agent, OUTSIDE, &client_counts(&wanted));
    }
}

const ALL: [Kind; 4] = [Kind::Go, Kind::Python, Kind::Node, Kind::Nginx];
const PROGRAMS: [Kind; 3] = [Kind::Go, Kind::Python, Kind::Node];

#[test]
fn http_1_0_is_counted_once() {
    check(&ALL, |addr| ("GET", shapes::http10(addr, "/hello").unwrap().status));
}

#[test]
fn a_chunked_upload_is_counted_once() {
    let chunks: [&[u8]; 3] = [b"GET / HTTP/1.1\r\n\r\n", b"two", b"HTTP/1.1 500 x\r\n\r\n"];
    check(&ALL, |addr| {
        let pause = Duration::from_millis(2);
        ("POST", shapes::chunked_upload(addr, "/echo", &chunks, pause).unwrap().status)
    });
}

#[test]
fn an_interim_100_is_not_a_response() {
    check(&PROGRAMS, |addr| {
        ("POST", shapes::expect_continue(addr, "/echo", b"a body").unwrap().status)
    });
}

#[test]
fn a_half_closed_client_is_answered_and_counted_once() {
    check(&PROGRAMS, |addr| ("GET", shapes::half_close(addr, "/sleep?ms=5").unwrap().status));
}

#[test]
fn a_head_that_comes_byte_by_byte_is_one_request() {
    check(&ALL, |addr| {
        let response = shapes::bytewise(addr, "/hello", Duration::from_micros(200)).unwrap();
        ("GET", response.status)
    });
}

#[test]
fn an_event_stream_that_the_client_leaves_is_counted_once() {
    check(&[Kind::Go, Kind::Node], |addr| {
        ("GET", shapes::event_stream(addr, "/sse?events=10000&ms=1", 5).unwrap())
    });
}

#[test]
fn an_upgraded_connection_is_one_request_whatever_follows_on_it() {
    check(&[Kind::Go, Kind::Node], |addr| ("GET", shapes::upgrade(addr, "/upgrade", 20).unwrap()));
}

#[test]
fn a_response_in_many_flushed_chunks_is_counted_once() {
    check(&PROGRAMS, |addr| {
        let call = [Call::get("/stream?chunks=6&ms=2")];
        let tally = sequential::run(addr, &call, 1, true).unwrap();
        assert_eq!(tally.count("GET", 200), 1);
        ("GET", 200)
    });
}

#[test]
fn bodies_by_sendfile_and_by_many_writes_are_counted_once() {
    check(&[Kind::Go], |addr| {
        let call = [Call::get("/file?bytes=2000000")];
        let mut bytes = 0;
        sequential::run_each(addr, &call, 1, true, |_, r| bytes += r.body_bytes).unwrap();
        assert_eq!(bytes, 2_000_000);
        ("GET", 200)
    });
    check(&[Kind::Nginx], |addr| {
        assert_eq!(sequential::run(addr, &[Call::get("/file")], 1, true).unwrap().completed(), 1);
        ("GET", 200)
    });
    check(&PROGRAMS, |addr| {
        let call = [Call::get("/big?bytes=2000000")];
        assert_eq!(sequential::run(addr, &call, 1, true).unwrap().completed(), 1);
        ("GET", 200)
    });
}

#[test]
fn a_body_that_looks_like_requests_is_not_counted() {
    let body = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    check(&PROGRAMS, move |addr| {
        let tally = sequential::run(addr, &[Call::post("/echo", &body)], 1, true).unwrap();
        assert_eq!(tally.count("POST", 200), 1);
        ("POST", 200)
    });
}

#[test]
fn pipelined_requests_are_counted_one_by_one() {
    for kind in ALL {
        require!(kind.is_available(), "{} is not installed", kind.tool());
        let server = Workload::start(kind).unwrap();
        let agent = Agent::start_on_port_with_room(server.addr().port()).unwrap();
        let mut wanted = Tally::default();
        for depth in [2, 3, 8] {
            let batch = pipelined::mixed_batch("/hello", depth);
            wanted.merge(&pipelined::run(server.addr(), &batch, 50).unwrap());
        }
        let mixed =
            [Call::get("/status/404"), Call::post("/echo", b"body"), Call::get("/status/204")];
        wanted.merge(&pipelined::run(server.addr(), &mixed, 50).unwrap());
        assert_http_counts(&agent, OUTSIDE, &client_counts(&wanted));
    }
}

#[test]
fn a_client_that_resets_before_the_response_is_one_request_without_status() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    for _ in 0..TIMES {
        let patience = Duration::from_millis(5);
        shapes::abort_before_response(server.addr(), "/sleep?ms=60", patience).unwrap();
    }
    let tally = sequential::run(server.addr(), &[Call::get("/hello")], 10, true).unwrap();
    assert_sum(&agent, HTTP, &[("http_request_method", "GET")], TIMES + tally.completed());
    assert_sum(&agent, HTTP, &[("http_response_status_code", "200")], tally.completed());
    let metrics = agent.scrape().unwrap();
    let aborted = [("http_response_status_code", "")];
    assert!(
        metrics.select(HTTP, &aborted).all(|s| !s.label("error_type").is_empty()),
        "an error type"
    );
}

#[test]
fn a_client_that_resets_within_the_response_is_one_request_with_its_status() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    for _ in 0..TIMES {
        shapes::abort_mid_response(server.addr(), "/big?bytes=100000000", 10_000).unwrap();
    }
    let tally = sequential::run(server.addr(), &[Call::get("/status/404")], 10, true).unwrap();
    assert_sum(&agent, HTTP, &[("http_response_status_code", "200")], TIMES);
    assert_sum(&agent, HTTP, OUTSIDE, TIMES + tally.completed());
}

#[test]
fn a_server_that_closes_without_a_response_is_one_request_without_status() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    for _ in 0..TIMES {
        assert!(sequential::run(server.addr(), &[Call::get("/abort")], 1, true).is_err());
    }
    assert_sum(&agent, HTTP, &[("http_response_status_code", "")], TIMES);
    assert_sum(&agent, HTTP, OUTSIDE, TIMES);
}

#[test]
fn ipv4_ipv6_and_v4_mapped_connections_are_counted_alike() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let any = SocketAddr::from(([0u16; 8], 0));
    let server = Server::new(Kind::Go).listen(any).start().unwrap();
    let port = server.addr().port();
    let agent = Agent::start_on_port(port).unwrap();
    let mut wanted = Tally::default();
    for host in ["127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"] {
        let addr = SocketAddr::new(host.parse().unwrap(), port);
        wanted.merge(&sequential::run(addr, &[Call::get("/hello")], 100, true).unwrap());
        assert_http_counts(&agent, OUTSIDE, &client_counts(&wanted));
    }
}

#[test]
fn an_http_2_preface_is_no_request_of_http_1() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    for _ in 0..TIMES {
        let mut connection = tests::load::Connection::open(server.addr()).unwrap();
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        // Whatever the server answers, it ends the connection.
        connection.read_until_close().unwrap();
    }
    let tally = sequential::run(server.addr(), &[Call::get("/hello")], 10, true).unwrap();
    assert_http_counts(&agent, OUTSIDE, &client_counts(&tally));
}
