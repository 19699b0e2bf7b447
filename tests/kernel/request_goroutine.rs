//! Goroutines of requests, against the handlers' own word.

use std::collections::BTreeSet;
use std::time::Duration;

use agent::probes::Lane;
use tests::load::{Call, closed, racing};
use tests::probe_run::{Probes, Setup};
use tests::workload::{Kind, Server, Workload};
use tests::{journal, require, sys};

/// A client whose next request races the end of the one before: each record
/// has the goroutine that answered, in order.
fn race(count: u64, max_gap: Duration) {
    let server = Workload::start(Kind::Go).unwrap();
    let addr = server.addr();
    let mut probes = Probes::start(Setup::default().lanes(&[Lane::Sockets])).unwrap();
    probes.watch(server.pid(), addr.port(), 1).unwrap();
    let outcome = probes.run(|| racing::run(addr, &Call::get("/goid"), count, max_gap)).unwrap();
    let requests = probes.settled_requests(outcome.goids.len());
    assert_eq!(requests.len() as u64, count, "{:?}", probes.all_losses());
    let wrong: Vec<_> = outcome
        .goids
        .iter()
        .zip(&requests)
        .enumerate()
        .filter(|(_, (goid, request))| request.goid != **goid)
        .map(|(turn, (goid, request))| (turn, *goid, request.goid))
        .collect();
    let first = wrong.first();
    assert!(wrong.is_empty(), "{} of {count}, the first (turn, own, told) {first:?}", wrong.len());
    assert_eq!(probes.all_losses(), []);
}

#[test]
fn two_hundred_thousand_racing_requests_have_their_handlers_goroutine() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    race(200_000, Duration::from_micros(50));
}

#[test]
fn requests_without_any_pause_have_their_handlers_goroutine() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    race(50_000, Duration::ZERO);
}

#[test]
fn goroutines_of_many_connections_are_told_apart() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("journal");
    let server = Server::new(Kind::Go).arg("-log").arg(log.to_string_lossy()).start().unwrap();
    let addr = server.addr();
    let mut probes = Probes::start(Setup::default()).unwrap();
    probes.watch(server.pid(), addr.port(), 1).unwrap();
    let plan = [Call::get("/hello"), Call::post("/echo", &[b'x'; 5_000])];
    let outcome = probes.run(|| closed::run(addr, &plan, 24, Duration::from_secs(2))).unwrap();
    let completed = usize::try_from(outcome.tally.completed()).unwrap();
    let requests = probes.settled_requests(completed);
    server.stop().unwrap();
    assert_eq!(requests.len(), completed, "{:?}", probes.all_losses());

    // Which requests each goroutine answered: as many, by the handlers.
    let count_by = |goids: Vec<u64>| {
        let mut counts = std::collections::BTreeMap::new();
        goids.into_iter().for_each(|goid| *counts.entry(goid).or_insert(0) += 1);
        counts
    };
    let told = count_by(requests.iter().map(|request| request.goid).collect());
    let entries = journal::read(&log).unwrap();
    assert_eq!(told, count_by(entries.iter().map(|entry| entry.goid).collect()));
    let connections: BTreeSet<_> = requests.iter().map(|request| request.remote).collect();
    assert_eq!(told.len(), connections.len(), "net/http has one goroutine a connection");
}
