//! The books: whatever becomes of a request is counted, and no two fates at once.

use std::time::Duration;

use agent::probes::Lane;
use agent_common::stats::Loss;
use tests::load::{Call, closed, sequential};
use tests::probe_run::{Books, Probes, Setup};
use tests::workload::{Kind, Workload};
use tests::{require, sys};

const SERVICE: u16 = 9;
/// Room for some 1 600 records: a burst of a second does not fit.
const TINY_RING_BYTES: u32 = 512 << 10;
const BURST: Duration = Duration::from_millis(1_500);

/// Puts load on a server, reading the ring meanwhile or not, and gives what
/// the client completed, the records, and the kernel's count.
fn burst(setup: Setup, plan: &[Call], reads_meanwhile: bool) -> (u64, u64, Books, Probes) {
    let server = Workload::start(Kind::Go).unwrap();
    let addr = server.addr();
    let mut probes = Probes::start(setup.lanes(&[Lane::Sockets])).unwrap();
    probes.watch(server.pid(), addr.port(), SERVICE).unwrap();
    let load = || closed::run(addr, plan, 16, BURST).unwrap();
    let outcome = if reads_meanwhile { probes.run(load) } else { load() };
    let completed = outcome.tally.completed();
    // The last requests end by their connections' close, or a sweep.
    probes.settle(|probes| probes.books(SERVICE).finished >= completed);
    let exported = probes.requests().count() as u64;
    let books = probes.books(SERVICE);
    println!("completed {completed}, exported {exported}, {books:?}");
    assert_eq!(probes.malformed, 0);
    assert_eq!(books.finished, completed, "everything that was completed, once");
    assert_eq!(books.finished, exported + books.sampled + books.filtered + books.lost);
    assert_eq!(probes.losses(Loss::RingRequest), books.lost, "lost by reason");
    (completed, exported, books, probes)
}

#[test]
fn what_does_not_fit_the_ring_is_lost_and_counted_exactly() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let setup = Setup::default().ring_bytes(TINY_RING_BYTES);
    let (completed, exported, books, probes) = burst(setup, &[Call::get("/hello")], false);
    assert!(books.lost > 0, "the ring was to overflow, with {completed} requests");
    assert!(exported > 1_000, "{exported}");
    assert_eq!(probes.all_losses(), [(Loss::RingRequest.as_str(), books.lost)]);
}

#[test]
fn a_burst_out_of_silence_wakes_the_reader_before_the_ring_is_full() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let setup = Setup::default().ring_bytes(TINY_RING_BYTES).lanes(&[Lane::Sockets]);
    let mut probes = Probes::start(setup).unwrap();
    probes.watch(server.pid(), server.addr().port(), SERVICE).unwrap();
    probes.collect();
    let wake_ups = probes.wake_ups().unwrap();
    let mut requests = 0;
    while !wake_ups.were().unwrap() {
        assert_eq!(probes.losses(Loss::RingRequest), 0, "not woken in {requests} requests");
        sequential::run(server.addr(), &[Call::get("/hello")], 16, true).unwrap();
        requests += 16;
    }
    // Half of it is some 800 records; what is asked is not asked every time.
    assert!(requests > 500, "{requests}");
    assert_eq!(probes.settled_requests(requests).len(), requests);
}

#[test]
fn nothing_is_lost_while_the_ring_is_read() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let (_, _, books, probes) = burst(Setup::default(), &[Call::get("/hello")], true);
    assert_eq!((books.lost, books.sampled, books.filtered), (0, 0, 0));
    assert_eq!(probes.all_losses(), []);
}

#[test]
fn sampled_requests_are_counted_with_their_durations() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let setup = Setup::default().sampling_shift(3);
    let (completed, exported, books, probes) = burst(setup, &[Call::get("/hello")], true);
    let share = exported as f64 / completed as f64;
    assert!((0.08..0.17).contains(&share), "one in eight, not {share}");
    let counters = probes.counters().requests(SERVICE);
    let in_buckets: u64 = counters.sampled_durations.buckets.iter().sum();
    assert_eq!(in_buckets, books.sampled);
    assert_eq!(counters.sampled_classic.iter().sum::<u64>(), books.sampled);
    assert!(counters.sampled_durations.sum_ns > books.sampled * 1_000);
}

#[test]
fn ignored_paths_are_filtered_before_they_are_sampled_or_lost() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let plan = [Call::get("/hello"), Call::get("/healthz"), Call::get("/healthz?x=1")];
    let setup =
        Setup::default().ring_bytes(TINY_RING_BYTES).sampling_shift(1).ignore(&["/healthz"]);
    let (completed, exported, books, _) = burst(setup, &plan, false);
    // Each of 16 connections ends at some place of the plan.
    let wanted = completed * 2 / 3;
    assert!(books.filtered.abs_diff(wanted) <= 16, "{} of {completed}", books.filtered);
    assert!(books.sampled > 0 && exported > 0);
}
