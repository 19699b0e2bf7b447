//! The table of peers: who wins where several know an address, and that no
//! name outlives what it came from.

use super::*;
use crate::config::Network;
use crate::event::peer::Changed;
use proptest::prelude::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pod(namespace: &str, workload: &str, addresses: &[&str]) -> LocalPod {
    LocalPod {
        namespace: namespace.into(),
        workload: workload.into(),
        addresses: addresses.iter().map(|text| address(text)).collect(),
    }
}

fn named(namespace: &str, workload: &str, zone: &str) -> PeerName {
    PeerName { namespace: namespace.into(), workload: workload.into(), zone: zone.into() }
}

fn told(zone: &str, changed: Changed, found: &[(&str, Option<PeerName>)]) -> PeersTold {
    let found = found.iter().map(|(text, name)| (address(text), name.clone())).collect();
    PeersTold { zone: zone.into(), changed, found }
}

fn none_changed() -> Changed {
    Changed::These(Vec::new())
}

const SECOND: u64 = 1_000_000_000;

/// As it is shown; `...` if it may be told soon.
fn shown_as(peers: &mut Peers, text: &str, now_ns: u64, is_confirmed: bool) -> String {
    let Some(peer) = peers.name(Remote::Address(address(text)), now_ns, is_confirmed) else {
        return "...".to_owned();
    };
    let PeerName { namespace, workload, zone } = &peer.name;
    format!("{namespace}|{workload}|{zone}|{}", peer.distance.as_str())
}

fn shown(peers: &mut Peers, text: &str, now_ns: u64) -> String {
    shown_as(peers, text, now_ns, false)
}

/// Takes an answer up, and shows what was counted before it.
fn taken(peers: &mut Peers, told: &PeersTold, text: &str, now_ns: u64) -> String {
    peers.take(told, now_ns);
    let shown = shown_as(peers, text, now_ns, true);
    peers.settle();
    shown
}

fn table() -> Peers {
    let names = [Network::parse("10.0.0.0/8=corp").unwrap()];
    let mut peers = Peers::new("a", Names::new(&names));
    peers.set_node([address("10.0.0.1"), address("10.244.1.1")]);
    peers.set_pods([
        pod("shop", "deployment/api", &["10.244.1.7", "fd00::7"]),
        pod("shop", "deployment/db", &["10.244.1.8"]),
    ]);
    peers
}

#[test]
fn who_is_nearest_gives_the_name() {
    let mut peers = table();
    for (text, expected) in [
        ("127.0.0.9", "|||loopback"),
        ("::1", "|||loopback"),
        ("10.0.0.1", "|node/a||node"),
        ("10.244.1.7", "shop|deployment/api||node"),
        ("::ffff:10.244.1.8", "shop|deployment/db||node"),
        ("fd00::7", "shop|deployment/api||node"),
        ("10.244.2.2", "|corp||external"),
        ("192.168.0.1", "|||unknown"),
        ("1.1.1.1", "|||external"),
    ] {
        assert_eq!(shown(&mut peers, text, 0), expected, "{text}");
    }
    assert_eq!(peers.name(Remote::Loopback, 0, false).unwrap().distance, Distance::Loopback);
    assert_eq!(&*peers.name(Remote::Rest, 0, false).unwrap().name.workload, OTHER);
    assert_eq!(shown(&mut Peers::new("", Names::default()), "10.0.0.1", 0), "|||unknown");
}

