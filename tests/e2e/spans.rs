//! Requests as spans, as a real OpenTelemetry Collector gets them.
//!
//! What belongs here: every span of a known load once, with the durations of the
//! metrics and the right parent, by either protocol, and nothing that is secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::agent_process::Agent;
use tests::apps;
use tests::collector::{CLIENT, Collector, Place, SERVER, Span};
use tests::load::{Call, Connection, sequential};
use tests::metrics_text::Metrics;
use tests::process::Process;
use tests::require::has_tool;
use tests::workload::{Kind, Workload, announced};
use tests::{eventually, require};

use crate::expect::own_losses;

/// From a request's end to its span in the Collector's file: it waits for calls,
/// for its caller and for a batch, and a second each is the most in the rule.
pub(crate) const ARRIVED: Duration = Duration::from_secs(40);

/// Everything is exported, what is tested is not the sampler; and of nobody else.
const ALL: [&str; 6] =
    ["--traces-one-in", "1", "--traces-per-second", "10000", "--watch-containers-out", "*"];

/// Two of one program, the first of which calls the second.
pub(crate) struct Pair {
    caller: Process,
    callee: Process,
    pub(crate) ports: [u16; 2],
    _dir: tempfile::TempDir,
}

impl Pair {
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    /// The same, with a place for the second.
    #[track_caller]
    pub(crate) fn start_at(place: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let start = |name: &str, listen: &str, downstream: &str| {
            let mut command = Command::new(apps::gocaller().unwrap());
            command.args(["-listen", listen, "-downstream", downstream]);
            let process = Process::spawn(&mut command, dir.path(), name).unwrap();
            let limit = Duration::from_secs(15);
            let addr = eventually::until(limit, || announced(&process.stdout()));
            (process, addr.unwrap_or_else(|| panic!("{name} does not listen")))
        };
        let (callee, behind) = start("callee", place, "127.0.0.1:1");
        let (caller, front) = start("caller", "127.0.0.1:0", &behind.to_string());
        Self { caller, callee, ports: [front.port(), behind.port()], _dir: dir }
    }

    pub(crate) fn front(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.ports[0]).into()
    }
}

/// An agent that watches these ports and sends all spans to `endpoint`.
#[track_caller]
pub(crate) fn agent(ports: &[u16], environment: &[String], more: &[&str]) -> Agent {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    let ports = ports.join(",");
    let mut wrapper = vec!["env"];
    wrapper.extend(environment.iter().map(String::as_str));
    let args = [&["--port", &ports][..], &ALL, more].concat();
    Agent::start_under(&wrapper, &args).unwrap()
}

/// Waits for so many spans, and asserts that there are not more.
#[track_caller]
pub(crate) fn arrived(collector: &Collector, agent: &Agent, wanted: usize) -> Vec<Span> {
    let count = || {
        // Connections are swept before a scrape: the last call is told of at once.
        agent.scrape().unwrap();
        collector.spans().unwrap().len()
    };
    let seen = eventually::settle(ARRIVED, count, |seen| *seen >= wanted);
    assert_eq!(seen, wanted, "{}\n{}\n{}", agent.log(), collector.log(), own_losses(agent));
    collector.spans().unwrap()
}

/// What finished is what was exported, sampled, filtered or dropped.
#[track_caller]
pub(crate) fn assert_books_balance(agent: &Agent) -> Metrics {
    let waiting = |metrics: &Metrics| metrics.sum("strata_agent_trace_waiting", &[]);
    let scrape = || agent.scrape().unwrap();
    let metrics = eventually::settle(ARRIVED, scrape, |metrics| waiting(metrics) == 0.0);
    assert_eq!(waiting(&metrics), 0.0, "{}", agent.log());
    let ended = metrics.sum("strata_agent_trace_requests_total", &[]);
    let finished = metrics.sum("strata_requests_total", &[("outcome", "exported")]);
    assert_eq!(ended, finished, "{}", own_losses(agent));
    let decided = metrics.sum("strata_agent_trace_decisions_total", &[]);
    assert_eq!(decided, finished);
    metrics
}

