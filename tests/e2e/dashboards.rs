//! The dashboards and the autoscaling examples against a live Prometheus.
//!
//! What belongs here: every query that is shipped for others to run gives
//! something when a Prometheus has scraped an agent that has seen load.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tests::agent_process::Agent;
use tests::load::{Call, closed, redis};
use tests::prometheus::Prometheus;
use tests::puppet::Puppet;
use tests::require::has_tool;
use tests::workload::{Kind, Server, Workload};
use tests::{eventually, require};

/// How long there is load. Windows are shorter, and there is some in each.
const LOAD: Duration = Duration::from_secs(35);
/// When every window lies within the load, until all is seen.
const SEEN: Duration = Duration::from_secs(30);
/// What stands for Grafana's window.
const WINDOW: &str = "[8s]";
/// The workload that stands for the one of an example.
const WORKLOAD: &str = "process/goapi";

/// Queries that rightly give nothing here, by panel and legend, and why. They
/// have to be understood all the same.
const EMPTY: &[(&str, &str, &str)] = &[
    ("Age of metadata", "{{node}}", POD_NAMES),
    ("Errors and requests", "error: {{reason}}", POD_NAMES),
    ("Errors and requests", "{{verb}}", POD_NAMES),
    ("Pods", "known", POD_NAMES),
    ("Pods", "not watched: {{reason}}", POD_NAMES),
    ("Containers of pods", "{{state}}", POD_NAMES),
    ("Wait to be accepted", "connect", "the server keeps its connections to others"),
    (
        "Resets",
        "{{workload}} and {{peer_namespace}} {{peer_workload}}: {{direction}}",
        "nobody cuts a connection off",
    ),
    ("Waits for a zero window", EDGE, "every peer reads"),
    ("Segments out of order", EDGE, "nothing is lost on the way within a machine"),
    ("Jitter by zone", "{{zone}} to {{peer_zone}}", "there is one node"),
];
/// Legend of what is drawn for each edge.
const EDGE: &str = "{{workload}} and {{peer_namespace}} {{peer_workload}}";
/// Why those of pods are empty.
const POD_NAMES: &str = "there is no Kubernetes to ask for names";