#[test]
fn a_name_from_elsewhere_is_given_to_what_was_counted_before_it_was_told() {
    let mut peers = table();
    peers.expect_answers(0);
    // Nobody has told the zone yet, which is part of a name.
    assert_eq!(shown(&mut peers, "10.244.1.7", 1), "...");
    assert_eq!(shown(&mut peers, "10.244.2.2", 1), "...");
    assert_eq!(peers.wanted(1, 0).unknown, [address("10.244.2.2")]);
    let cart = Some(named("shop", "deployment/cart", "b"));
    let answer = told("a", none_changed(), &[("10.244.2.2", cart)]);
    let as_cart = "shop|deployment/cart|b|cross_zone";
    assert_eq!(taken(&mut peers, &answer, "10.244.2.2", SECOND), as_cart);
    assert_eq!(shown(&mut peers, "10.244.1.7", SECOND), "shop|deployment/api|a|node");
    assert_eq!(shown(&mut peers, "10.0.0.1", SECOND), "|node/a|a|node");
    // Since then it may be another's.
    assert_eq!(shown(&mut peers, "10.244.2.2", 2 * SECOND), "...");
    let answer = told("a", none_changed(), &[]);
    assert_eq!(taken(&mut peers, &answer, "10.244.2.2", 6 * SECOND), as_cart);
    // Who tells has gone: no name after a while, and nothing waits any more.
    assert_eq!(shown(&mut peers, "10.244.2.2", 20 * SECOND), "...");
    assert_eq!(shown(&mut peers, "10.244.2.2", 21 * SECOND), "|corp||external");
    assert_eq!(shown(&mut peers, "192.168.0.1", 21 * SECOND), "|||unknown");
    assert_eq!(taken(&mut peers, &answer, "10.244.2.2", 30 * SECOND), as_cart);
    assert_eq!(shown(&mut peers, "1.1.1.1", 31 * SECOND), "...");
    let nobody = told("a", none_changed(), &[("1.1.1.1", None), ("10.244.1.7", None)]);
    assert_eq!(taken(&mut peers, &nobody, "1.1.1.1", 32 * SECOND), "|||external");
    // Of this node's pods more is known here.
    assert_eq!(shown(&mut peers, "10.244.1.7", 33 * SECOND), "shop|deployment/api|a|node");
}

#[test]
fn the_zone_tells_the_distance() {
    for (own, theirs, distance) in
        [("a", "a", "zone"), ("a", "b", "cross_zone"), ("", "b", "unknown"), ("a", "", "unknown")]
    {
        let mut peers = table();
        peers.expect_answers(0);
        let answer = told(own, Changed::All, &[("10.244.2.3", Some(named("", "node/c", theirs)))]);
        let wanted = format!("|node/c|{theirs}|{distance}");
        assert_eq!(taken(&mut peers, &answer, "10.244.2.3", 1), wanted);
    }
}

#[test]
fn what_was_counted_while_an_address_went_to_another_is_neithers() {
    let (a, b) = (Some(named("", "pod/a", "z")), Some(named("", "pod/b", "z")));
    for changed in [Changed::All, Changed::These(vec![address("10.244.2.3")]), none_changed()] {
        let mut peers = Peers::default();
        peers.expect_answers(0);
        let first = told("z", none_changed(), &[("10.244.2.3", a.clone())]);
        assert_eq!(taken(&mut peers, &first, "10.244.2.3", 1), "|pod/a|z|zone");
        let second = told("z", changed, &[("10.244.2.3", b.clone())]);
        assert_eq!(taken(&mut peers, &second, "10.244.2.3", 2), "|||unknown");
        let third = told("z", none_changed(), &[]);
        assert_eq!(taken(&mut peers, &third, "10.244.2.3", 3), "|pod/b|z|zone");
        // It is nobody's any more, and was not told again.
        let fourth = told("z", Changed::These(vec![address("10.244.2.3")]), &[]);
        assert_eq!(taken(&mut peers, &fourth, "10.244.2.3", 4), "...");
        assert_eq!(peers.wanted(4, 0).unknown, [address("10.244.2.3")]);
    }
}

#[test]
fn what_is_used_is_asked_again_in_time_and_what_is_not_is_forgotten() {
    let mut peers = Peers::default();
    peers.expect_answers(0);
    let name = |n: u8| Some(named("", &format!("pod/{n}"), ""));
    let answer = told(
        "",
        none_changed(),
        &[("10.0.0.1", name(1)), ("10.0.0.2", name(2)), ("10.0.0.3", None)],
    );
    peers.take(&answer, 0);
    peers.settle();
    assert_eq!(peers.wanted(0, 10 * SECOND).known.len(), 2);
    for text in ["10.0.0.1", "10.0.0.3"] {
        let _ = shown(&mut peers, text, SECOND);
    }
    assert_eq!(peers.wanted(21 * SECOND, 10 * SECOND).unknown, [address("10.0.0.3")]);
    let wanted = peers.wanted(295 * SECOND, 10 * SECOND);
    assert_eq!(wanted.unknown, [address("10.0.0.1")]);
    assert_eq!(wanted.known, [address("10.0.0.2")]);
    assert_eq!(peers.wanted(300 * SECOND, 10 * SECOND), PeersWanted::default());
    assert!(peers.asked().unwrap().is_empty());
}

