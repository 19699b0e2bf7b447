//! Traces that requests are told of, whole traces before a Collector's tail
//! sampling, and which processes' requests are spans.
//!
//! What belongs here: what a span says of the trace that it is in, with ground
//! truth from the client that named it, and what a policy makes of that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tests::agent_process::Agent;
use tests::collector::{CLIENT, Collector, SERVER, Span};
use tests::load::open::{self, Schedule};
use tests::load::{Call, Connection, sequential};
use tests::workload::{Kind, Workload};
use tests::{eventually, require};

use crate::expect::own_losses;
use crate::spans::{ARRIVED, Pair, agent, arrived, assert_books_balance, assert_nested, by_id};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// An endpoint, by its standard variable.
fn to(collector: &Collector) -> [String; 1] {
    [format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{}", collector.place().http)]
}

/// Sends `count` requests with these headers on one connection.
#[track_caller]
fn send(pair: &Pair, path: &str, headers: &str, count: usize) {
    let mut connection = Connection::open(pair.front()).unwrap();
    for _ in 0..count {
        connection.send(&Call::get(path).encode(pair.front(), headers)).unwrap();
        connection.read_response("GET").unwrap();
    }
}

#[test]
fn a_trace_that_was_begun_elsewhere_is_continued_and_its_flag_honoured() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let collector = Collector::start().unwrap();
    let pair = Pair::start();
    // What nobody samples is one in a million: the rest is what was told.
    let [ports, endpoint] = [
        pair.ports.map(|port| port.to_string()).join(","),
        format!("http://{}", collector.place().http),
    ];
    let args = ["--port", &ports, "--traces-endpoint", &endpoint, "--traces-one-in", "1000000"];
    let all = [&args[..], &["--traces-per-second", "10000"], &["--watch-containers-out", "*"]];
    let agent = Agent::start(&all.concat()).unwrap();
    let sampled = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: s3cr3t=1\r\n");
    send(&pair, "/hello", &sampled, 20);
    // Passed on as a proxy does: its own caller is nearer than what it passes on.
    send(&pair, "/pass", &sampled, 10);
    // Thrown away by who began it, though it fails: the callee has no downstream.
    let unsampled = sampled.replace("-01\r\n", "-00\r\n");
    let behind = ([127, 0, 0, 1], pair.ports[1]).into();
    let mut connection = Connection::open(behind).unwrap();
    for _ in 0..15 {
        connection.send(&Call::get("/call").encode(behind, &unsampled)).unwrap();
        assert_eq!(connection.read_response("GET").unwrap().status, 502);
    }
    send(&pair, "/hello", "traceparent: 00-s3cr3t-01\r\n", 5);
    let long = format!("X-Long: {}\r\n{sampled}", "y".repeat(600));
    send(&pair, "/hello", &long, 5);

    // Of the others some may be slower than most, and kept for that.
    let of_trace = || {
        agent.scrape().unwrap();
        let spans = collector.spans().unwrap().into_iter();
        spans.filter(|span| span.trace == TRACE).collect::<Vec<_>>()
    };
    let wanted = 20 + 3 * 10;
    let spans = eventually::settle(ARRIVED, of_trace, |spans| spans.len() >= wanted);
    assert_eq!(spans.len(), wanted, "{}\n{}", agent.log(), own_losses(&agent));
    let by_id = by_id(&spans);
    let (front, behind) = (pair.ports[0].to_string(), pair.ports[1].to_string());
    for span in &spans {
        match (span.kind, span.get("server.port")) {
            (SERVER, port) if port == front => {
                assert_eq!((span.parent.as_str(), span.links.len()), (PARENT, 0), "{span:?}");
                // The caller of one that is kept is kept for that, if that is known first.
                assert!(["parent", "linked"].contains(&span.get("strata.sampled")));
            }
            (SERVER, _) => {
                let parent = by_id[span.parent.as_str()];
                assert_eq!((parent.kind, parent.get("server.port")), (CLIENT, &*behind));
                assert_eq!(span.links, [(TRACE.to_owned(), PARENT.to_owned())]);
            }
            _ => {
                let parent = by_id[span.parent.as_str()];
                assert_eq!((parent.kind, parent.get("server.port")), (SERVER, &*front));
            }
        }
    }
    let metrics = assert_books_balance(&agent);
    let decided =
        |decision| metrics.sum("strata_agent_trace_decisions_total", &[("decision", decision)]);
    assert_eq!(decided("parent") + decided("linked"), 40.0);
    assert_eq!(decided("unsampled"), 15.0);
    let parents = |result| metrics.sum("strata_agent_trace_parents_total", &[("result", result)]);
    let seen = ["read", "unseen", "refused"].map(parents);
    assert_eq!(seen, [55.0, 5.0, 5.0], "{}", own_losses(&agent));
    assert!(!collector.raw().contains("s3cr3t"), "nothing else of the headers is kept");
}

