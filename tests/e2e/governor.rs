//! What a running agent does to itself: the kill switch, another
//! configuration, crashes, and the budget of CPU time.
//!
//! Separate from the life cycle because here the agent goes on running.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tests::agent_process::{Agent, free_port, strata};
use tests::load::{Call, closed, sequential};
use tests::metrics_text::Metrics;
use tests::process::Process;
use tests::workload::{Kind, Workload};
use tests::{eventually, http, require};

use crate::expect::{HTTP, VISIBLE, assert_sum};

/// Within this time the kill switch has to have acted.
const KILL_SWITCH: Duration = Duration::from_secs(2);
/// Longer than a change of the configuration may take to act.
const RELOAD: Duration = Duration::from_secs(5);
/// Longer than the governor may take from nothing shed to sampling: three
/// seconds a step, two steps.
const SHEDS: Duration = Duration::from_secs(30);

/// The server's identity: containers of others may be watched too.
const OWN: &[(&str, &str)] = &[("workload", "process/goapi")];

/// A configuration file that can be changed.
struct File {
    dir: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let file = Self { dir: tempfile::tempdir().unwrap() };
        file.write(text);
        file
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("strata.yaml")
    }

    /// As an editor does it: a new file in the place of the old one.
    fn write(&self, text: &str) {
        let new = self.dir.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    fn agent(&self) -> Agent {
        Agent::start(&["--config", &self.path().display().to_string()]).unwrap()
    }
}

/// Links that a process holds: what attaches a program.
fn links(pid: u32) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().flatten();
    let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    texts.filter(|text| text.lines().any(|line| line.starts_with("link_id:"))).count()
}

/// Lanes that are in a state.
fn lanes(metrics: &Metrics, state: &str) -> Vec<String> {
    metrics
        .select("strata_agent_lane_state", &[("state", state)])
        .filter(|sample| sample.value == 1.0)
        .map(|sample| sample.label("lane").to_owned())
        .collect()
}

/// Asserts which lanes work, a moment after the kernel shows it: what is
/// attached changes before what is said of it.
fn assert_works(agent: &Agent, expected: &[String]) {
    let observe = || lanes(&agent.scrape().unwrap(), "works");
    assert_eq!(eventually::settle(RELOAD, observe, |works| works == expected), expected);
}

fn governor(metrics: &Metrics) -> String {
    let states = metrics.select("strata_agent_governor_state", &[]);
    let current: Vec<&str> =
        states.filter(|sample| sample.value == 1.0).map(|sample| sample.label("state")).collect();
    current.join(" and ")
}

fn config(port: u16, rest: &str) -> String {
    format!("watch:\n  ports: [{port}]\n{rest}")
}

#[test]
fn the_kill_switch_detaches_everything_within_two_seconds_and_gives_it_back() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let port = server.addr().port();
    let file = File::new(&config(port, "off: false\n"));
    let agent = file.agent();
    let plan = [Call::get("/hello")];
    sequential::run(server.addr(), &plan, 100, true).unwrap();
    assert_sum(&agent, HTTP, OWN, 100);
    let attached = links(agent.pid());
    let works = lanes(&agent.scrape().unwrap(), "works");
    assert!(attached > 5 && works.contains(&"sockets".to_owned()), "{attached} {works:?}");

    // Under load, so that there are requests open when it goes off and when it
    // comes back.
    std::thread::scope(|scope| {
        let load = scope.spawn(|| closed::run(server.addr(), &plan, 4, Duration::from_secs(6)));
        std::thread::sleep(Duration::from_millis(500));
        file.write(&config(port, "off: true\n"));
        let written = Instant::now();
        let left = eventually::settle(KILL_SWITCH, || links(agent.pid()), |left| *left == 0);
        assert_eq!(left, 0, "links, {:?} after it was written", written.elapsed());
        assert_works(&agent, &[]);
        assert_eq!(
            agent.scrape().unwrap().value("strata_agent_lanes_held", &[("reason", "kill_switch")]),
            Some(1.0)
        );
        let off = agent.scrape().unwrap().sum(HTTP, OWN);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(agent.scrape().unwrap().sum(HTTP, OWN), off, "nothing is counted while off");
        file.write(&config(port, "off: false\n"));
        let back = eventually::settle(RELOAD, || links(agent.pid()), |back| *back == attached);
        assert_eq!(back, attached);
        assert_eq!(load.join().unwrap().unwrap().tally.failed, 0, "the workload notices nothing");
    });
    assert_works(&agent, &works);

    // The load's last requests end by the sweep.
    std::thread::sleep(Duration::from_secs(3));
    let before = agent.scrape().unwrap();
    let bucket = |le: &str| {
        let labels = [OWN, &[("le", le)]].concat();
        before.sum("http_server_request_duration_seconds_bucket", &labels)
    };
    assert!(bucket("1") > 0.0);
    assert_eq!(bucket("+Inf"), bucket("1"), "no request lasted through the time unseen");
    sequential::run(server.addr(), &plan, 70, true).unwrap();
    assert_sum(&agent, HTTP, OWN, before.sum(HTTP, OWN) as u64 + 70);
}

