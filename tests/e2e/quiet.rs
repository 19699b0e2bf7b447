//! No alarm where nothing is wrong: real load under the shipped rules.
//!
//! What belongs here: rules judged while an ordinary load runs, and by what was
//! recorded of it. `STRATA_RECORD=60` makes a record of an hour anew; see
//! docs/alerts.md.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use tests::agent_process::Agent;
use tests::alertmanager::{self, Alertmanager};
use tests::netns::{Netns, Wire};
use tests::process::Process;
use tests::prometheus::{Alarms, Prometheus};
use tests::recorded;
use tests::require::{has_tool, is_full};
use tests::workload::{Kind, Server, Workload};
use tests::{apps, require, rules, sys};

/// The record, in `deploy/prometheus`.
const RECORD: &str = "tests/quiet.test.yaml";

/// Windows and waits that fit into the time of a test: the shorter they are the
/// sooner something false is told. Thresholds are those that are shipped.
const WINDOW: &str = "30s";
const WAITS: &[&str] = &[
    "window",
    "retransmit_for",
    "syn_for",
    "jitter_for",
    "connect_for",
    "runqueue_for",
    "throttled_for",
    "burn_fast_for",
    "burn_slow_for",
    "agent_for",
    "over_budget_for",
];

/// Minutes to be recorded, if any.
fn record_minutes() -> Option<u64> {
    let value = std::env::var("STRATA_RECORD").ok()?;
    Some(value.parse().unwrap())
}

/// nginx on this side of a wire; a Go API on the other, which nginx asks, and
/// which asks a redis back on this side: every request crosses the wire.
struct Shop {
    wire: Wire,
    front: Workload,
    api: Workload,
    store: Workload,
}

const API_PORT: u16 = 8080;

fn start_in(netns: &Netns, server: Server) -> Workload {
    server.start_with(|argv| netns.command(argv)).unwrap()
}

fn start_api(wire: &Wire, store: SocketAddr) -> Workload {
    let listen = SocketAddr::from((Wire::SERVER, API_PORT));
    let api = Server::new(Kind::Go).listen(listen).arg("-redis").arg(store.to_string());
    start_in(&wire.server, api)
}

impl Shop {
    fn open() -> Self {
        let wire = Wire::create().unwrap();
        let on = |ip: IpAddr, port| SocketAddr::from((ip, port));
        let store = start_in(&wire.client, Server::new(Kind::Redis).listen(on(Wire::CLIENT, 6379)));
        let api = start_api(&wire, store.addr());
        let front = Server::new(Kind::Nginx).listen(on(Wire::CLIENT, 80));
        let front = start_in(&wire.client, front.env("DOWNSTREAM", &api.addr().to_string()));
        Self { wire, front, api, store }
    }

    /// A new API in the place of the old one, as a rollout would.
    fn roll(self) -> Self {
        let store = self.store.addr();
        self.api.stop().unwrap();
        let api = start_api(&self.wire, store);
        Self { api, ..self }
    }

    /// Half a minute of requests: at a steady rate to both, by kept connections
    /// and by new ones, small and large.
    fn serve(&self, round: u64) {
        let rate = [30_u64, 90, 50, 150].get((round % 4) as usize).copied().unwrap_or(30);
        let (front, api) = (self.front.addr(), self.api.addr());
        let load = |target: SocketAddr, options: &str| {
            let program = apps::target_dir().join("release/strata-load");
            let options = format!("{options} --target {target}");
            let mut argv = vec![program.to_string_lossy().into_owned()];
            argv.extend(options.split(' ').map(str::to_owned));
            let dir = tempfile::tempdir().unwrap();
            let command = &mut self.wire.client.command(&argv);
            (Process::spawn(command, dir.path(), "load").unwrap(), dir)
        };
        let running = [
            load(
                front,
                &format!("open --rate {} --seconds 28 --connections 8 --path /down", rate / 3),
            ),
            load(api, &format!("open --rate {rate} --seconds 28 --connections 8 --path /redis")),
            load(api, "short --count 60 --connections 2 --path /hello"),
            load(api, "sequential --count 20 --path /big"),
        ];
        for (mut process, _dir) in running {
            let status = process.wait(Duration::from_secs(60));
            assert!(status.is_some_and(|status| status.success()), "{}", process.stderr());
        }
    }
}

