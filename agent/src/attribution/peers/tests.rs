//! The table of peers: who wins where several know an address, and that no
//! name outlives what it came from.

use super::*;
use crate::config::Network;
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

fn found(text: &str, name: Option<PeerName>, until_ns: u64) -> PeerUpdate {
    PeerUpdate::Found { address: address(text), name, until_ns }
}

fn shown(peers: &Peers, text: &str, now_ns: u64) -> String {
    let peer = peers.name(Remote::Address(address(text)), now_ns);
    let PeerName { namespace, workload, zone } = &peer.name;
    format!("{namespace}|{workload}|{zone}|{}", peer.distance.as_str())
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
    let peers = table();
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
        assert_eq!(shown(&peers, text, 0), expected, "{text}");
    }
    assert_eq!(peers.name(Remote::Loopback, 0).distance, Distance::Loopback);
    assert_eq!(&*peers.name(Remote::Rest, 0).name.workload, OTHER);
    assert_eq!(shown(&Peers::new("", Names::default()), "10.0.0.1", 0), "|||unknown");
}

#[test]
fn a_name_from_elsewhere_holds_until_its_time_and_its_zone_tells_the_distance() {
    let mut peers = table();
    peers.update(found("10.244.2.2", Some(named("shop", "deployment/cart", "b")), 100), 0);
    assert_eq!(shown(&peers, "10.244.2.2", 50), "shop|deployment/cart|b|unknown");
    peers.update(PeerUpdate::OwnZone("a".into()), 0);
    assert_eq!(shown(&peers, "10.244.2.2", 50), "shop|deployment/cart|b|cross_zone");
    assert_eq!(shown(&peers, "10.244.1.7", 50), "shop|deployment/api|a|node");
    peers.update(found("10.244.2.3", Some(named("", "node/c", "a")), 100), 0);
    assert_eq!(shown(&peers, "10.244.2.3", 50), "|node/c|a|zone");
    assert_eq!(shown(&peers, "10.244.2.2", 100), "|corp||external", "its time is over");
    peers.update(found("10.244.2.3", None, 200), 60);
    assert_eq!(shown(&peers, "10.244.2.3", 70), "|corp||external");
    // This node's pods are known better here.
    peers.update(found("10.244.1.7", Some(named("x", "y", "z")), 100), 0);
    assert_eq!(shown(&peers, "10.244.1.7", 50), "shop|deployment/api|a|node");
}

#[test]
fn an_address_that_two_pods_have_names_neither() {
    let mut peers = table();
    peers.set_pods([
        pod("shop", "deployment/api", &["10.244.1.7"]),
        pod("shop", "deployment/db", &["10.244.1.7", "10.244.1.8"]),
    ]);
    assert_eq!(shown(&peers, "10.244.1.7", 0), "|corp||external");
    assert_eq!(shown(&peers, "10.244.1.8", 0), "shop|deployment/db||node");
    peers.set_pods([pod("shop", "deployment/db", &["10.244.1.7"])]);
    assert_eq!(shown(&peers, "10.244.1.7", 0), "shop|deployment/db||node");
}

proptest! {
    #[test]
    fn names_from_elsewhere_are_bounded_and_never_those_of_another_address(
        updates in prop::collection::vec((any::<u16>(), 1u64..1_000), 1..200),
        now_ns in 0u64..1_000,
    ) {
        let mut peers = Peers::default();
        let at = |n: u16| IpAddr::from([172, 16, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
        let mut last = HashMap::new();
        for (n, until_ns) in &updates {
            let name = Some(named("", &format!("node/{n}"), ""));
            peers.update(PeerUpdate::Found { address: at(*n), name, until_ns: *until_ns }, 0);
            last.insert(*n, *until_ns);
        }
        prop_assert!(peers.found.len() <= MAX_FOUND);
        for (n, until_ns) in last {
            let peer = peers.name(Remote::Address(at(n)), now_ns);
            let wanted = if now_ns < until_ns { format!("node/{n}") } else { String::new() };
            prop_assert_eq!(&*peer.name.workload, wanted.as_str());
        }
    }

    #[test]
    fn every_address_has_one_answer_and_names_no_stranger(bytes in any::<[u8; 4]>(), now_ns: u64) {
        let peers = table();
        let remote = Remote::Address(bytes.into());
        let peer = peers.name(remote, now_ns);
        prop_assert_eq!(&peer, &peers.name(remote, now_ns));
        let known = ["deployment/api", "deployment/db", "node/a", "corp", ""];
        prop_assert!(known.contains(&&*peer.name.workload));
        if peer.name.namespace.as_ref() == "shop" {
            prop_assert!([[10, 244, 1, 7], [10, 244, 1, 8]].contains(&bytes));
        }
    }
}