/// A query of a panel.
struct Query {
    dashboard: String,
    panel: String,
    legend: String,
    text: String,
}

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn dashboards() -> Vec<Value> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(deploy("grafana"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Every query of a dashboard.
fn queries(dashboard: &Value) -> Vec<Query> {
    let of_panel = |panel: &Value| {
        let query = |target: &Value| Query {
            dashboard: text(&dashboard["uid"]).to_owned(),
            panel: text(&panel["title"]).to_owned(),
            legend: text(&target["legendFormat"]).to_owned(),
            text: text(&target["expr"]).to_owned(),
        };
        list(&panel["targets"]).iter().map(query).collect::<Vec<_>>()
    };
    list(&dashboard["panels"]).iter().flat_map(of_panel).collect()
}

/// The query as Grafana would send it.
fn substituted(query: &str, workload: &str) -> String {
    let mut query = query.replace("[$__rate_interval]", WINDOW);
    for (variable, value) in [
        ("$job", "strata"),
        ("$node", "node-1"),
        ("$workload", workload),
        ("$namespace", ".*"),
        ("$pod", ".*"),
    ] {
        query = query.replace(variable, value);
    }
    assert!(!query.contains('$'), "a variable that nothing gives: {query}");
    query
}

/// What is wrong with a query; it has to give a number.
fn complaint(prometheus: &Prometheus, query: &str) -> Option<String> {
    match prometheus.query(query) {
        Err(error) => Some(format!("{error:#}")),
        Ok(series) if series.is_empty() => Some("nothing".to_owned()),
        Ok(series) if series.iter().all(|(_, value)| !value.is_finite()) => {
            Some(format!("no number: {series:?}"))
        }
        Ok(_) => None,
    }
}

/// Queries and what is wrong with each that has not become right in time.
fn complaints(prometheus: &Prometheus, queries: &[(String, String)]) -> Vec<String> {
    let mut open: Vec<&(String, String)> = queries.iter().collect();
    let mut last = Vec::new();
    eventually::until(SEEN, || {
        last.clear();
        open.retain(|(name, query)| match complaint(prometheus, query) {
            None => false,
            Some(wrong) => {
                last.push(format!("{name}: {wrong}\n    {query}"));
                true
            }
        });
        open.is_empty().then_some(())
    });
    last
}

/// Queries of the panels: those that have to show something, and the others.
fn panel_queries() -> (Vec<Query>, Vec<Query>) {
    let all = dashboards();
    assert_eq!(all.len(), 4);
    all.iter().flat_map(queries).partition(|query| {
        let is_this = |panel: &str, legend: &str| panel == query.panel && legend == query.legend;
        !EMPTY.iter().any(|(panel, legend, _)| is_this(panel, legend))
    })
}

/// A query by its place, with the variables put in.
fn named(query: &Query) -> (String, String) {
    let name = format!("{}, {}, {}", query.dashboard, query.panel, query.legend);
    (name, substituted(&query.text, ".*"))
}

/// Queries of the autoscaling examples, with a workload of the test put in.
fn scaling_queries() -> Vec<(String, String)> {
    let read = |file: &str| -> Value {
        serde_saphyr::from_str(&std::fs::read_to_string(deploy(file)).unwrap()).unwrap()
    };
    let keda = read("autoscaling/keda.yaml");
    let adapter = read("autoscaling/prometheus-adapter.yaml");
    let mut found = Vec::new();
    for trigger in list(&keda["spec"]["triggers"]) {
        let query = text(&trigger["metadata"]["query"])
            .replace("namespace=\"shop\"", "namespace=\"\"")
            .replace("deployment/checkout", WORKLOAD);
        assert!(query.contains(WORKLOAD), "{query}");
        found.push((format!("KEDA, {query}"), query));
    }
    for rule in list(&adapter["rules"]["custom"]) {
        let series = text(&rule["seriesQuery"]).split('{').next().unwrap_or_default();
        let query = text(&rule["metricsQuery"])
            .replace("<<.Series>>", series)
            .replace("<<.LabelMatchers>>", &format!("workload=\"{WORKLOAD}\""))
            .replace("<<.GroupBy>>", "pod");
        assert!(!query.contains("<<"), "{query}");
        found.push((format!("adapter, {}", text(&rule["name"]["as"])), query));
    }
    assert_eq!(found.len(), 6);
    found
}

#[test]
fn every_panel_and_every_scaling_query_shows_something_under_load() {
    require!(has_tool("prometheus"), "prometheus is not installed");
    require!(Kind::Go.is_available(), "Go is not installed");
    require!(Kind::Redis.is_available(), "redis-server is not installed");
    require!(has_tool("taskset") && has_tool("python3"), "taskset and Python are needed");
    // On one CPU with a neighbour, so that requests wait for it.
    let pinned = |argv: &[String]| {
        let mut command = std::process::Command::new("taskset");
        command.args(["-c", "0"]).args(argv);
        command
    };
    let store = Workload::start(Kind::Redis).unwrap();
    let peer = Workload::start(Kind::Go).unwrap();
    let server = Server::new(Kind::Go)
        .arg("-downstream")
        .arg(format!("http://{}/hello", peer.addr()))
        .arg("-redis")
        .arg(store.addr().to_string())
        .start_with(pinned)
        .unwrap();
    let ports = [&store, &peer, &server].map(|workload| workload.addr().port().to_string());
    let agent = Agent::start(&["--port", &ports.join(","), "--governor-budget", "0.5"]).unwrap();
    let prometheus = Prometheus::start(agent.addr()).unwrap();
    let mut neighbour = Puppet::start(pinned).unwrap();
    neighbour.begin(&format!("spin({})", LOAD.as_secs())).unwrap();

    let paths = ["/down", "/redis", "/spin?us=3000", "/file", "/hello", "/status/503"];
    let plan = paths.map(Call::get);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| closed::run(server.addr(), &plan, 3, LOAD));
        let turns = scope.spawn(|| {
            let end = std::time::Instant::now() + LOAD;
            while std::time::Instant::now() < end {
                redis::run(store.addr(), 20).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let (full, empty) = panel_queries();
        let mut all: Vec<_> = full.iter().map(named).collect();
        all.extend(scaling_queries());
        assert_eq!(empty.len(), EMPTY.len(), "each that is listed is there, once");
        let wrong = complaints(&prometheus, &all);
        assert!(
            wrong.is_empty(),
            "{} of {}:\n{}\n{}",
            wrong.len(),
            all.len(),
            wrong.join("\n"),
            agent.log()
        );
        for (name, query) in empty.iter().map(named) {
            assert!(prometheus.query(&query).is_ok(), "{name}: {query}");
        }
        // One workload of several: what a panel then shows is that one's.
        let one = queries(&dashboards()[3]).remove(0);
        let rate = |workload| prometheus.scalar(&substituted(&one.text, workload)).unwrap();
        assert!(rate(WORKLOAD) < rate(".*"), "{:?}", (rate(WORKLOAD), rate(".*")));
        assert_eq!(rate("deployment/none"), None);
        // For an autoscaler a query is one number; a share is one.
        for (name, query) in scaling_queries() {
            let value = prometheus.scalar(&query).unwrap();
            let is_share = name.contains("share") || query.contains(" / ");
            assert!(
                value.is_some_and(|value| value >= 0.0 && (!is_share || value <= 1.0)),
                "{name}"
            );
        }
        // The look at a query itself can fail.
        assert!(complaint(&prometheus, "strata_unheard_of_total").is_some());
        assert!(complaint(&prometheus, "rate(strata_requests_total)").is_some());
        load.join().unwrap().unwrap();
        turns.join().unwrap();
    });
    // Without the workload there is nothing, so that nobody scales in blindly.
    for (name, query) in scaling_queries() {
        let gone = query.replace(WORKLOAD, "process/none");
        assert_eq!(prometheus.scalar(&gone).unwrap(), None, "{name}");
    }
    neighbour.end().unwrap();
}

#[test]
fn dashboards_are_of_one_shape() {
    let mut uids = Vec::new();
    for dashboard in dashboards() {
        let uid = text(&dashboard["uid"]).to_owned();
        assert!(uid.starts_with("strata-"), "{uid}");
        assert_eq!(dashboard["schemaVersion"], 39, "{uid}");
        let mut ids = Vec::new();
        for panel in list(&dashboard["panels"]) {
            let title = text(&panel["title"]);
            ids.push(panel["id"].as_u64().unwrap());
            if panel["type"] == "row" {
                continue;
            }
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{uid}, {title}");
            assert!(!text(&panel["description"]).is_empty(), "{uid}, {title}");
            assert!(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "{uid}, {title}");
            assert!(!list(&panel["targets"]).is_empty(), "{uid}, {title}");
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{uid}: two panels of one id");
        for query in queries(&dashboard) {
            // Applications that measure themselves have series of these names too.
            let selectors = query.text.matches('{').count();
            assert_eq!(query.text.matches("{job=~\"$job\"").count(), selectors, "{}", query.text);
            let windows = query.text.matches('[').count();
            assert_eq!(query.text.matches("[$__rate_interval]").count(), windows, "{}", query.text);
            // What a variable stands for is chosen, and by a query of its own.
            let variables: Vec<&str> = list(&dashboard["templating"]["list"])
                .iter()
                .map(|one| text(&one["name"]))
                .collect();
            for word in query.text.split('$').skip(1) {
                let name: String = word.chars().take_while(|c| c.is_alphanumeric()).collect();
                assert!(name.is_empty() || variables.contains(&&*name), "{uid}: ${name}");
            }
        }
        uids.push(uid);
    }
    let count = uids.len();
    uids.sort();
    uids.dedup();
    assert_eq!(uids.len(), count, "two dashboards of one uid");
}