/// Spans by their id.
pub(crate) fn by_id(spans: &[Span]) -> BTreeMap<&str, &Span> {
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "an id twice");
    by_id
}

/// Each request of `front` calls `behind`: four ends, three spans, one trace.
#[track_caller]
pub(crate) fn assert_nested(spans: &[Span], [front, behind]: [u16; 2]) {
    let by_id = by_id(spans);
    let (front, behind) = (front.to_string(), behind.to_string());
    for span in spans {
        let parent = by_id.get(span.parent.as_str());
        match (span.kind, span.get("server.port")) {
            (SERVER, port) if port == front => assert!(parent.is_none(), "{span:?}"),
            (CLIENT, port) if port == behind => {
                let parent = parent.unwrap_or_else(|| panic!("no parent: {span:?}"));
                assert_eq!((parent.kind, parent.get("server.port")), (SERVER, &*front));
                assert_eq!(parent.trace, span.trace);
                assert!(parent.start_ns <= span.start_ns && span.start_ns <= parent.end_ns);
            }
            (SERVER, port) if port == behind => {
                let parent = parent.unwrap_or_else(|| panic!("no parent: {span:?}"));
                assert_eq!((parent.kind, parent.get("server.port")), (CLIENT, &*behind));
                assert_eq!(parent.trace, span.trace);
            }
            _ => panic!("{span:?}"),
        }
    }
}

#[test]
fn every_request_and_call_is_a_span_with_the_metrics_durations_and_its_parent() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let collector = Collector::start().unwrap();
    let place = collector.place().clone();
    let requests = 150;
    let mut before = 0;
    for (protocol, addr) in [("http/protobuf", place.http), ("grpc", place.grpc)] {
        let pair = Pair::start();
        let environment = [
            format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{addr}"),
            format!("OTEL_EXPORTER_OTLP_PROTOCOL={protocol}"),
        ];
        let compression =
            ["--traces-compression", if protocol == "grpc" { "none" } else { "gzip" }];
        let agent = agent(&pair.ports, &environment, &compression);
        let plan = [Call::get("/call?id=7&token=s3cr3t")];
        sequential::run(pair.front(), &plan, requests, true).unwrap();
        let wanted = 3 * requests as usize;
        let spans = arrived(&collector, &agent, before + wanted).split_off(before);
        assert_nested(&spans, pair.ports);
        let metrics = assert_books_balance(&agent);
        let exported = metrics.sum("strata_agent_trace_requests_total", &[("outcome", "exported")]);
        assert_eq!(exported, 2.0 * requests as f64);
        assert_eq!(metrics.sum("strata_agent_trace_spans_total", &[]), wanted as f64);

        let servers: Vec<&Span> = spans.iter().filter(|span| span.kind == SERVER).collect();
        let said: f64 = servers.iter().map(|span| span.wall_ns() as f64 / 1e9).sum();
        let measured = metrics.sum("http_server_request_duration_seconds_sum", &[]);
        assert!((said - measured).abs() < 1e-6, "{said} s of spans, {measured} s of metrics");
        for span in &spans {
            assert_eq!(span.resource["service.name"], "gocaller", "{span:?}");
            assert_eq!(span.name, "GET");
            assert_eq!(span.get("http.response.status_code"), "200");
            assert!(span.get("url.path").is_empty(), "{span:?}");
        }
        for span in servers {
            assert!((span.parts() - span.wall_ns() as f64 / 1e9).abs() < 1e-6, "{span:?}");
            let (_, read_ns) = &span.events[0];
            assert!((span.start_ns..=span.end_ns).contains(read_ns), "{span:?}");
        }
        before += wanted;
        drop((pair.caller, pair.callee));
    }
    let raw = collector.raw();
    assert!(!raw.contains("s3cr3t") && !raw.contains("/call"), "neither queries nor paths");
}

