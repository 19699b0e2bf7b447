//! Many processes, cgroups and connections that come and go.
//!
//! What belongs here: what grows with what was, not with what is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::agent_process::Agent;
use tests::cgroup::Cgroup;
use tests::containers::Ids;
use tests::load::{Call, closed, sequential};
use tests::workload::{Kind, Server};
use tests::{eventually, require, sys};

use crate::expect::{HTTP, own_losses};

const FORKS: u32 = 100_000;
const CGROUPS: u32 = 2_000;
const CONNECTIONS: u64 = 50_000;
/// Of the cgroups, so many have a server that is asked once.
const SERVING_CGROUPS: u32 = 40;
/// Entries that a map may have more than at its baseline.
const MAP_SLACK: f64 = 16.0;
/// Series leave two minutes after their container; sweeps take a little.
const SERIES_LEAVE: Duration = Duration::from_secs(150);
/// Growth of the resident set over the last four fifths of the time.
const RSS_GROWTH_KIB: f64 = 1024.0;

/// Entries of each kernel map, by the agent's own gauge.
fn map_entries(agent: &Agent) -> BTreeMap<String, f64> {
    agent.scrape().unwrap().sum_by("strata_agent_map_entries", &[], "map")
}

/// Least-squares slope of (seconds, KiB), times the length of the time.
fn growth_kib(samples: &[(f64, f64)]) -> f64 {
    let last = &samples[samples.len() / 5..];
    let n = last.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| last.iter().map(value).sum::<f64>() / n;
    let (mean_t, mean_y) = (mean(|s| s.0), mean(|s| s.1));
    let covariance: f64 = last.iter().map(|(t, y)| (t - mean_t) * (y - mean_y)).sum();
    let variance: f64 = last.iter().map(|(t, _)| (t - mean_t).powi(2)).sum();
    covariance / variance * (last.last().unwrap().0 - last[0].0)
}

#[test]
fn growth_is_the_slope_of_a_line_and_not_its_noise() {
    let line: Vec<_> = (0..100).map(|t| (f64::from(t), 7.0 + f64::from(t) * 3.0)).collect();
    assert!((growth_kib(&line) - 3.0 * 79.0).abs() < 1e-6, "{}", growth_kib(&line));
    let saw: Vec<_> = (0..100).map(|t| (f64::from(t), f64::from(t % 2) * 500.0)).collect();
    assert!(growth_kib(&saw).abs() < 50.0, "{}", growth_kib(&saw));
}

/// Forks in a shell: each subshell is one process that ends at once.
fn fork_storm(cgroup: &Cgroup, forks: u32) {
    let script = format!("i=0; while [ $i -lt {forks} ]; do (:); i=$((i+1)); done");
    let argv = ["/bin/sh", "-c", &script].map(str::to_owned);
    assert!(cgroup.command(&argv).status().unwrap().success());
}

/// Makes and removes cgroups of pods, and gives the short ids of their
/// containers. Some have a server that is asked once.
fn cgroup_storm() -> BTreeSet<String> {
    let mut made = BTreeSet::new();
    for turn in 0..CGROUPS {
        let ids = Ids::unique();
        made.insert(ids.short().to_owned());
        if turn % (CGROUPS / SERVING_CGROUPS) == 0 {
            let cgroup = Cgroup::create(&ids.cgroup_path()).unwrap();
            let server = Server::new(Kind::Go).start_with(|argv| cgroup.command(argv)).unwrap();
            sequential::run(server.addr(), &[Call::get("/hello")], 1, true).unwrap();
            server.stop().unwrap();
        } else {
            let cgroup = Cgroup::create_unified(&ids.cgroup_path()).unwrap();
            let argv = ["/bin/true".to_owned()];
            let mut command = cgroup.command(&argv);
            if turn % 10 == 0 {
                assert!(command.status().unwrap().success());
            }
        }
    }
    made
}

/// Samples (seconds since the start, KiB) of the agent's resident set.
fn watch_rss(agent: &Agent, is_done: &AtomicBool) -> Vec<(f64, f64)> {
    let start = Instant::now();
    let mut samples = Vec::new();
    while !is_done.load(Ordering::Relaxed) {
        samples.push((start.elapsed().as_secs_f64(), agent.rss_kib().unwrap() as f64));
        thread::sleep(Duration::from_millis(200));
    }
    samples
}

