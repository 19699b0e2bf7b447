//! The books of time: parts and durations of one exposition are one sum.
//!
//! What belongs here: the promise itself, with the real agent, its governor and
//! a real Prometheus. Which part is the right one is judged elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tests::agent_process::Agent;
use tests::load::{Call, closed, redis};
use tests::metrics_text::Metrics;
use tests::prometheus::Prometheus;
use tests::require::has_tool;
use tests::workload::{Kind, Workload};
use tests::{eventually, require};

const PARTS: &str = "strata_request_part_seconds_total";
/// How many scrapes each agent has to pass.
const SCRAPES: usize = 200;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(50);
/// Seconds that may lie between two sums: a tenth of a nanosecond for each of
/// the numbers that are added up, and nothing more.
const SLACK: f64 = 1e-9;

/// Sums by identity and protocol.
type Sums = BTreeMap<(Vec<String>, String), f64>;

fn sums(metrics: &Metrics, name: &str) -> Sums {
    let mut sums = Sums::new();
    for sample in metrics.select(name, &[]) {
        let identity =
            ["namespace", "pod", "container", "workload"].map(|key| sample.label(key).to_owned());
        let protocol = if name.starts_with("http_") { "http" } else { sample.label("protocol") };
        *sums.entry((identity.to_vec(), protocol.to_owned())).or_insert(0.0) += sample.value;
    }
    sums
}

/// Fails unless the parts sum up to the durations, for each identity and
/// protocol; gives the protocols that it has seen.
#[track_caller]
fn assert_balanced(metrics: &Metrics) -> Vec<String> {
    let mut durations = sums(metrics, "http_server_request_duration_seconds_sum");
    durations.extend(sums(metrics, "strata_turn_duration_seconds_sum"));
    let parts = sums(metrics, PARTS);
    let keys = |sums: &Sums| sums.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&durations), keys(&parts));
    for (key, seconds) in &durations {
        let off = (seconds - parts[key]).abs();
        assert!(off <= SLACK, "{key:?}: {seconds} in durations, {} in parts", parts[key]);
    }
    let confidence = metrics.sum("strata_request_part_confidence_seconds_total", &[]);
    let all: f64 = parts.values().sum();
    assert!((confidence - all).abs() <= SLACK * all.max(1.0), "{confidence} of {all}");
    durations.into_keys().map(|(_, protocol)| protocol).collect()
}

/// Scrapes under load, each of which must balance. Gives the last one, taken
/// when the load is over.
fn scrape_under_load(agent: &Agent, http: SocketAddr, turns: Option<SocketAddr>) -> Metrics {
    let plan = [Call::get("/hello"), Call::get("/status/503"), Call::post("/echo", b"x")];
    let time = PAUSE * SCRAPES as u32 + Duration::from_secs(5);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| closed::run(http, &plan, 8, time));
        let mut last = 0.0;
        for _ in 0..SCRAPES {
            if let Some(turns) = turns {
                redis::run(turns, 20).unwrap();
            }
            let metrics = agent.scrape().unwrap();
            assert_balanced(&metrics);
            let sum = metrics.sum(PARTS, &[]);
            assert!(sum >= last, "time never runs back: {sum} after {last}");
            last = sum;
            std::thread::sleep(PAUSE);
        }
        assert!(last > 0.0, "nothing was measured");
        assert_eq!(load.join().unwrap().unwrap().tally.failed, 0);
    });
    agent.scrape().unwrap()
}

#[test]
fn every_scrape_under_load_balances_per_protocol() {
    require!(Kind::Go.is_available(), "Go is not installed");
    require!(Kind::Redis.is_available(), "redis-server is not installed");
    let (server, redis) =
        (Workload::start(Kind::Go).unwrap(), Workload::start(Kind::Redis).unwrap());
    let ports = format!("{},{}", server.addr().port(), redis.addr().port());
    let agent = Agent::start(&["--port", &ports, "--governor-enabled=false"]).unwrap();
    let metrics = scrape_under_load(&agent, server.addr(), Some(redis.addr()));
    let protocols = assert_balanced(&metrics);
    assert!(protocols.contains(&"http".to_owned()) && protocols.contains(&"tcp".to_owned()));
    let sampled = metrics.sum(PARTS, &[("layer", "unattributed"), ("part", "sampled")]);
    assert_eq!(sampled, 0.0, "nothing is sampled out with the governor off");
    let series = metrics.select(PARTS, &[("workload", "process/goapi")]).count();
    assert_eq!(series, 19, "all parts of the protocol that it speaks, and no others");
}

#[test]
fn every_scrape_balances_while_the_governor_samples_requests_out() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let port = server.addr().port().to_string();
    // The least that can be asked for: it samples after some seconds.
    let agent = Agent::start(&["--port", &port, "--governor-budget", "0.001"]).unwrap();
    let metrics = scrape_under_load(&agent, server.addr(), None);
    assert_balanced(&metrics);
    let sampled = metrics.sum(PARTS, &[("layer", "unattributed"), ("part", "sampled")]);
    assert!(sampled > 0.0, "{}", agent.log());
    assert!(metrics.sum("strata_requests_total", &[("outcome", "sampled")]) > 0.0);
}

#[test]
fn prometheus_sees_parts_and_durations_grow_alike() {
    require!(has_tool("prometheus"), "prometheus is not installed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let prometheus = Prometheus::start(agent.addr()).unwrap();
    let plan = [Call::get("/hello"), Call::get("/status/404")];
    std::thread::scope(|scope| {
        let load = scope.spawn(|| closed::run(server.addr(), &plan, 4, Duration::from_secs(45)));
        // All series are there after the first scrape under load; a window that
        // begins later holds no beginning of any.
        let grown = |name: &str| {
            prometheus.scalar(&format!("sum(increase({name}[20s]))")).unwrap().unwrap_or(0.0)
        };
        std::thread::sleep(Duration::from_secs(30));
        let pair = || {
            // Both in one query: one moment.
            let ratio = "sum(increase(strata_request_part_seconds_total[20s])) / \
                         sum(increase(http_server_request_duration_seconds_sum[20s]))";
            prometheus.scalar(ratio).unwrap()
        };
        let ratios: Vec<f64> = (0..10)
            .filter_map(|_| {
                std::thread::sleep(Duration::from_secs(1));
                pair()
            })
            .collect();
        assert!(grown("http_server_request_duration_seconds_sum") > 1.0);
        assert_eq!(ratios.len(), 10);
        for ratio in &ratios {
            assert!((ratio - 1.0).abs() < 0.001, "{ratios:?}");
        }
        assert_eq!(load.join().unwrap().unwrap().tally.failed, 0);
    });
    let settled = eventually::settle(
        Duration::from_secs(10),
        || agent.scrape().unwrap().sum("strata_slow_requests_total", &[]),
        |slow| *slow > 0.0,
    );
    assert!(settled > 0.0, "forty seconds under load have a tail");
}