#[test]
fn failed_requests_are_kept_and_the_others_are_counted() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let collector = Collector::start().unwrap();
    let server = Workload::start(Kind::Go).unwrap();
    let endpoint = format!("http://{}", collector.place().http);
    let agent = Agent::start(&[
        "--port",
        &server.addr().port().to_string(),
        "--traces-endpoint",
        &endpoint,
        "--traces-one-in",
        "1000000",
        "--watch-containers-out",
        "*",
    ])
    .unwrap();
    let plan = [Call::get("/hello"), Call::get("/status/503"), Call::get("/status/404")];
    sequential::run(server.addr(), &plan, 90, true).unwrap();
    let failed = || {
        let spans = collector.spans().unwrap();
        spans.iter().filter(|span| span.get("http.response.status_code") == "503").count()
    };
    let seen = eventually::settle(ARRIVED, failed, |seen| *seen >= 30);
    assert_eq!(seen, 30, "{}\n{}", agent.log(), own_losses(&agent));
    let metrics = assert_books_balance(&agent);
    let errors = metrics.sum("strata_agent_trace_decisions_total", &[("decision", "error")]);
    assert_eq!(errors, 30.0);
    let spans = collector.spans().unwrap();
    assert!(spans.len() < 40, "one in a million of the others: {}", spans.len());
    for span in spans.iter().filter(|span| span.get("http.response.status_code") == "503") {
        assert_eq!((span.status, span.get("error.type")), (2, "503"), "{span:?}");
        assert_eq!(span.get("strata.sampled"), "error");
    }
}

#[test]
fn headers_tls_and_a_certificate_of_ones_own_work_by_the_standard_variables() {
    require!(Kind::Go.is_available(), "Go is not installed");
    require!(has_tool("openssl"), "openssl is not installed");
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(dir.path());
    let place = Place { tls: Some((certificate.clone(), key)), ..Place::free().unwrap() };
    let collector = Collector::start_at(place.clone()).unwrap();
    let server = Workload::start(Kind::Go).unwrap();
    let mut before = 0;
    for (protocol, addr) in [("grpc", place.grpc), ("http/protobuf", place.http)] {
        let environment = [
            // Without a scheme: TLS.
            format!("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={addr}/v1/traces"),
            format!("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL={protocol}"),
            format!("OTEL_EXPORTER_OTLP_CERTIFICATE={}", certificate.display()),
            "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20t0psecret".to_owned(),
        ];
        let agent = agent(&[server.addr().port()], &environment, &[]);
        sequential::run(server.addr(), &[Call::get("/hello")], 10, true).unwrap();
        before = arrived(&collector, &agent, before + 10).len();
        assert!(!agent.log().contains("t0psecret"), "{}", agent.log());
    }
}

/// A certificate for 127.0.0.1, and its key.
fn self_signed(dir: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=collector"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        // Of one that signs others a client would not take it for the server's own.
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

#[test]
fn no_secret_of_a_request_reaches_the_collector() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let collector = Collector::start().unwrap();
    let server = Workload::start(Kind::Go).unwrap();
    let endpoint = [format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{}", collector.place().http)];
    let agent = agent(&[server.addr().port()], &endpoint, &[]);
    let addr = server.addr();
    for turn in 0..20 {
        let mut connection = Connection::open(addr).unwrap();
        let request = format!(
            "POST /echo/s3cr3t-path-{turn}?q=s3cr3t-query HTTP/1.1\r\nHost: s3cr3t-host\r\n\
             Cookie: s3cr3t-cookie\r\nAuthorization: s3cr3t-auth\r\nContent-Length: 11\r\n\r\n\
             s3cr3t-body"
        );
        connection.send(request.as_bytes()).unwrap();
        assert_eq!(connection.read_response("POST").unwrap().status, 200);
    }
    let spans = arrived(&collector, &agent, 20);
    assert!(spans.iter().all(|span| span.name == "POST"), "{spans:?}");
    assert!(!collector.raw().contains("s3cr3t"), "{}", collector.raw());
}