#[test]
fn nothing_of_what_has_gone_is_kept_and_nothing_is_misattributed() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let ids = Ids::unique();
    let cgroup = Cgroup::create(&ids.cgroup_path()).unwrap();
    let any = SocketAddr::from(([0u16; 8], 0));
    let server = Server::new(Kind::Go).listen(any).start_with(|argv| cgroup.command(argv)).unwrap();
    let port = server.addr().port();
    let agent = Agent::start(&[]).unwrap();
    let hosts: Vec<SocketAddr> = (1..=8).map(|host| ([127, 0, 0, host], port).into()).collect();
    let call = Call::get("/hello");

    // Warm: what a steady agent holds is the baseline.
    let warm = closed::short_connections(&hosts, &call, 500, 4).unwrap();
    assert_eq!(warm.completed(), 500);
    thread::sleep(Duration::from_secs(3));
    let baseline = map_entries(&agent);
    assert!(!baseline.is_empty(), "the agent tells the fill of its maps");

    let is_done = AtomicBool::new(false);
    let (tally, samples, made) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch_rss(&agent, &is_done));
        let forks = scope.spawn(|| fork_storm(&cgroup, FORKS));
        let cgroups = scope.spawn(cgroup_storm);
        let tally = closed::short_connections(&hosts, &call, CONNECTIONS, 4).unwrap();
        let (forks, cgroups) = (forks.join(), cgroups.join());
        is_done.store(true, Ordering::Relaxed);
        let samples = watch.join().unwrap();
        forks.unwrap();
        (tally, samples, cgroups.unwrap())
    });
    assert_eq!((tally.completed(), tally.failed), (CONNECTIONS, 0));

    // Every request is the server's own, of the storm's cgroups one each.
    let workload = format!("pod/{}", ids.pod_uid);
    let own = [("container", ids.short()), ("workload", workload.as_str())];
    let wanted = (CONNECTIONS + 500) as f64;
    let count = || agent.scrape().unwrap().sum(HTTP, &own);
    let seen = eventually::settle(Duration::from_secs(45), count, |seen| *seen == wanted);
    assert_eq!(seen, wanted, "{}", own_losses(&agent));
    for (container, count) in agent.scrape().unwrap().sum_by(HTTP, &[], "container") {
        assert!(!made.contains(&container) || count <= 1.0, "{container} has {count}");
    }

    let over = |maps: &BTreeMap<String, f64>| -> Vec<String> {
        let over = maps.iter().filter_map(|(map, entries)| {
            let before = baseline.get(map).copied().unwrap_or(0.0);
            (*entries > before + MAP_SLACK).then(|| format!("{map}: {before} then {entries}"))
        });
        over.collect()
    };
    // The kernel's at once; services stay as long as their series, and edges
    // until nothing happened on them for five minutes.
    let in_kernel = || {
        let mut maps = map_entries(&agent);
        maps.remove("services");
        maps.remove("edges");
        over(&maps)
    };
    let left = eventually::settle(Duration::from_secs(30), in_kernel, Vec::is_empty);
    assert_eq!(left, Vec::<String>::new());

    let growth = growth_kib(&samples);
    assert!(growth < RSS_GROWTH_KIB, "{growth} KiB over {} samples", samples.len());

    // Series by container, of those of the storm.
    let of_the_storm = || -> BTreeMap<String, usize> {
        let mut series = BTreeMap::new();
        for sample in agent.scrape().unwrap().samples() {
            let container = sample.label("container");
            if made.contains(container) {
                *series.entry(container.to_owned()).or_insert(0) += 1;
            }
        }
        series
    };
    let left = eventually::settle(SERIES_LEAVE, of_the_storm, BTreeMap::is_empty);
    assert_eq!(left, BTreeMap::new(), "series of containers that have gone");
    let mut maps = map_entries(&agent);
    let edges = maps.remove("edges").unwrap_or_default();
    assert!(edges <= f64::from(SERVING_CGROUPS) + MAP_SLACK, "{edges} edges");
    assert_eq!(over(&maps), Vec::<String>::new());
}
