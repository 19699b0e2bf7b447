//! What is never kept.
//!
//! What belongs here: secrets planted where traffic and processes have them,
//! searched in everything that the agent gives out or holds.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use tests::agent_process::{Agent, run_once};
use tests::collector::Collector;
use tests::load::{Connection, shapes};
use tests::workload::{Kind, Server};
use tests::{eventually, http, require};

use crate::expect::{HTTP, OUTSIDE, assert_sum};
use crate::spans::ARRIVED;

/// How long payload may outlive its parse (DESIGN, the model of time, law 4).
const GONE: Duration = Duration::from_secs(10);

/// Where in a request a secret is planted.
const PLACES: [&str; 9] = [
    "traceparent",
    "tracestate",
    "query",
    "header",
    "cookie",
    "authorization",
    "body",
    "chunk",
    "environment",
];

/// A secret that names its place and is in no file, so that a find is certain.
fn secret(place: &str) -> String {
    // Put together at run time: the text as a whole is in no binary.
    ["s3cr3t", place, &std::process::id().to_string(), "0f1e2d3c"].join("~")
}

/// Addresses in the memory of a process where `needles` are found, with the
/// needle; the bytes read are counted, so that an empty scan is not a pass.
fn scan(pid: u32, needles: &[String]) -> (Vec<(String, u64)>, u64) {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let longest = needles.iter().map(String::len).max().unwrap();
    let (mut found, mut read_bytes) = (Vec::new(), 0);
    let mut block = vec![0; 4 << 20];
    for line in maps.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with('r')) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [mut at, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        while at < end {
            let want = usize::try_from(end - at).unwrap().min(block.len());
            // Device mappings, such as the ring's, may refuse.
            let Ok(length @ 1..) = memory.read_at(&mut block[..want], at) else { break };
            read_bytes += length as u64;
            for needle in needles {
                let bytes = needle.as_bytes();
                if let Some(offset) = find(&block[..length], bytes) {
                    found.push((needle.clone(), at + offset as u64));
                }
            }
            // Step back so that a needle on the border is seen whole.
            let step = if at + (length as u64) < end {
                length.saturating_sub(longest).max(1)
            } else {
                length
            };
            at += step as u64;
        }
    }
    (found, read_bytes)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle[0];
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| *byte == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[test]
fn the_scan_finds_a_secret_where_there_is_one() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let held = secret("environment");
    let server = Server::new(Kind::Go).env("API_TOKEN", &held).start().unwrap();
    let (found, read_bytes) = scan(server.pid(), &[held.clone(), secret("elsewhere")]);
    assert!(!found.is_empty() && found.iter().all(|(needle, _)| *needle == held), "{found:?}");
    assert!(read_bytes > 1 << 20, "only {read_bytes} bytes could be read");
}

#[test]
fn no_secret_of_a_request_or_an_environment_is_given_out_or_kept() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let secrets: Vec<String> = PLACES.iter().map(|place| secret(place)).collect();
    let of = |place: &str| secret(place);
    let server = Server::new(Kind::Go).env("API_TOKEN", &of("environment")).start().unwrap();
    let addr = server.addr();
    // With spans on, headers are looked at for their trace.
    let collector = Collector::start().unwrap();
    let endpoint = format!("http://{}", collector.place().http);
    let port = addr.port().to_string();
    let args = ["--port", &port, "--traces-one-in", "1", "--traces-per-second", "10000"];
    let agent = Agent::start(
        &[&args[..], &["--traces-endpoint", &endpoint, "--watch-containers-out", "*"]].concat(),
    )
    .unwrap();

    let headers = format!(
        "X-Token: {}\r\nCookie: session={}\r\nAuthorization: Bearer {}\r\n\
         Traceparent: {}\r\nTracestate: a={}\r\n",
        of("header"),
        of("cookie"),
        of("authorization"),
        of("traceparent"),
        of("tracestate")
    );
    let body = of("body");
    let requests = 200;
    for turn in 0..requests {
        let mut connection = Connection::open(addr).unwrap();
        // The secrets lie within the first bytes, which are those that are copied.
        let path = format!("/echo/{turn}?token={}", of("query"));
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {addr}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.send(request.as_bytes()).unwrap();
        assert_eq!(connection.read_response("POST").unwrap().body_bytes, body.len() as u64);
    }
    let chunk = of("chunk");
    let chunks = [chunk.as_bytes(), chunk.as_bytes()];
    shapes::chunked_upload(addr, "/echo", &chunks, Duration::from_millis(1)).unwrap();
    assert_sum(&agent, HTTP, OUTSIDE, requests + 1);

    let mut given_out = vec![("/metrics", agent.scrape_text().unwrap())];
    for accept in ["application/openmetrics-text;version=1.0.0", "application/vnd.google.protobuf"]
    {
        let response = http::get_with(agent.addr(), "/metrics", &[("Accept", accept)]).unwrap();
        given_out.push((accept, response.text()));
    }
    let socket = agent.socket().display().to_string();
    let top = run_once(&[], &["top", "--once", "-o", "json", "--socket", &socket], GONE).unwrap();
    given_out.push(("top", String::from_utf8_lossy(&top.stdout).into_owned()));
    given_out.push(("log", agent.log()));
    let all_sent = || collector.spans().unwrap().len() as u64;
    let sent = eventually::settle(ARRIVED, all_sent, |sent| *sent > requests);
    assert_eq!(sent, requests + 1, "{}", agent.log());
    given_out.push(("spans", collector.raw()));
    for (place, text) in &given_out {
        assert!(!text.contains("s3cr3t~"), "{place}");
    }
    assert!(given_out[0].1.contains("http_server_request_duration_seconds"), "there was output");

    std::thread::sleep(GONE);
    let (found, read_bytes) = scan(agent.pid(), &secrets);
    assert_eq!(found, []);
    assert!(read_bytes > 1 << 20, "only {read_bytes} bytes could be read");
    // The scan does find what is there: the server holds its environment.
    let (in_server, _) = scan(server.pid(), &secrets);
    assert!(in_server.iter().any(|(needle, _)| *needle == of("environment")), "{in_server:?}");
}
