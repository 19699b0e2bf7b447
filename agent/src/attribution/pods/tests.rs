//! What the store keeps and finds; and pods for other tests.

use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

use super::*;

/// A second, nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// The `n`th uid.
pub(in crate::attribution) fn uid(n: u64) -> PodUid {
    PodUid::parse(&format!("cb2635a6-d721-417d-9ff1-{n:012x}")).unwrap()
}

/// The `n`th container id.
pub(in crate::attribution) fn id(n: u64) -> ContainerId {
    ContainerId::parse(&format!("{n:064x}")).unwrap()
}

/// A pod with these containers; 0 is for one that has not started.
pub(in crate::attribution) fn pod(n: u64, name: &str, containers: &[(&str, u64)]) -> Pod {
    let container = |(name, n): &(&str, u64)| Container {
        name: (*name).into(),
        ids: (*n != 0).then(|| id(*n)).into_iter().collect(),
    };
    Pod {
        uid: Some(uid(n)),
        namespace: "shop".into(),
        name: name.into(),
        containers: containers.iter().map(container).collect(),
        ..Pod::default()
    }
}

/// All pods.
pub(in crate::attribution) fn all(pods: impl IntoIterator<Item = Pod>) -> PodUpdate {
    PodUpdate::All { pods: pods.into_iter().collect(), left_out: 0, label_keys: Arc::default() }
}

/// A pod that came or changed.
pub(in crate::attribution) fn applied(pod: Pod) -> PodUpdate {
    PodUpdate::Applied(Box::new(pod))
}

fn name(pods: &Pods, pod: &PodUid, container: u64) -> Option<String> {
    Some(pods.get(pod)?.container(&id(container))?.name.to_string())
}

#[test]
fn a_container_is_found_by_uid_and_id_whatever_kind_it_is() {
    let mut pods = Pods::default();
    pods.update(all([pod(1, "api-1", &[("migrate", 1), ("api", 2), ("debugger", 3)])]), 0);
    for (container, expected) in [(1, "migrate"), (2, "api"), (3, "debugger")] {
        assert_eq!(name(&pods, &uid(1), container).as_deref(), Some(expected));
    }
    assert_eq!(name(&pods, &uid(1), 4), None);
    assert_eq!(name(&pods, &uid(2), 2), None);
}

#[test]
fn a_container_that_was_started_again_is_found_by_both_ids() {
    let mut pods = Pods::default();
    pods.update(applied(pod(1, "api-1", &[("api", 1)])), 0);
    for restart in 2..8 {
        pods.update(applied(pod(1, "api-1", &[("api", restart)])), 0);
        assert_eq!(name(&pods, &uid(1), restart).as_deref(), Some("api"));
        assert_eq!(name(&pods, &uid(1), restart - 1).as_deref(), Some("api"));
    }
    assert_eq!(name(&pods, &uid(1), 1), None, "ids are bounded");
}

#[test]
fn a_static_pod_is_found_by_the_hash_that_its_cgroup_bears() {
    let hash = PodUid::parse(&"8d2c".repeat(8)).unwrap();
    let mirror = Pod { config_hash: Some(hash.clone()), ..pod(1, "etcd-n1", &[("etcd", 1)]) };
    let mut pods = Pods::default();
    pods.update(applied(mirror), 0);
    assert_eq!(name(&pods, &hash, 1).as_deref(), Some("etcd"));
    pods.update(PodUpdate::Gone(uid(1)), 0);
    assert!(pods.forget(1_000 * SECOND));
    assert_eq!(name(&pods, &hash, 1), None);
}

#[test]
fn a_pod_that_is_gone_is_known_until_its_last_counts_were_shown() {
    let mut pods = Pods::default();
    pods.update(all([pod(1, "a", &[("c", 1)]), pod(2, "b", &[("c", 2)])]), 0);
    pods.update(PodUpdate::Gone(uid(1)), SECOND);
    assert_eq!((pods.count(), pods.get(&uid(1)).is_some()), (1, true));
    // A list without it says the same.
    pods.update(all([]), 2 * SECOND);
    assert_eq!((pods.count(), pods.get(&uid(2)).is_some()), (0, true));
    assert!(!pods.forget(100 * SECOND));
    assert!(pods.forget(121 * SECOND));
    assert!(pods.get(&uid(1)).is_none() && pods.get(&uid(2)).is_some());
    // It was only away.
    pods.update(applied(pod(2, "b", &[("c", 2)])), 121 * SECOND);
    assert!(!pods.forget(1_000 * SECOND));
    assert_eq!(pods.count(), 1);
}

#[test]
fn two_pods_of_one_name_are_two() {
    let mut pods = Pods::default();
    pods.update(applied(pod(1, "db-0", &[("db", 1)])), 0);
    pods.update(PodUpdate::Gone(uid(1)), 0);
    pods.update(applied(pod(2, "db-0", &[("db", 2)])), 0);
    assert_eq!(name(&pods, &uid(1), 1).as_deref(), Some("db"));
    assert_eq!(name(&pods, &uid(2), 2).as_deref(), Some("db"));
    assert_eq!(name(&pods, &uid(2), 1), None);
}

#[test]
fn pods_beyond_the_bound_are_counted_and_those_that_are_gone_make_room() {
    let mut pods = Pods::default();
    pods.update(all((0..MAX_PODS as u64 + 3).map(|n| pod(n, "p", &[]))), 0);
    assert_eq!((pods.count(), pods.left_out()), (MAX_PODS, 3));
    pods.update(PodUpdate::Gone(uid(7)), 0);
    pods.update(applied(pod(9_999, "new", &[])), 0);
    assert_eq!((pods.count(), pods.left_out()), (MAX_PODS, 3));
    assert!(pods.get(&uid(7)).is_none() && pods.get(&uid(9_999)).is_some());
}

proptest! {
    /// Whatever is told in whatever order, what is known is the last word.
    #[test]
    fn the_last_word_on_a_pod_holds(told in proptest::collection::vec((0_u64..6, any::<bool>()).prop_map(|told| told), 0..60)) {
        let mut pods = Pods::default();
        for (at, (n, is_there)) in told.iter().enumerate() {
            let update = if *is_there { applied(pod(*n, &format!("p-{at}"), &[])) } else { PodUpdate::Gone(uid(*n)) };
            pods.update(update, 0);
        }
        let last = |n: u64| told.iter().enumerate().rev().find(|(_, (of, _))| *of == n);
        let there = (0..6).filter(|n| last(*n).is_some_and(|(_, (_, is_there))| *is_there));
        prop_assert_eq!(pods.count(), there.clone().count());
        for n in there {
            let (at, _) = last(n).unwrap();
            let known = pods.get(&uid(n)).unwrap().pod.name.to_string();
            prop_assert_eq!(known, format!("p-{at}"));
        }
    }
}