/// Milliseconds from the first start to the last end of a trace.
fn wall_ms(trace: &[&Span]) -> u64 {
    let start = trace.iter().map(|span| span.start_ns).min().unwrap_or_default();
    let end = trace.iter().map(|span| span.end_ns).max().unwrap_or_default();
    end.saturating_sub(start) / 1_000_000
}

fn waited(trace: &[&Span]) -> f64 {
    let of = |span: &&Span| span.get("strata.part.downstream.wait").parse().unwrap_or(0.0);
    trace.iter().map(of).fold(0.0, f64::max)
}

/// Traces by their id.
fn traces(spans: &[Span]) -> BTreeMap<&str, Vec<&Span>> {
    let mut traces: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    spans.iter().for_each(|span| traces.entry(&span.trace).or_default().push(span));
    traces
}

#[test]
fn policies_of_tail_sampling_keep_whole_traces_by_error_latency_and_part() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let collector = Collector::start_judging(
        "[{name: failed, type: status_code, status_code: {status_codes: [ERROR]}}, \
          {name: slow, type: latency, latency: {threshold_ms: 400}}, \
          {name: downstream, type: ottl_condition, ottl_condition: {error_mode: propagate, \
           span: ['attributes[\"strata.part.downstream.wait\"] != nil and \
           attributes[\"strata.part.downstream.wait\"] > 0.1']}}]",
    )
    .unwrap();
    let pair = Pair::start();
    let agent = agent(&pair.ports, &to(&collector), &[]);
    let ([each, plain], behind) = ([5, 60], ([127, 0, 0, 1], pair.ports[1]).into());
    // Its callee took long; it waited itself; it has no downstream; nothing of all.
    send(&pair, "/call?id=1&ms=150", "", each);
    send(&pair, "/sleep?ms=500", "", each);
    sequential::run(behind, &[Call::get("/call")], each as u64, true).unwrap();
    send(&pair, "/call?id=1", "", plain);

    let spans = arrived(&collector, &agent, 3 * each + each + each + 3 * plain);
    let all = traces(&spans);
    assert_eq!(all.len(), 3 * each + plain, "each a trace of its own");
    // What a policy sees is the truth for what it should keep, a machine that
    // stalls included; what is at a threshold may fall on either side.
    let is_clear = |trace: &[&Span], is_above: bool| {
        let (ms, wait) = if is_above { (401, 0.1001) } else { (399, 0.0999) };
        trace.iter().any(|span| span.status == 2) || wall_ms(trace) >= ms || waited(trace) > wait
    };
    let of = |is_above| -> BTreeSet<&str> {
        let kept = all.iter().filter(|(_, trace)| is_clear(trace, is_above));
        kept.map(|(id, _)| *id).collect()
    };
    let (surely, at_most) = (of(true), of(false));
    assert!(surely.len() >= 3 * each, "{} of {}", surely.len(), 3 * each);
    let judged = || {
        let kept = collector.kept().unwrap();
        kept.into_iter().map(|span| span.id).collect::<BTreeSet<_>>()
    };
    let spans_of = |ids: &BTreeSet<&str>| -> BTreeSet<String> {
        let spans = spans.iter().filter(|span| ids.contains(span.trace.as_str()));
        spans.map(|span| span.id.clone()).collect()
    };
    let wanted = spans_of(&surely);
    let kept = eventually::settle(ARRIVED, judged, |kept| kept.is_superset(&wanted));
    assert!(kept.is_superset(&wanted), "{wanted:?} are not all in {kept:?}\n{}", collector.log());
    // All were decided about when the last of these was, or a second later.
    std::thread::sleep(Duration::from_secs(3));
    assert!(judged().is_subset(&spans_of(&at_most)), "{:?} beyond {at_most:?}", judged());
    assert!(at_most.len() < all.len(), "some were plain");
}

/// Requests of a load: 20 000 in a full run.
fn count() -> usize {
    if require::is_full() { 20_000 } else { 1_000 }
}

