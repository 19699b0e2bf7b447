//! The directory: who has an address, that nobody has another's, and that its
//! changes are all told.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pod(uid: u128, workload: &str, node: &str, addresses: &[&str]) -> Holder {
    Holder {
        kind: HolderKind::Pod,
        uid,
        namespace: "shop".to_owned(),
        workload: workload.to_owned(),
        node: node.to_owned(),
        zone: String::new(),
        addresses: addresses.iter().map(|text| address(text)).collect(),
    }
}

fn node(uid: u128, name: &str, zone: &str, addresses: &[&str]) -> Holder {
    Holder {
        kind: HolderKind::Node,
        namespace: String::new(),
        workload: format!("node/{name}"),
        zone: zone.to_owned(),
        ..pod(uid, "", name, addresses)
    }
}

fn service(uid: u128, name: &str, addresses: &[&str]) -> Holder {
    let workload = format!("service/{name}");
    Holder { kind: HolderKind::Service, ..pod(uid, &workload, "", addresses) }
}

fn list(directory: &mut Directory, kind: HolderKind, holders: &[Holder], now_ns: u64) {
    directory.update(HolderUpdate::Begin(kind), now_ns);
    for holder in holders {
        directory.update(HolderUpdate::Is(holder.clone()), now_ns);
    }
    directory.update(HolderUpdate::End(kind), now_ns);
}

fn shown(directory: &Directory, text: &str, now_ns: u64) -> String {
    directory.find(address(text), now_ns).map_or("-".to_owned(), |name| {
        let PeerName { namespace, workload, zone } = name;
        format!("{namespace}|{workload}|{zone}")
    })
}

fn cluster() -> Directory {
    let mut directory = Directory::default();
    assert!(!directory.is_listed());
    list(
        &mut directory,
        HolderKind::Pod,
        &[
            pod(1, "deployment/api", "n1", &["10.1.0.1", "fd00::1"]),
            pod(2, "deployment/db", "n2", &["10.1.0.2"]),
        ],
        0,
    );
    list(&mut directory, HolderKind::Service, &[service(11, "api", &["10.96.0.1"])], 0);
    list(
        &mut directory,
        HolderKind::Node,
        &[node(21, "n1", "a", &["192.168.0.1"]), node(22, "n2", "b", &["192.168.0.2"])],
        0,
    );
    assert!(directory.is_listed());
    directory
}

#[test]
fn pods_services_and_nodes_have_their_names_with_the_nodes_zones() {
    let directory = cluster();
    for (text, expected) in [
        ("10.1.0.1", "shop|deployment/api|a"),
        ("fd00::1", "shop|deployment/api|a"),
        ("10.1.0.2", "shop|deployment/db|b"),
        ("10.96.0.1", "shop|service/api|"),
        ("192.168.0.2", "|node/n2|b"),
        ("10.1.0.9", "-"),
    ] {
        assert_eq!(shown(&directory, text, 0), expected, "{text}");
    }
    assert_eq!(&*directory.zone("n1"), "a");
    assert!(
        directory.is_on(address("10.1.0.1"), "n1") && !directory.is_on(address("10.1.0.1"), "")
    );
    assert_eq!(HolderKind::ALL.map(|kind| directory.count(kind)), [2, 1, 2]);
    assert_eq!(directory.addresses(), 6);
}

#[test]
fn an_address_that_goes_to_another_names_nobody_for_a_while() {
    let mut directory = cluster();
    let before = directory.revision();
    // It is ending: its address may be another's at any moment.
    directory.update(HolderUpdate::Is(pod(1, "deployment/api", "n1", &[])), SECOND);
    assert_eq!(shown(&directory, "10.1.0.1", SECOND), "-");
    let mut changed = directory.changed_since(before, 9).unwrap();
    changed.sort();
    assert_eq!(changed, [address("10.1.0.1"), address("fd00::1")]);
    directory.update(HolderUpdate::Is(pod(3, "deployment/cart", "n1", &["10.1.0.1"])), 2 * SECOND);
    assert_eq!(shown(&directory, "10.1.0.1", 30 * SECOND), "-");
    assert_eq!(shown(&directory, "10.1.0.1", 31 * SECOND), "shop|deployment/cart|a");
    // Its own again: there is no doubt.
    directory.update(HolderUpdate::Gone(2), 40 * SECOND);
    directory.update(HolderUpdate::Is(pod(4, "deployment/db", "n2", &["10.1.0.2"])), 41 * SECOND);
    assert_eq!(shown(&directory, "10.1.0.2", 41 * SECOND), "shop|deployment/db|b");
    // But not if a third had it in between.
    directory.update(HolderUpdate::Gone(4), 42 * SECOND);
    directory.update(HolderUpdate::Is(pod(5, "deployment/cart", "n2", &["10.1.0.2"])), 43 * SECOND);
    directory.update(HolderUpdate::Gone(5), 44 * SECOND);
    directory.update(HolderUpdate::Is(pod(6, "deployment/db", "n2", &["10.1.0.2"])), 45 * SECOND);
    assert_eq!(shown(&directory, "10.1.0.2", 73 * SECOND), "-");
    assert_eq!(shown(&directory, "10.1.0.2", 74 * SECOND), "shop|deployment/db|b");
    directory.update(HolderUpdate::Gone(99), 80 * SECOND);
    assert_eq!(directory.quarantined(), 0);
}