#[test]
fn another_selection_is_taken_up_and_a_wrong_file_is_refused() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let (first, second) = (Workload::start(Kind::Go).unwrap(), Workload::start(Kind::Go).unwrap());
    let plan = [Call::get("/hello")];
    let file = File::new(&config(first.addr().port(), ""));
    let agent = file.agent();
    let is_successful = |metrics: &Metrics| {
        metrics.value("strata_agent_config_last_reload_successful", &[]) == Some(1.0)
    };
    assert!(is_successful(&agent.scrape().unwrap()));
    sequential::run(first.addr(), &plan, 30, true).unwrap();
    sequential::run(second.addr(), &plan, 1_000, true).unwrap();
    assert_sum(&agent, HTTP, OWN, 30);

    file.write("watch:\n  prts: [1]\n");
    let metrics =
        eventually::settle(RELOAD, || agent.scrape().unwrap(), |seen| !is_successful(seen));
    assert!(!is_successful(&metrics));
    assert!(agent.log().contains("watch.ports"), "the nearest key: {}", agent.log());
    sequential::run(first.addr(), &plan, 30, true).unwrap();
    assert_sum(&agent, HTTP, OWN, 60);

    file.write(&config(second.addr().port(), "drain:\n  interval: 20ms\n"));
    let taken_up = |log: &String| log.contains("changed keys=\"watch.ports\"");
    let log = eventually::settle(RELOAD, || agent.log(), taken_up);
    assert!(taken_up(&log), "{log}");
    assert!(log.contains("drain.interval"), "what needs a restart is named: {log}");
    assert!(is_successful(&agent.scrape().unwrap()));
    sequential::run(first.addr(), &plan, 1_000, true).unwrap();
    sequential::run(second.addr(), &plan, 40, true).unwrap();
    assert_sum(&agent, HTTP, OWN, 100);
}