#[test]
fn who_left_an_address_is_not_named_by_a_server_that_is_behind() {
    let mut peers = Peers::default();
    peers.expect_answers(0);
    let (at, db) = ("10.0.0.2", Some(named("shop", "deployment/db", "")));
    assert_eq!(shown(&mut peers, at, 0), "...");
    let first = told("", Changed::All, &[(at, db)]);
    assert_eq!(taken(&mut peers, &first, at, SECOND), "shop|deployment/db||unknown");
    // One server knows that it has gone; then that another has it, and then one
    // is heard for the first time: none of it has it asked about again.
    let changed = || Changed::These(vec![address(at)]);
    let gone = told("", changed(), &[(at, None)]);
    assert_eq!(taken(&mut peers, &gone, at, 2 * SECOND), "|||unknown");
    for (now_s, changed) in [(3, changed()), (4, Changed::All)] {
        assert_eq!(taken(&mut peers, &told("", changed, &[]), at, now_s * SECOND), "|||unknown");
        assert_eq!(peers.wanted(now_s * SECOND, 10 * SECOND).unknown, [] as [IpAddr; 0]);
    }
    assert_eq!(shown(&mut peers, at, 21 * SECOND), "|||unknown");
    assert_eq!(peers.wanted(22 * SECOND, 10 * SECOND).unknown, [address(at)]);
}

#[test]
fn an_address_that_two_pods_have_names_neither() {
    let mut peers = table();
    peers.set_pods([
        pod("shop", "deployment/api", &["10.244.1.7"]),
        pod("shop", "deployment/db", &["10.244.1.7", "10.244.1.8"]),
    ]);
    assert_eq!(shown(&mut peers, "10.244.1.7", 0), "|corp||external");
    assert_eq!(shown(&mut peers, "10.244.1.8", 0), "shop|deployment/db||node");
    peers.set_pods([pod("shop", "deployment/db", &["10.244.1.7"])]);
    assert_eq!(shown(&mut peers, "10.244.1.7", 0), "shop|deployment/db||node");
}

proptest! {
    #[test]
    fn names_from_elsewhere_are_bounded_and_never_those_of_another_address(
        numbers in prop::collection::vec(any::<u16>(), 1..6_000),
    ) {
        let mut peers = Peers::default();
        peers.expect_answers(0);
        let at = |n: u16| IpAddr::from([172, 16, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
        for (now_ns, some) in (1u64..).zip(numbers.chunks(500)) {
            let found = some.iter().map(|n| (at(*n), Some(named("", &format!("node/{n}"), ""))));
            let told = PeersTold { zone: "".into(), changed: none_changed(), found: found.collect() };
            peers.take(&told, now_ns);
            for n in some {
                let peer = peers.name(Remote::Address(at(*n)), now_ns, true).unwrap();
                prop_assert_eq!(peer.name.workload.to_string(), format!("node/{n}"));
            }
            peers.settle();
        }
        prop_assert!(peers.asked().unwrap().len() <= 4_096);
    }

    #[test]
    fn every_address_has_one_answer_and_names_no_stranger(bytes in any::<[u8; 4]>(), now_ns: u64) {
        let mut peers = table();
        let remote = Remote::Address(bytes.into());
        let peer = peers.name(remote, now_ns, false).unwrap();
        let again = peers.name(remote, now_ns, false).unwrap();
        prop_assert_eq!(&peer, &again);
        let known = ["deployment/api", "deployment/db", "node/a", "corp", ""];
        prop_assert!(known.contains(&&*peer.name.workload));
        if peer.name.namespace.as_ref() == "shop" {
            prop_assert!([[10, 244, 1, 7], [10, 244, 1, 8]].contains(&bytes));
        }
    }
}
