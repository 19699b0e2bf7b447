//! A call whose request was lost on the wire: what sending again took is loss,
//! not the peer's time.

use agent::event::request::Request;
use agent::probes::Lane;
use agent_common::parts::Part;
use std::time::Duration;
use tests::load::{Call, closed, sequential};
use tests::netns::Wire;
use tests::nft::{self, Loss, Rules};
use tests::probe_run::{Probes, Setup};
use tests::{apps, require, sys};

use crate::gocaller::Pair;

fn missing() -> Option<&'static str> {
    if !sys::is_root() {
        return Some("root is needed");
    }
    if !apps::has_go() {
        return Some("Go is not installed");
    }
    (!nft::is_usable()).then_some("nftables does not work here")
}

/// Every 20th call loses its request once.
fn lose(is_go: bool) {
    let wire = Wire::create().unwrap();
    let pair = Pair::start_on(&wire, is_go).unwrap();
    let loss = Loss::OneTo { port: pair.downstream().port(), count: 20 };
    let rules = Rules::install(&wire.server, &[loss]).unwrap();
    let mut probes = Probes::start(Setup::default().lanes(&Lane::ALL)).unwrap();
    pair.watch(&mut probes).unwrap();
    let plan = [Call::get("/call?ms=5")];
    let netns = wire.client.file();
    let outcome = probes
        .run(|| {
            sys::enter_netns(&netns)?;
            closed::run(pair.addr(), &plan, 1, Duration::from_secs(8))
        })
        .unwrap();
    let completed = usize::try_from(outcome.tally.completed()).unwrap();
    let requests = probes.settled_requests(completed);
    assert_eq!(requests.len(), completed);

    let lost_ns = |request: &Request| request.parts.ns[Part::Loss as usize];
    let (lost, whole): (Vec<&Request>, Vec<&Request>) =
        requests.iter().partition(|request| lost_ns(request) > 0);
    let dropped = rules.lost().unwrap();
    println!("{completed} requests, {dropped} dropped, {} with loss", lost.len());
    assert!(dropped > 10, "{dropped}");
    // The wire itself may make a segment late, which TCP sends again; and a
    // segment may be dropped of a request that the end of the load cuts off.
    let expected = dropped - 1..=dropped + 1;
    assert!(expected.contains(&(lost.len() as u64)), "{} of {dropped}", lost.len());

    let mean_ns = |of: &[&Request]| {
        of.iter().map(|request| request.wall_ns()).sum::<u64>() as f64 / of.len().max(1) as f64
    };
    let excess_ns = mean_ns(&lost) - mean_ns(&whole);
    let told_ns =
        lost.iter().map(|request| lost_ns(request)).sum::<u64>() as f64 / lost.len() as f64;
    let share = told_ns / excess_ns;
    println!("excess {:.1} ms, told {:.1} ms", excess_ns / 1e6, told_ns / 1e6);
    assert!((0.9..1.1).contains(&share), "{share} of the excess");
    let told_by_calls: u64 = probes.calls().map(|call| call.loss_ns).sum();
    assert!(told_by_calls as f64 > 0.9 * told_ns * lost.len() as f64, "{told_by_calls}");
}

#[test]
fn a_lost_call_of_a_go_program_is_loss() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    lose(true);
}

#[test]
fn a_lost_call_of_a_thread_is_loss() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    lose(false);
}

/// What is lost before a call is sent is no loss of the call's.
#[test]
fn a_lost_handshake_is_no_loss_in_the_call_after_it() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let wire = Wire::create().unwrap();
    let pair = Pair::start_on(&wire, true).unwrap();
    let rules = Rules::install(&wire.server, &[Loss::FirstSyn]).unwrap();
    let mut probes = Probes::start(Setup::default().lanes(&Lane::ALL)).unwrap();
    pair.watch(&mut probes).unwrap();
    let netns = wire.client.file();
    probes
        .run(|| {
            sys::enter_netns(&netns)?;
            sequential::run(pair.addr(), &[Call::get("/call?ms=30")], 1, false)
        })
        .unwrap();
    assert_eq!(rules.lost().unwrap(), 1);
    probes.settle(|probes| probes.calls().count() == 1);
    let lost_ns: Vec<u64> = probes.calls().map(|call| call.loss_ns).collect();
    assert_eq!(lost_ns, [0]);
}