#[test]
fn over_its_budget_it_sheds_in_order_says_so_and_keeps_the_books() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let port = server.addr().port();
    // The least that can be asked for: a thousandth of the node.
    let file = File::new(&config(port, "governor:\n  budget: 0.001\n"));
    let agent = file.agent();
    let before = agent.scrape().unwrap();
    assert_eq!(before.value("strata_agent_governor_budget_ratio", &[]), Some(0.001));
    let works = lanes(&before, "works");

    let plan = [Call::get("/hello")];
    let (states, outcome) = std::thread::scope(|scope| {
        let load = scope.spawn(|| closed::run(server.addr(), &plan, 8, Duration::from_secs(20)));
        let mut states: Vec<String> = Vec::new();
        eventually::until(SHEDS, || {
            let metrics = agent.scrape().unwrap();
            let state = governor(&metrics);
            if states.last() != Some(&state) {
                if state != "normal" {
                    let used = metrics.value("strata_agent_governor_use_ratio", &[]).unwrap();
                    assert!(used > 0.001, "{state} at {used}");
                }
                states.push(state.clone());
            }
            std::thread::sleep(Duration::from_millis(200));
            (state == "sampling").then_some(())
        });
        (states, load.join().unwrap().unwrap())
    });
    let expected: &[&str] = if works.contains(&"syscalls".to_owned()) {
        &["normal", "no_syscalls", "sampling"]
    } else {
        // A lane that is not there is passed over.
        &["normal", "sampling"]
    };
    assert_eq!(states, expected, "{}", agent.log());
    assert!(agent.log().contains("governor sheds"), "{}", agent.log());
    let metrics = agent.scrape().unwrap();
    assert!(!lanes(&metrics, "works").contains(&"syscalls".to_owned()));
    assert!(lanes(&metrics, "works").contains(&"sockets".to_owned()));

    // Law 3, with requests that were sampled out.
    let counted = || {
        let metrics = agent.scrape().unwrap();
        let by_outcome = metrics.sum_by("strata_requests_total", OWN, "outcome");
        (by_outcome.values().sum::<f64>() as u64, by_outcome, metrics.sum(HTTP, OWN))
    };
    let sent = outcome.tally.iter().map(|(_, _, count)| count).sum::<u64>();
    let (finished, by_outcome, in_histograms) =
        eventually::settle(VISIBLE, counted, |(finished, ..)| *finished == sent);
    assert_eq!(finished, sent, "{by_outcome:?}");
    assert!(by_outcome["sampled"] > 0.0, "{by_outcome:?}");
    assert_eq!(in_histograms, by_outcome["exported"] + by_outcome["sampled"]);

    file.write(&config(port, "governor:\n  enabled: false\n"));
    let state =
        eventually::settle(RELOAD, || governor(&agent.scrape().unwrap()), |state| state == "off");
    assert_eq!(state, "off");
    assert_works(&agent, &works);
}

/// An agent whose socket stays the same from start to start.
struct Restarted {
    process: Process,
    addr: std::net::SocketAddr,
}

impl Restarted {
    fn start(dir: &Path) -> Self {
        let addr = std::net::SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let mut command = strata();
        command.args(["agent", "--listen", &addr.to_string(), "--socket"]).arg(dir.join("s.sock"));
        let process = Process::spawn(&mut command, dir, "agent").unwrap();
        let is_ready = || http::get(addr, "/readyz").is_ok_and(|answer| answer.status == 200);
        let ready = eventually::until(RELOAD * 2, || is_ready().then_some(()));
        assert_eq!(ready, Some(()), "{}", process.stderr());
        Self { process, addr }
    }

    fn scrape(&self) -> Metrics {
        Metrics::parse(&http::get(self.addr, "/metrics").unwrap().text()).unwrap()
    }

    /// Whether it is held, once what it says and what the kernel shows agree:
    /// while lanes come and go, each look sees another moment.
    fn is_held(&self) -> bool {
        let (is_held, has_lanes, has_links) = eventually::settle(
            RELOAD,
            || {
                let metrics = self.scrape();
                let held = metrics.value("strata_agent_lanes_held", &[("reason", "crashes")]);
                let has_lanes = !lanes(&metrics, "works").is_empty();
                (held == Some(1.0), has_lanes, links(self.process.pid()) > 0)
            },
            |(is_held, has_lanes, has_links)| is_held != has_lanes && has_lanes == has_links,
        );
        assert_ne!(is_held, has_lanes);
        assert_eq!(has_lanes, has_links);
        is_held
    }
}

#[test]
fn after_three_crashes_it_starts_with_its_lanes_off_until_the_file_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let mut agent = Restarted::start(dir.path());
        assert!(!agent.is_held());
        agent.process.kill().unwrap();
    }
    let mut held = Restarted::start(dir.path());
    assert!(held.is_held());
    assert!(held.process.stderr().contains("s.sock.starts"), "{}", held.process.stderr());
    std::fs::remove_file(dir.path().join("s.sock.starts")).unwrap();
    let is_held = eventually::settle(RELOAD, || held.is_held(), |held| !held);
    assert!(!is_held);
    // A stop is no crash.
    assert_eq!(held.process.terminate(RELOAD).and_then(|status| status.code()), Some(0));
    for _ in 0..4 {
        let mut agent = Restarted::start(dir.path());
        assert!(!agent.is_held());
        assert_eq!(agent.process.terminate(RELOAD).and_then(|status| status.code()), Some(0));
    }
}
