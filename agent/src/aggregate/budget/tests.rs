//! Sums that are never exceeded, whatever is asked for.

use proptest::prelude::*;

use super::*;
use crate::metrics::all;

fn budget(max: u32) -> Budget {
    Budget::new(&NodeBudget::new(1_000_000), max).unwrap()
}

#[test]
fn every_metric_of_a_workload_is_in_the_plan() {
    // Those that are granted together with another of their group.
    let together = [
        "strata_syscalls",
        "strata_tcp_jitter_seconds",
        "strata_tcp_segments_sent",
        "strata_tcp_retransmits",
        "strata_request_part_seconds",
        "strata_slow_request_part_seconds",
        "strata_slow_requests",
        "strata_request_part_confidence_seconds",
        "strata_edge_jitter_seconds",
        "strata_edge_segments_sent",
        "strata_edge_retransmits",
        "strata_edge_connect_seconds",
        "strata_edge_zero_window_seconds",
    ];
    for metric in all().filter(|metric| metric.has_identity) {
        let is_planned = FIXED.iter().any(|(fixed, _)| std::ptr::eq(*fixed, metric))
            || FOLDABLE.iter().any(|foldable| std::ptr::eq(*foldable, metric))
            || together.contains(&metric.name);
        assert!(is_planned, "{}", metric.name);
    }
}

#[test]
fn the_default_has_room_for_everything_and_three_sets_of_requests() {
    let mut budget = budget(CONTAINER_BUDGET);
    assert!(FIXED.iter().all(|(metric, _)| budget.has(metric)));
    // As greedy as others may be.
    while budget.grant(Group::Network, SCOPE_SET) {}
    while budget.grant(Group::Syscalls, CLASS_SET) {}
    while budget.grant(Group::Network, 1) {}
    while budget.grant(Group::Edges, EDGE_SET) {}
    while budget.grant(Group::Calls, OTHER_CALL_SET) {}
    while budget.grant(Group::Culprits, 1) {}
    assert!(budget.grant_requests(true));
    let sets = std::iter::repeat_with(|| budget.grant_requests(false));
    assert_eq!(sets.take_while(|granted| *granted).count(), 1);
    for group in [Group::Network, Group::Syscalls, Group::Tail, Group::Culprits] {
        assert!(budget.grant_fold(group, group.fold()), "{group:?}");
    }
    assert!(budget.grant_fold(Group::Requests, REQUEST_SET), "its parts are there");
    assert!((CONTAINER_BUDGET - 1..=CONTAINER_BUDGET).contains(&budget.used()));
}

#[test]
fn error_numbers_are_folded_before_anything_else() {
    let mut budget = budget(CONTAINER_BUDGET);
    while budget.grant_errno() {}
    assert!(budget.grant(Group::Network, SCOPE_SET));
    assert!(!budget.grant_errno());
}

#[test]
fn the_smallest_budget_keeps_the_books() {
    let mut budget = budget(10);
    assert!(budget.has(&REQUESTS) && !budget.has(&RUNQUEUE_LATENCY));
    assert!(!budget.grant(Group::Requests, REQUEST_SET));
    assert!(budget.used() <= 10);
}

#[test]
fn who_was_there_first_stays_and_gives_back_at_the_end() {
    let node = NodeBudget::new(250);
    let first = Budget::new(&node, 120).unwrap();
    let second = Budget::new(&node, 120).unwrap();
    assert!(Budget::new(&node, 120).is_none());
    drop(first);
    assert!(Budget::new(&node, 120).is_some());
    drop(second);
    assert_eq!(node.left.get(), 250);
}

/// What a container may ask for: an error number, what is folded into, the
/// first set of requests, or a set of labels.
fn ask(budget: &mut Budget, what: u8, has_folded: &mut [bool; Group::ALL.len()]) {
    let group = Group::ALL[usize::from(what) % Group::ALL.len()];
    match what / Group::ALL.len() as u8 {
        0 => drop(budget.grant_errno()),
        1 if !has_folded[group as usize] => {
            has_folded[group as usize] = true;
            budget.grant_fold(group, group.set());
        }
        2 => drop(budget.grant(group, 1)),
        3 => drop(budget.grant_requests(true)),
        _ => drop(budget.grant(group, group.set())),
    }
}

proptest! {
    #[test]
    fn no_sum_is_ever_exceeded(
        per_container in 10..400_u32,
        per_node in 100..2_000_u32,
        asks in prop::collection::vec((0..20_usize, 0..35_u8), 0..400),
    ) {
        let node = NodeBudget::new(per_node);
        let mut containers: Vec<Option<(Budget, [bool; Group::ALL.len()])>> = Vec::new();
        for (container, what) in asks {
            if container >= containers.len() {
                containers.push(Budget::new(&node, per_container).map(|budget| (budget, [false; Group::ALL.len()])));
            } else if let Some((budget, has_folded)) = &mut containers[container] {
                ask(budget, what, has_folded);
            }
            let used = containers.iter().flatten().map(|(budget, _)| budget.used());
            prop_assert!(used.clone().all(|used| used <= per_container));
            prop_assert!(used.sum::<u32>() <= per_node);
        }
        // What others are folded into is there whenever it was reserved.
        for (mut budget, has_folded) in containers.into_iter().flatten() {
            for group in Group::ALL {
                let fold = budget.groups[group as usize].fold;
                if !has_folded[group as usize] && fold > 0 {
                    prop_assert!(budget.grant_fold(group, fold));
                }
            }
            prop_assert!(budget.used() <= per_container);
        }
        prop_assert_eq!(node.left.get(), per_node);
    }
}
