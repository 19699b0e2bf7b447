//! Numbers of requests, methods and statuses under well-formed load.
//!
//! What belongs here: load that every server understands, and the question
//! whether the agent's numbers are the client's, to the last request.

use std::time::Duration;

use tests::agent_process::{Agent, ROOM};
use tests::load::{Call, Connection, closed, redis, sequential};
use tests::require;
use tests::workload::{Kind, Server, Workload};

use crate::expect::{
    HTTP, OUTSIDE, TURNS, VISIBLE, assert_http_counts, assert_nothing_lost, assert_sum,
    client_counts, own_losses,
};

/// Methods and statuses of every class; every server here answers them alike.
fn mixed_plan() -> Vec<Call> {
    vec![
        Call::get("/hello"),
        Call::new("HEAD", "/hello"),
        Call::post("/echo", b"sixteen bytes ..."),
        Call::get("/status/204"),
        Call::get("/status/304"),
        Call::get("/status/404"),
        Call::get("/hello?x=1"),
        Call::get("/status/503"),
    ]
}

fn a_thousand_sequential_requests(kind: Kind) {
    require!(kind.is_available(), "{} is not installed", kind.tool());
    let server = Workload::start(kind).unwrap();
    let agent = Agent::start_on_port_with_room(server.addr().port()).unwrap();
    let tally = sequential::run(server.addr(), &mixed_plan(), 1_000, true).unwrap();
    assert_eq!(tally.completed(), 1_000);

    assert_http_counts(&agent, OUTSIDE, &client_counts(&tally));
    let workload = format!("process/{}", server.executable().unwrap());
    let identity = [("namespace", ""), ("pod", ""), ("container", ""), ("workload", &*workload)];
    assert_sum(&agent, HTTP, &identity, 1_000);
    assert_sum(&agent, HTTP, &[("url_scheme", "http")], 1_000);
    assert_nothing_lost(&agent);
}

#[test]
fn a_thousand_requests_to_go_are_counted_exactly() {
    a_thousand_sequential_requests(Kind::Go);
}

#[test]
fn a_thousand_requests_to_python_are_counted_exactly() {
    a_thousand_sequential_requests(Kind::Python);
}

#[test]
fn a_thousand_requests_to_node_are_counted_exactly() {
    a_thousand_sequential_requests(Kind::Node);
}

#[test]
fn a_thousand_requests_to_nginx_are_counted_exactly() {
    a_thousand_sequential_requests(Kind::Nginx);
}

#[test]
fn requests_on_connections_of_their_own_are_counted_exactly() {
    for kind in [Kind::Go, Kind::Python, Kind::Node, Kind::Nginx] {
        require!(kind.is_available(), "{} is not installed", kind.tool());
        let server = Workload::start(kind).unwrap();
        let agent = Agent::start_on_port_with_room(server.addr().port()).unwrap();
        let tally = sequential::run(server.addr(), &mixed_plan(), 400, false).unwrap();
        assert_http_counts(&agent, OUTSIDE, &client_counts(&tally));
    }
}

#[test]
fn a_thousand_commands_to_redis_are_counted_exactly() {
    require!(Kind::Redis.is_available(), "redis-server is not installed");
    let server = Workload::start(Kind::Redis).unwrap();
    let port = server.addr().port();
    let agent = Agent::start_on_port(port).unwrap();
    let commands = redis::run(server.addr(), 1_000).unwrap();
    assert_sum(&agent, TURNS, &[("server_port", &port.to_string())], commands);
    assert_sum(&agent, HTTP, OUTSIDE, 0);
    assert_nothing_lost(&agent);
}

#[test]
fn under_load_all_that_the_client_completed_is_counted() {
    for (kind, connections) in
        [(Kind::Go, 32), (Kind::Nginx, 32), (Kind::Node, 16), (Kind::Python, 8)]
    {
        require!(kind.is_available(), "{} is not installed", kind.tool());
        let server = Workload::start(kind).unwrap();
        let agent = Agent::start_on_port_with_room(server.addr().port()).unwrap();
        let plan = mixed_plan();
        let outcome =
            closed::run(server.addr(), &plan, connections, Duration::from_secs(3)).unwrap();
        let client = client_counts(&outcome.tally);
        assert!(
            outcome.tally.completed() > 500 && outcome.tally.failed == 0,
            "{:?}",
            outcome.tally
        );

        // Nothing is in flight any more: each connection has read its last response.
        let total = || agent.scrape().unwrap().sum(HTTP, OUTSIDE);
        let completed = outcome.tally.completed() as f64;
        let seen = tests::eventually::settle(VISIBLE, total, |seen| *seen >= completed);
        let slack = connections as f64;
        assert!(
            (completed - slack..=completed).contains(&seen),
            "{kind:?}: {seen} of {completed}\n{}",
            own_losses(&agent)
        );
        let counts = crate::expect::http_counts(&agent.scrape().unwrap(), OUTSIDE);
        for (key, wanted) in &client {
            let seen = counts.get(key).copied().unwrap_or(0);
            assert!(
                wanted.abs_diff(seen) <= connections as u64,
                "{kind:?} {key:?}: {seen}, not {wanted}"
            );
        }
        assert!(counts.keys().all(|key| client.contains_key(key)), "{kind:?}: {counts:?}");
    }
}