fn missing() -> Option<&'static str> {
    if !sys::is_root() {
        return Some("root is needed");
    }
    let tools = ["ip", "nsenter", "prometheus", "promtool", alertmanager::PROGRAM];
    let kinds = [Kind::Go, Kind::Nginx, Kind::Redis];
    let has_all =
        tools.iter().all(|tool| has_tool(tool)) && kinds.iter().all(|kind| kind.is_available());
    (!has_all).then_some("iproute2, Prometheus, Alertmanager, Go, nginx and redis are needed")
}

/// Everything that was scraped of what the rules read, written as a test.
fn record(prometheus: &Prometheus, shipped: &str, minutes: u64) {
    let end = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let start = end - minutes * 60;
    let metrics = recorded::metrics_of(shipped).join("|");
    // Of histograms that are read whole, the text has the sums and the buckets.
    let query = format!("{{__name__=~\"({metrics})(_sum|_count|_bucket)?\"}}");
    let series = prometheus.range(&query, start, end).unwrap();
    assert!(series.len() > 100, "{} series", series.len());
    std::fs::write(rules::path(RECORD), recorded::quiet_test(&series, minutes)).unwrap();
}

#[test]
fn an_ordinary_load_alarms_nobody() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let recorded = record_minutes();
    // What is shown first of a record needs a minute before it.
    let minutes = recorded.map_or(if is_full() { 10 } else { 1 }, |minutes| minutes + 1);
    let mut shop = Shop::open();
    let agent = Agent::start(&[
        "--port",
        "80,8080,6379",
        "--network-names",
        "10.77.0.0/24=lab",
        "--governor-enabled=true",
    ])
    .unwrap();
    let alerts = Alertmanager::start().unwrap();
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let values: Vec<_> = WAITS.iter().map(|name| (*name, WINDOW)).collect();
    std::fs::write(file.path(), rules::render(&values).unwrap()).unwrap();
    let alarms = Alarms { rules: file.path(), alertmanager: alerts.addr() };
    let prometheus = Prometheus::start_with(&[agent.addr()], Some(alarms)).unwrap();
    // What is recorded has sums and buckets: promtool 2.42 writes no native histograms.
    let plain = recorded.map(|minutes| (Prometheus::start(agent.addr()).unwrap(), minutes));

    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut round = 0;
    while Instant::now() < end {
        shop.serve(round);
        round += 1;
        if round % 40 == 0 {
            shop = shop.roll();
        }
    }

    // Before it is judged: what is wrong with it is to be seen.
    if let Some((plain, minutes)) = plain {
        record(&plain, &rules::render(&[]).unwrap(), minutes);
    }
    let seen = |query: &str| prometheus.query(query).unwrap();
    let fired = seen(&format!("count_over_time(ALERTS{{alertstate=\"firing\"}}[{minutes}m])"));
    assert!(fired.is_empty(), "{fired:?}\n{:?}", alerts.notices());
    assert!(alerts.notices().is_empty(), "{:?}", alerts.notices());
    // There was something to alarm of.
    for recorded in ["strata:edge_jitter_seconds:p90", "strata:edge_connects:increase"] {
        let query = format!("count_over_time({recorded}{{scope=\"external\"}}[{minutes}m])");
        assert!(!seen(&query).is_empty(), "{recorded}: nothing\n{}", prometheus.log());
    }
}

/// Runs the record under rules of these values; what promtool said if it failed.
fn judge(values: &[(&str, &str)]) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tests")).unwrap();
    std::fs::write(dir.path().join("rules.yaml"), rules::render(values).unwrap()).unwrap();
    std::fs::copy(rules::path(RECORD), dir.path().join(RECORD)).unwrap();
    let command = &mut Command::new("promtool");
    let output = command.args(["test", "rules", RECORD]).current_dir(dir.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (!output.status.success()).then(|| String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn what_is_on_record_alarms_nobody_and_would_alarm_under_other_values() {
    require!(has_tool("promtool"), "promtool is not installed");
    let said = judge(&[]);
    assert!(said.is_none(), "{}", said.unwrap_or_default());
    let touchy = [
        (
            "StrataEdgeJitter",
            vec![("jitter_floor", "0"), ("jitter_ratio", "0"), ("jitter_for", "1m")],
        ),
        ("StrataRunQueueLatency", vec![("runqueue_seconds", "0"), ("runqueue_for", "1m")]),
        ("StrataErrorBudgetBurnFast", vec![("slo_seconds", "0.005"), ("burn_fast", "0")]),
    ];
    for (alert, values) in touchy {
        let said = judge(&values).unwrap_or_default();
        assert!(said.contains(alert), "{alert} is not told of: {said}");
    }
}