#[test]
fn an_address_that_two_have_names_neither_unless_they_agree() {
    let mut directory = cluster();
    directory.update(HolderUpdate::Is(pod(3, "deployment/db", "n2", &["10.1.0.2"])), 0);
    assert_eq!(shown(&directory, "10.1.0.2", 0), "shop|deployment/db|b");
    directory.update(HolderUpdate::Is(pod(4, "deployment/x", "n2", &["10.1.0.2"])), 0);
    assert_eq!(shown(&directory, "10.1.0.2", 0), "-");
    directory.update(HolderUpdate::Is(service(12, "x", &["10.1.0.1"])), 0);
    assert_eq!(shown(&directory, "10.1.0.1", 0), "-");
}

#[test]
fn who_is_not_in_the_next_list_is_gone() {
    let mut directory = cluster();
    let before = directory.revision();
    list(&mut directory, HolderKind::Pod, &[pod(2, "deployment/db", "n2", &["10.1.0.2"])], SECOND);
    assert_eq!(shown(&directory, "10.1.0.1", SECOND), "-");
    assert_eq!(shown(&directory, "10.1.0.2", SECOND), "shop|deployment/db|b");
    assert_eq!(shown(&directory, "10.96.0.1", SECOND), "shop|service/api|", "of another kind");
    assert_eq!(directory.changed_since(before, 9).unwrap().len(), 2);
    assert_eq!(directory.count(HolderKind::Pod), 1);
}

#[test]
fn another_zone_is_another_name_at_once() {
    let mut directory = cluster();
    let before = directory.revision();
    directory.update(HolderUpdate::Is(node(21, "n1", "c", &["192.168.0.1"])), 0);
    assert_eq!(shown(&directory, "10.1.0.1", 0), "shop|deployment/api|c");
    assert_eq!(shown(&directory, "192.168.0.1", 0), "|node/n1|c");
    assert_eq!(directory.changed_since(before, 9).unwrap().len(), 3);
    // Made anew under its name before the old one is known to be gone.
    directory.update(HolderUpdate::Is(node(31, "n1", "d", &["192.168.0.1"])), 0);
    directory.update(HolderUpdate::Gone(21), 0);
    assert_eq!(shown(&directory, "10.1.0.1", 0), "shop|deployment/api|d");
    directory.update(HolderUpdate::Gone(31), 0);
    assert_eq!(shown(&directory, "10.1.0.1", 0), "shop|deployment/api|");
}

proptest! {
    /// Whoever keeps what was told, and forgets what is told to have changed, has
    /// what the directory has.
    #[test]
    fn every_change_of_a_name_is_told(
        steps in prop::collection::vec((0u128..6, 0u8..4, 0u8..3, 0u64..40), 1..80),
    ) {
        let mut directory = cluster();
        let (mut seen, mut now_ns) = (directory.revision(), 0);
        let mut kept: HashMap<IpAddr, PeerName> = HashMap::new();
        let all: Vec<IpAddr> = (0..4).map(|n| IpAddr::from([10, 2, 0, n])).collect();
        for (uid, at, workload, seconds) in steps {
            now_ns += seconds * SECOND;
            let text = format!("10.2.0.{at}");
            let addresses: &[&str] = if workload == 2 { &[] } else { &[&text] };
            let name = ["deployment/a", "deployment/b", ""][usize::from(workload)];
            directory.update(HolderUpdate::Is(pod(100 + uid, name, "n1", addresses)), now_ns);
            for changed in directory.changed_since(seen, 1_000).unwrap() {
                kept.remove(&changed);
            }
            seen = directory.revision();
            for address in &all {
                let found = directory.find(*address, now_ns);
                if let Some(name) = kept.get(address) {
                    prop_assert_eq!(found.as_ref(), Some(name));
                }
                if let Some(name) = found {
                    kept.insert(*address, name);
                }
            }
            let pods = directory.holders.values().filter(|held| held.kind == HolderKind::Pod);
            prop_assert_eq!(pods.count(), directory.count(HolderKind::Pod));
        }
    }

    /// No name is told for what was counted while another had the address, as
    /// late as 20 s after.
    #[test]
    fn nobody_is_told_within_twenty_seconds_of_another(
        steps in prop::collection::vec((0u128..3, any::<bool>(), 0u64..25), 1..80),
    ) {
        let mut directory = cluster();
        let mut now_ns = 0;
        // When each name last had the address, as far as the API server knew.
        let mut had: HashMap<String, u64> = HashMap::new();
        let mut holders: HashSet<u128> = HashSet::new();
        for (uid, is_there, seconds) in steps {
            for _ in 0..seconds {
                now_ns += SECOND;
                for uid in &holders {
                    had.insert(format!("deployment/{uid}"), now_ns);
                }
            }
            let addresses: &[&str] = if is_there { &["10.2.0.1"] } else { &[] };
            let name = format!("deployment/{uid}");
            directory.update(HolderUpdate::Is(pod(100 + uid, &name, "n1", addresses)), now_ns);
            if is_there { holders.insert(uid); } else { holders.remove(&uid); }
            let Some(found) = directory.find(address("10.2.0.1"), now_ns) else { continue };
            prop_assert!(holders.len() == 1);
            for (name, last_ns) in &had {
                prop_assert!(
                    **name == *found.workload || now_ns - last_ns >= 20 * SECOND,
                    "{name} had it {} s ago, and it is {}", (now_ns - last_ns) / SECOND, found.workload
                );
            }
        }
    }
}