#[test]
fn statuses_beyond_the_budget_of_series_are_folded_and_still_counted() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let tally = sequential::run(server.addr(), &mixed_plan(), 400, true).unwrap();
    assert_sum(&agent, HTTP, OUTSIDE, tally.completed());
    assert_nothing_lost(&agent);
    let counts = crate::expect::http_counts(&agent.scrape().unwrap(), OUTSIDE);
    let client = client_counts(&tally);
    let folded = ("_OTHER".to_owned(), String::new());
    for (key, count) in counts.iter().filter(|(key, _)| **key != folded) {
        assert_eq!(client.get(key), Some(count), "{key:?}: what is not folded is exact");
    }
}

#[test]
fn an_agent_that_was_there_first_counts_a_server_that_comes_later() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let port = tests::agent_process::free_port().unwrap();
    let agent = Agent::start_on_port_with_room(port).unwrap();
    let listen = ([127, 0, 0, 1], port).into();
    let server = Server::new(Kind::Go).listen(listen).start().unwrap();
    let tally = sequential::run(server.addr(), &mixed_plan(), 200, true).unwrap();
    assert_http_counts(&agent, OUTSIDE, &client_counts(&tally));
}

#[test]
fn a_connection_older_than_the_agent_is_counted_from_its_next_request() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let mut connection = Connection::open(server.addr()).unwrap();
    let bytes = Call::get("/hello").encode(server.addr(), "");
    let mut ask = |times: u32| {
        for _ in 0..times {
            connection.send(&bytes).unwrap();
            assert_eq!(connection.read_response("GET").unwrap().status, 200);
        }
    };
    ask(5);
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    ask(50);
    assert_sum(&agent, HTTP, &[("http_response_status_code", "200")], 50);
    assert_sum(&agent, HTTP, OUTSIDE, 50);
}

#[test]
fn a_process_is_selected_by_its_pid_and_no_other_is_counted() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let (chosen, other) = (Workload::start(Kind::Go).unwrap(), Workload::start(Kind::Go).unwrap());
    let agent = Agent::start(&["--pid", &chosen.pid().to_string(), "--series-per-container", ROOM])
        .unwrap();
    sequential::run(other.addr(), &mixed_plan(), 300, true).unwrap();
    let tally = sequential::run(chosen.addr(), &mixed_plan(), 100, true).unwrap();
    assert_http_counts(&agent, OUTSIDE, &client_counts(&tally));
}

#[test]
fn scrapes_of_the_agent_itself_are_never_counted() {
    let agent = Agent::start(&["--watch-host"]).unwrap();
    for _ in 0..50 {
        agent.scrape_text().unwrap();
    }
    assert_sum(&agent, HTTP, &[("workload", "process/strata")], 0);
}

#[test]
fn ignored_paths_are_filtered_and_not_counted_as_requests() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let plan = ["/healthz", "/readyz", "/livez", "/metrics", "/hello"].map(Call::get);
    sequential::run(server.addr(), &plan, 100, true).unwrap();
    assert_sum(&agent, HTTP, OUTSIDE, 20);
    assert_sum(&agent, "strata_requests_total", &[("outcome", "filtered")], 80);
}

#[test]
fn durations_lie_between_the_handlers_and_the_clients() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("journal");
    let server = Server::new(Kind::Go).arg("-log").arg(log.to_string_lossy()).start().unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let schedule = tests::load::open::Schedule {
        path_prefix: "/sleep".to_owned(),
        query: "?ms=50".to_owned(),
        rate: 50.0,
        time: Duration::from_secs(4),
        connections: 16,
    };
    let timings = tests::load::open::run(server.addr(), &schedule).unwrap();
    assert_sum(&agent, HTTP, OUTSIDE, 200);
    let metrics = agent.scrape().unwrap();
    server.stop().unwrap();

    let seconds = |ns: u64| ns as f64 / 1e9;
    let client = seconds(timings.iter().map(|t| t.received_ns - t.sent_ns).sum());
    let entries = tests::journal::read(&log).unwrap();
    let handler = seconds(entries.iter().map(|e| e.end_ns - e.start_ns).sum());
    let sum = metrics.sum("http_server_request_duration_seconds_sum", OUTSIDE);
    assert!((handler..=client).contains(&sum), "{handler} <= {sum} <= {client}");

    let buckets = "http_server_request_duration_seconds_bucket";
    for bucket in metrics.select(buckets, OUTSIDE) {
        let edge: f64 = bucket.label("le").parse().unwrap();
        if edge < 0.05 {
            assert_eq!(bucket.value, 0.0, "{bucket:?}");
        }
    }
    assert_eq!(metrics.sum(buckets, &[("le", "+Inf")]), 200.0);
}
