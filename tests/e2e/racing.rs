//! A client whose next request races the server's end of the one before.
//!
//! What belongs here: exact counts where arrival, read and end of neighbouring
//! requests lie within microseconds of each other.

use std::time::Duration;

use tests::agent_process::Agent;
use tests::load::{Call, racing};
use tests::require;
use tests::workload::{Kind, Workload};

use crate::expect::{OUTSIDE, assert_http_counts, assert_nothing_lost, client_counts};

fn race(kind: Kind, count: u64, max_gap: Duration) {
    require!(kind.is_available(), "{} is not installed", kind.tool());
    let server = Workload::start(kind).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let outcome = racing::run(server.addr(), &Call::get("/hello"), count, max_gap).unwrap();
    assert_eq!(outcome.tally.count("GET", 200), count);
    assert_http_counts(&agent, OUTSIDE, &client_counts(&outcome.tally));
    assert_nothing_lost(&agent);
}

#[test]
fn two_hundred_thousand_racing_requests_to_go_are_counted_exactly() {
    race(Kind::Go, 200_000, Duration::from_micros(50));
}

#[test]
fn requests_without_any_pause_between_them_are_counted_exactly() {
    race(Kind::Go, 50_000, Duration::ZERO);
}

#[test]
fn racing_requests_to_an_event_loop_are_counted_exactly() {
    race(Kind::Nginx, 50_000, Duration::from_micros(50));
    race(Kind::Node, 20_000, Duration::from_micros(50));
}

#[test]
fn racing_requests_to_a_thread_are_counted_exactly() {
    race(Kind::Python, 20_000, Duration::from_micros(50));
}
