//! Every call is in the histograms, whoever the peer is and however little room
//! there is; what the bounds are.

use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::aggregate::budget::NodeBudget;
use crate::event::call::Caller;

fn call(protocol: Protocol, peer: u16, method: Method, status: u16, wall_ns: u64) -> Call {
    Call {
        service: 1,
        protocol,
        method,
        status,
        flags: 0,
        caller: Caller::Sender,
        tgid: 1,
        tid: 1,
        goid: 0,
        request_read_ns: 0,
        retransmits: 0,
        sent_ns: 10,
        ready_ns: 10 + wall_ns,
        read_ns: 10 + wall_ns,
        end_ns: 10 + wall_ns,
        bytes_out: 1,
        bytes_in: 1,
        loss_ns: 0,
        netns: 1,
        local: (Ipv6Addr::LOCALHOST, 40_000),
        peer: (Ipv6Addr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00, peer]), 80),
    }
}

fn series() -> CallSeries {
    CallSeries::new(Identity::new("", "", "", "process/api"))
}

/// Label values beyond the identity, with count and sum, of all series.
fn shown(series: &mut CallSeries, budget: &mut Budget) -> Vec<(Vec<String>, u64, u64)> {
    let mut snapshot = Snapshot::new(1);
    series.snapshot(budget, &mut snapshot);
    assert!(snapshot.workload_series() <= u64::from(budget.used()));
    let all = snapshot.families().iter().flat_map(|family| family.series());
    all.map(|series| {
        let Value::Histogram(value) = &series.value else { panic!("no histogram") };
        let labels = series.labels.iter().skip(4).map(|(_, value)| value.to_owned()).collect();
        (labels, value.durations.count(), value.durations.sum_ns)
    })
    .collect()
}

#[test]
fn a_call_has_its_peer_method_status_and_failure() {
    let node = NodeBudget::new(30_000);
    let mut budget = Budget::new(&node, 300).unwrap();
    let mut series = series();
    for (method, status, labels) in [
        (Method::Get, 200, ["GET", "200", "10.0.0.7", "80", ""].as_slice()),
        (Method::Get, 404, &["GET", "404", "10.0.0.7", "80", "404"]),
        (Method::Post, 0, &["POST", "", "10.0.0.7", "80", "no_response"]),
    ] {
        series.observe(&call(Protocol::Http1, 7, method, status, 5), Some(&mut budget));
        let wanted: Vec<_> = labels.iter().filter(|value| !value.is_empty()).collect();
        let all = shown(&mut series, &mut budget);
        assert!(all.iter().any(|(seen, ..)| seen.iter().eq(wanted.iter().copied())), "{all:?}");
    }
    series.observe(&call(Protocol::Opaque, 8, Method::None, 0, 5), Some(&mut budget));
    let all = shown(&mut series, &mut budget);
    assert!(all.iter().any(|(seen, ..)| seen == &["tcp", "10.0.0.8", "80"]), "{all:?}");
}

#[test]
fn four_peers_are_told_apart_and_the_others_keep_method_and_status() {
    let node = NodeBudget::new(30_000);
    let mut budget = Budget::new(&node, 1_000).unwrap();
    let mut series = series();
    for peer in 0..20 {
        series.observe(&call(Protocol::Http1, peer, Method::Get, 200, 5), Some(&mut budget));
    }
    let all = shown(&mut series, &mut budget);
    assert_eq!(all.len(), 5);
    let other = all.iter().find(|(labels, ..)| labels.contains(&"_other".to_owned()));
    assert_eq!(
        other,
        Some(&(["GET", "200", "_other", "_other"].map(str::to_owned).into(), 16, 80))
    );
}

#[test]
fn without_room_calls_are_folded_and_that_is_counted() {
    let node = NodeBudget::new(30_000);
    let mut budget = Budget::new(&node, 150).unwrap();
    let mut series = series();
    for status in 200..240 {
        series.observe(&call(Protocol::Http1, 1, Method::Get, status, 1), Some(&mut budget));
    }
    let all = shown(&mut series, &mut budget);
    assert!(all.len() < 10);
    let folded =
        node.folded().into_iter().find(|(name, _)| *name == HTTP_CLIENT_REQUEST_DURATION.name);
    assert!(folded.unwrap().1 > 30);
}

proptest! {
    #[test]
    fn every_call_is_counted_where_there_is_room_and_no_budget_is_exceeded(
        calls in prop::collection::vec((0..3u8, 0..9u16, 1..4u8, 0..600u16, 0..1u64 << 34), 0..200),
        max in 60..500u32,
    ) {
        let node = NodeBudget::new(30_000);
        let mut budget = Budget::new(&node, max).unwrap();
        let mut series = series();
        let (mut count, mut sum_ns) = (0, 0);
        for (protocol, peer, method, status, wall_ns) in calls {
            let protocol = [Protocol::Http1, Protocol::Opaque, Protocol::Tls][usize::from(protocol)];
            let call = call(protocol, peer, Method::from_raw(method), status, wall_ns);
            series.observe(&call, Some(&mut budget));
            count += 1;
            sum_ns += wall_ns;
        }
        let all = shown(&mut series, &mut budget);
        let seen = all.iter().fold((0, 0), |sums, set| (sums.0 + set.1, sums.1 + set.2));
        prop_assert!(budget.used() <= max);
        prop_assert!(seen <= (count, sum_ns));
        if max >= 450 { prop_assert_eq!(seen, (count, sum_ns)); }
        prop_assert_eq!(shown(&mut series, &mut budget).len(), all.len());
    }
}
