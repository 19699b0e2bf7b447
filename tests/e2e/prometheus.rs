//! The exposition as Prometheus and promtool read it.
//!
//! What belongs here: a reader that we did not write scrapes the agent.

use std::time::Duration;

use tests::agent_process::Agent;
use tests::load::{Call, sequential};
use tests::prometheus::{Prometheus, promtool_check};
use tests::require::has_tool;
use tests::workload::{Kind, Workload};
use tests::{eventually, http, require};

/// Two scrapes and some slack.
const SCRAPED: Duration = Duration::from_secs(20);

#[test]
fn prometheus_scrapes_the_agent_and_answers_with_the_clients_count() {
    require!(has_tool("prometheus"), "prometheus is not installed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let prometheus = Prometheus::start(agent.addr()).unwrap();
    let plan = [Call::get("/hello"), Call::get("/status/503"), Call::post("/echo", b"x")];
    sequential::run(server.addr(), &plan, 900, true).unwrap();

    let scalar = |query: &str| prometheus.scalar(query).unwrap();
    let all = "sum(http_server_request_duration_seconds_count)";
    let seen = eventually::settle(SCRAPED, || scalar(all), |seen| *seen == Some(900.0));
    assert_eq!(seen, Some(900.0), "{:?}\n{}", prometheus.target_health(), prometheus.log());
    for (selector, wanted) in [
        ("http_response_status_code=\"503\"", 300.0),
        ("http_request_method=\"POST\"", 300.0),
        ("http_request_method=\"GET\",http_response_status_code=\"200\"", 300.0),
        ("workload=\"process/goapi\"", 900.0),
    ] {
        let query = format!("sum(http_server_request_duration_seconds_count{{{selector}}})");
        assert_eq!(scalar(&query), Some(wanted), "{query}");
    }
    let quantile =
        "histogram_quantile(0.99, sum by (le) (http_server_request_duration_seconds_bucket))";
    let p99 = scalar(quantile).unwrap();
    assert!(p99 > 0.0 && p99 < 5.0, "{p99}");
    assert_eq!(scalar("up{job=\"strata\"}"), Some(1.0));
}

#[test]
fn promtool_finds_nothing_wrong_with_the_exposition() {
    require!(has_tool("promtool"), "promtool is not installed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    sequential::run(server.addr(), &[Call::get("/hello")], 20, true).unwrap();
    crate::expect::assert_sum(&agent, crate::expect::HTTP, &[], 20);
    assert_eq!(promtool_check(&agent.scrape_text().unwrap()).unwrap(), "");
    // The check itself can fail.
    assert_ne!(promtool_check("# TYPE x_bytes counter\nx_bytes 1\n").unwrap(), "");
}

#[test]
fn each_form_of_the_exposition_is_had_by_asking_for_it() {
    let agent = Agent::start(&[]).unwrap();
    let get = |accept: &str| {
        let response = http::get_with(agent.addr(), "/metrics", &[("Accept", accept)]).unwrap();
        assert_eq!(response.status, 200, "{accept}");
        (response.header("content-type").unwrap().to_owned(), response)
    };
    let (kind, text) = get("text/plain;version=0.0.4");
    assert!(kind.starts_with("text/plain"), "{kind}");
    assert!(!text.text().contains("# EOF"));
    let (kind, open) = get("application/openmetrics-text;version=1.0.0");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(open.text().ends_with("# EOF\n"));
    let proto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let (kind, _) = get(proto);
    assert!(kind.starts_with("application/vnd.google.protobuf"), "{kind}");
    let zipped = http::get_with(agent.addr(), "/metrics", &[("Accept-Encoding", "gzip")]).unwrap();
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(zipped.body.get(..2), Some(&[0x1f, 0x8b][..]), "gzip's magic number");
}

#[test]
fn health_and_readiness_are_told_and_what_is_not_there_is_not_found() {
    let agent = Agent::start(&[]).unwrap();
    for (path, status) in
        [("/healthz", 200), ("/readyz", 200), ("/", 200), ("/metric", 404), ("/debug/pprof", 404)]
    {
        assert_eq!(http::get(agent.addr(), path).unwrap().status, status, "{path}");
    }
}