#[test]
fn both_ends_of_every_call_of_a_long_load_are_one_trace_and_begin_in_order() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let collector = Collector::start().unwrap();
    let pair = Pair::start();
    let agent = agent(&pair.ports, &to(&collector), &[]);
    // Slow enough that all that wait for their caller have room.
    let rate = 250.0;
    let count = count();
    let schedule = Schedule {
        path_prefix: "/call".to_owned(),
        query: String::new(),
        rate,
        time: Duration::from_secs_f64((count as f64 + 0.5) / rate),
        connections: 4,
    };
    let timings = open::run(pair.front(), &schedule).unwrap();
    assert_eq!(timings.iter().filter(|timing| timing.status == 200).count(), count);

    let wanted = 3 * count;
    let taken = || agent.scrape().unwrap().sum("strata_agent_trace_spans_total", &[]);
    let taken = eventually::settle(ARRIVED, taken, |taken| *taken >= wanted as f64);
    assert_eq!(taken, wanted as f64, "{}\n{}", agent.log(), own_losses(&agent));
    let spans = arrived(&collector, &agent, wanted);
    assert_nested(&spans, pair.ports);
    let metrics = assert_books_balance(&agent);
    assert_eq!(metrics.sum("strata_agent_trace_requests_total", &[]), 2.0 * count as f64);
    let by_id = by_id(&spans);
    let mut late = 0;
    for span in spans.iter().filter(|span| span.kind == SERVER && !span.parent.is_empty()) {
        let call = by_id[span.parent.as_str()];
        assert!(call.start_ns <= span.start_ns && span.start_ns <= call.end_ns, "{span:?}");
        // Its last byte was there before it was stamped as sent.
        late += u64::from(span.end_ns > call.end_ns);
    }
    println!("{late} of {count} servers' spans end after their call's");
    for span in spans.iter().filter(|span| span.kind == SERVER) {
        assert!((span.parts() - span.wall_ns() as f64 / 1e9).abs() < 1e-6, "{span:?}");
    }
}

#[test]
fn a_process_that_sends_spans_itself_has_none_unless_asked() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let collector = Collector::start().unwrap();
    // A port of OTLP at an address that nobody else has.
    let pair = Pair::start_at("127.0.47.18:4318");
    let requests = 40;
    for asks in [false, true] {
        let more: &[&str] = if asks { &["--traces-instrumented=true"] } else { &[] };
        let agent = agent(&pair.ports[..1], &to(&collector), more);
        send(&pair, "/call?id=1", "", requests);
        if asks {
            // A request and its call.
            arrived(&collector, &agent, 2 * requests);
        }
        let decided = || agent.scrape().unwrap().sum("strata_agent_trace_decisions_total", &[]);
        eventually::settle(ARRIVED, decided, |decided| *decided >= requests as f64);
        let metrics = assert_books_balance(&agent);
        let of = |outcome| {
            metrics.sum("strata_agent_trace_requests_total", &[("outcome", outcome)]) as usize
        };
        let wanted = if asks { (requests, 0) } else { (0, requests) };
        assert_eq!((of("exported"), of("filtered")), wanted, "{}", agent.log());
        if !asks {
            assert_eq!(collector.spans().unwrap().len(), 0);
        }
    }
}

#[test]
fn routes_name_spans_and_metrics_alike() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let collector = Collector::start().unwrap();
    let server = Workload::start(Kind::Go).unwrap();
    let more = ["--routes-patterns", "/echo/v1/{name}", "--routes-heuristic=true"];
    let agent = agent(&[server.addr().port()], &to(&collector), &more);
    let plan = [
        Call::post("/echo/v1/s3cr3t-name", b"x"),
        Call::post("/echo/4711", b"x"),
        Call::get("/hello?token=s3cr3t"),
    ];
    sequential::run(server.addr(), &plan, 30, true).unwrap();
    let spans = arrived(&collector, &agent, 30);
    let metrics = assert_books_balance(&agent);
    for (method, route) in [("POST", "/echo/v1/{name}"), ("POST", "/echo/{id}"), ("GET", "/hello")]
    {
        let named = format!("{method} {route}");
        let of: Vec<_> = spans.iter().filter(|span| span.name == named).collect();
        assert_eq!(of.len(), 10, "{named}: {spans:?}");
        assert!(
            of.iter()
                .all(|span| span.get("http.route") == route && span.get("url.path").is_empty())
        );
        let labels = [("http_route", route), ("http_request_method", method)];
        let counted = metrics.sum("http_server_request_duration_seconds_count", &labels);
        assert_eq!(counted, 10.0, "{named}");
    }
    assert!(!collector.raw().contains("s3cr3t"));
}
