//! What the governor promises, for any use over time.
//!
//! Separate because these are laws over long sequences, not cases.

use proptest::prelude::*;

use super::*;

const ALL: Sheddable = Sheddable { syscalls: true, requests: true, cpu: true };

/// The states after each change, with the second of the change.
fn run(used: impl IntoIterator<Item = f64>, sheddable: Sheddable) -> Vec<(u32, Change, Shed)> {
    let mut governor = Governor::new(true, 0.01);
    let mut changes = Vec::new();
    for (second, used) in used.into_iter().enumerate() {
        if let Some(change) = governor.observe(used, sheddable) {
            changes.push((second as u32, change, governor.shed()));
        }
    }
    changes
}

#[test]
fn under_lasting_pressure_everything_goes_in_order_and_then_nothing_more() {
    let changes = run([0.02; 100], ALL);
    let shed: Vec<_> = changes.iter().map(|(_, _, shed)| *shed).collect();
    let mut expected = vec![Shed { syscalls: true, sample_shift: 0, cpu: false }];
    expected.extend((1..=6).map(|sample_shift| Shed { syscalls: true, sample_shift, cpu: false }));
    expected.push(Shed { syscalls: true, sample_shift: 6, cpu: true });
    assert_eq!(shed, expected);
    assert_eq!(changes[0].0, OVER_SECONDS - 1);
}

#[test]
fn what_is_not_there_is_passed_over_both_ways() {
    let sheddable = Sheddable { syscalls: false, requests: false, cpu: true };
    let used = std::iter::repeat_n(0.02, 3).chain(std::iter::repeat_n(0.0, 40));
    let changes = run(used, sheddable);
    assert_eq!(changes.len(), 2);
    assert!(changes[0].2.cpu);
    assert_eq!(changes[1].2, Shed::default());
    let nothing = Sheddable { syscalls: false, requests: false, cpu: false };
    assert_eq!(run([1.0; 50], nothing), []);
}

#[test]
fn a_burst_shorter_than_three_seconds_sheds_nothing() {
    let used = [0.5, 0.5, 0.0].into_iter().cycle().take(300);
    assert_eq!(run(used, ALL), []);
}

#[test]
fn between_quiet_and_budget_everything_stays_as_it_is() {
    let used = std::iter::repeat_n(0.02, 3).chain(std::iter::repeat_n(0.008, 1000));
    assert_eq!(run(used, ALL).len(), 1);
}

#[test]
fn a_step_that_has_to_go_again_comes_back_later_each_time() {
    // Over the budget with the syscalls lane, quiet without.
    let mut governor = Governor::new(true, 0.01);
    let mut restored = Vec::new();
    for second in 0..4000_u32 {
        let used = if governor.shed().syscalls { 0.001 } else { 0.02 };
        if governor.observe(used, ALL) == Some(Change::Restored) {
            restored.push(second);
        }
    }
    let pauses: Vec<u32> = restored.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert_eq!(pauses.first(), Some(&(2 * QUIET_SECONDS + OVER_SECONDS)));
    assert_eq!(pauses.last(), Some(&(MAX_QUIET_SECONDS + OVER_SECONDS)));
}

#[test]
fn switched_off_it_sheds_nothing_and_gives_everything_back() {
    let mut governor = Governor::new(true, 0.01);
    for _ in 0..10 {
        governor.observe(1.0, ALL);
    }
    assert_ne!(governor.shed(), Shed::default());
    governor.configure(false, 0.01);
    assert_eq!((governor.state(), governor.shed()), (State::Off, Shed::default()));
    assert_eq!(governor.observe(1.0, ALL), None);
    governor.configure(true, 0.01);
    assert_eq!(governor.state(), State::Normal);
}

#[test]
fn a_use_that_is_no_number_changes_nothing() {
    assert_eq!(run([f64::NAN; 1000], ALL), []);
}

fn sheddable() -> impl Strategy<Value = Sheddable> {
    any::<[bool; 3]>().prop_map(|[syscalls, requests, cpu]| Sheddable { syscalls, requests, cpu })
}

/// Stretches of equal use, as real load comes.
fn use_over_time() -> impl Strategy<Value = Vec<f64>> {
    let stretch = (prop_oneof![0.0..0.006, 0.006..0.01, 0.01..1.0], 1..90_usize);
    prop::collection::vec(stretch, 1..40).prop_map(|stretches| {
        stretches.into_iter().flat_map(|(used, count)| std::iter::repeat_n(used, count)).collect()
    })
}

proptest! {
    #[test]
    fn changes_are_never_closer_than_the_hysteresis(used in use_over_time(), sheddable in sheddable()) {
        let mut last: Option<u32> = None;
        for (second, change, _) in run(used, sheddable) {
            let wait = match change {
                Change::Shed => OVER_SECONDS,
                Change::Restored => QUIET_SECONDS,
            };
            prop_assert!(second + 1 - last.map_or(0, |last| last + 1) >= wait);
            last = Some(second);
        }
    }

    #[test]
    fn the_order_is_kept_one_step_at_a_time(used in use_over_time(), sheddable in sheddable()) {
        let weight = |shed: Shed| {
            u32::from(shed.syscalls) + shed.sample_shift + u32::from(shed.cpu)
        };
        let mut before = Shed::default();
        for (_, change, shed) in run(used, sheddable) {
            prop_assert!(shed.sample_shift <= MAX_SAMPLE_SHIFT);
            prop_assert!(!shed.cpu || shed.sample_shift == MAX_SAMPLE_SHIFT);
            prop_assert!(shed.sample_shift == 0 || shed.syscalls);
            match change {
                Change::Shed => prop_assert!(weight(shed) > weight(before)),
                Change::Restored => prop_assert!(weight(shed) < weight(before)),
            }
            if sheddable == ALL {
                prop_assert_eq!(weight(shed).abs_diff(weight(before)), 1);
            }
            before = shed;
        }
    }

    #[test]
    fn when_it_gets_quiet_everything_comes_back(used in use_over_time(), sheddable in sheddable()) {
        let mut governor = Governor::new(true, 0.01);
        for used in used {
            governor.observe(used, sheddable);
        }
        for _ in 0..u32::from(RUNGS) * MAX_QUIET_SECONDS {
            governor.observe(0.0, sheddable);
        }
        prop_assert_eq!(governor.state(), State::Normal);
    }
}
