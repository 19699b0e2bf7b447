//! Where requests' time went, in the records themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use agent::event::request::Request;
use agent::probes::Lane;
use agent_common::parts::{Part, UnitKind};
use tests::load::{Call, closed, open};
use tests::probe_run::{Probes, Setup};
use tests::workload::{Kind, Workload};
use tests::{require, sys};

/// How long a load lasts.
const TIME: Duration = Duration::from_secs(2);

/// Requests of a load, with their parts; printed in means per path.
fn split(kind: Kind, paths: &[&str], connections: usize) -> Vec<Request> {
    let server = Workload::start(kind).unwrap();
    let addr = server.addr();
    let plan: Vec<Call> = paths.iter().map(|path| Call::get(path)).collect();
    let mut probes = Probes::start(Setup::default().lanes(&Lane::ALL).keep_paths()).unwrap();
    probes.watch(server.pid(), addr.port(), 1).unwrap();
    // An event loop shows itself where it waits, which it does not under load.
    for worker in children(server.pid()) {
        probes.watch(worker, addr.port(), 1).unwrap();
    }
    let quiet = open::Schedule {
        path_prefix: paths[0].to_owned(),
        query: String::new(),
        rate: 300.0,
        time: Duration::from_millis(500),
        connections: 8,
    };
    let before = probes.run(|| open::run(addr, &quiet)).unwrap().len();
    probes.settled_requests(before);
    probes.events.clear();
    let outcome = probes.run(|| closed::run(addr, &plan, connections, TIME)).unwrap();
    let completed = usize::try_from(outcome.tally.completed()).unwrap();
    let requests = probes.settled_requests(completed);
    assert_eq!(requests.len(), completed, "{:?}", probes.all_losses());
    assert_eq!(probes.all_losses(), []);
    println!("{kind:?}, {connections} connections, {completed} requests");
    let mut by_path: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    for request in &requests {
        by_path.entry(request.path.as_deref().unwrap_or("-")).or_default().push(request);
    }
    for (path, requests) in by_path {
        println!("  {path}: {}", means(&requests));
    }
    requests
}

/// Processes that a process has started.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Mean microseconds of each part that is not 0.
pub(crate) fn means(requests: &[&Request]) -> String {
    let mut text = format!("{} requests", requests.len());
    for part in Part::ALL {
        let mean_us = mean_ns(requests, part) / 1_000;
        if mean_us > 0 {
            text += &format!(", {}.{} {mean_us}", part.layer().as_str(), part.as_str());
        }
    }
    text
}

pub(crate) fn mean_ns(requests: &[&Request], part: Part) -> u64 {
    let sum: u64 = requests.iter().map(|request| request.parts.ns[part as usize]).sum();
    sum / requests.len().max(1) as u64
}

fn of_path<'a>(requests: &'a [Request], path: &str) -> Vec<&'a Request> {
    requests.iter().filter(|request| request.path.as_deref() == Some(path)).collect()
}

/// Nothing is counted twice: what was measured fits into the wall time.
pub(crate) fn assert_fits(requests: &[Request]) {
    let over: Vec<_> = requests.iter().filter(|request| request.parts.overrun_ns > 0).collect();
    assert!(over.is_empty(), "{} of {}, such as {:?}", over.len(), requests.len(), over[0]);
}

/// The share of wall time in a part.
pub(crate) fn share(requests: &[&Request], part: Part) -> f64 {
    let wall_ns: u64 = requests.iter().map(|request| request.wall_ns()).sum();
    let part_ns: u64 = requests.iter().map(|request| request.parts.ns[part as usize]).sum();
    part_ns as f64 / wall_ns.max(1) as f64
}

#[test]
fn a_thread_that_sleeps_or_computes_is_seen_to() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Python.is_available(), "python3 is not installed");
    for connections in [1, 4] {
        let requests = split(Kind::Python, &["/hello", "/spin", "/sleep"], connections);
        assert_fits(&requests);
        assert!(requests.iter().all(|request| request.work.kind == UnitKind::Thread));
        assert!(share(&of_path(&requests, "/sleep"), Part::Sleep) > 0.9);
        assert!(share(&of_path(&requests, "/spin"), Part::Cpu) > 0.4);
    }
}

#[test]
fn a_goroutine_that_sleeps_or_computes_is_seen_to() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    for connections in [1, 4] {
        let requests = split(Kind::Go, &["/hello", "/spin", "/sleep"], connections);
        assert_fits(&requests);
        assert!(requests.iter().all(|request| request.work.kind == UnitKind::Goroutine));
        assert!(share(&of_path(&requests, "/sleep"), Part::Wait) > 0.85);
        assert!(share(&of_path(&requests, "/spin"), Part::Cpu) > 0.4);
    }
}

#[test]
fn at_saturation_a_go_servers_requests_wait_for_the_runtime() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let requests = split(Kind::Go, &["/hello"], 16);
    assert_fits(&requests);
    let all: Vec<&Request> = requests.iter().collect();
    assert!(share(&all, Part::Sched) > 0.5, "{}", means(&all));
    assert!(share(&all, Part::Unknown) < 0.2, "{}", means(&all));
}

#[test]
fn turns_of_an_event_loop_are_said_to_be_estimated() {
    require!(sys::is_root(), "root is needed");
    for kind in [Kind::Node, Kind::Nginx] {
        require!(kind.is_available(), "a server is not installed");
        let requests = split(kind, &["/hello"], 4);
        assert_fits(&requests);
        let turns = requests.iter().filter(|request| request.work.kind == UnitKind::Loop).count();
        assert!(turns * 10 > requests.len() * 9, "{turns} of {}", requests.len());
        assert!(requests.iter().all(|request| {
            request.work.kind != UnitKind::Loop
                || request.parts.ns[Part::Cpu as usize] == 0
                || request.work.estimated & Part::Cpu.bit() != 0
        }));
    }
}
