//! One injection of one size: what the log says, what the agent says, and
//! whether they agree. Pure.
//!
//! Separate from the rig that makes the requests, so that the verdict is tested
//! on numbers made up for it.

use std::time::Duration;

use agent_common::parts::{PARTS, Part};

use super::Nanoseconds;
use super::compare::{Difference, difference, mean};

/// From this size on little may be shown elsewhere.
const ELSEWHERE_FROM: Duration = Duration::from_millis(20);
/// How much, as a share of what was injected.
const ELSEWHERE: f64 = 0.05;

/// One request, matched.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Whether something was injected into it.
    pub is_touched: bool,
    /// By the log.
    pub truth: Nanoseconds,
    /// By the agent.
    pub seen: Nanoseconds,
    /// Who ran instead, by the agent.
    pub culprit: Option<String>,
}

/// What became of one part that was injected into.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Which.
    pub part: Part,
    /// Difference of means by the log, nanoseconds.
    pub truth_ns: f64,
    /// The same by the agent.
    pub seen: Difference,
    /// How far that can be from zero where nothing is injected.
    pub floor_ns: f64,
    /// Whether they agree.
    pub is_met: bool,
}

/// What became of one injection of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What was asked for.
    pub size: Duration,
    /// The parts that were injected into.
    pub found: Vec<Found>,
    /// Difference of means by the agent less that by the log, nanoseconds.
    pub off_ns: [f64; PARTS],
    /// Difference of means by the agent, nanoseconds.
    pub seen_ns: [f64; PARTS],
    /// What was shown in other parts.
    pub elsewhere_ns: f64,
    /// How far that can be from zero where nothing is injected.
    pub elsewhere_floor_ns: f64,
    /// Whether that is little enough, or the size too small to say.
    pub is_elsewhere_met: bool,
    /// Touched requests, matched.
    pub touched: usize,
    /// Requests that the agent did not show, or showed twice.
    pub unmatched: usize,
    /// Share of the touched requests that name the culprit, where there is one.
    pub named: Option<f64>,
}

impl Outcome {
    /// Sum of the truth over the parts.
    #[must_use]
    pub fn truth_ns(&self) -> f64 {
        self.found.iter().map(|found| found.truth_ns).sum()
    }

    /// Whether everything holds.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.unmatched == 0
            && self.is_elsewhere_met
            && self.found.iter().all(|found| found.is_met)
            && self.named.is_none_or(|share| share >= 0.9)
    }
}

/// Compares a run with an A/A run of the same kind, in which requests were
/// marked at random and none was touched. `None` where a group is empty.
#[must_use]
pub fn judge(
    size: Duration,
    injected: &[Part],
    culprit: Option<&str>,
    run: &[Sample],
    same: &[Sample],
    unmatched: usize,
) -> Option<Outcome> {
    let truth = |sample: &Sample, part: Part| of(&sample.truth, part);
    let seen = |sample: &Sample, part: Part| of(&sample.seen, part);
    let found = injected.iter().map(|part| {
        let truth_ns = by_group(run, |sample| truth(sample, *part), means_differ);
        let seen_ns = by_group(run, |sample| seen(sample, *part), difference)?;
        let floor_ns = by_group(same, |sample| seen(sample, *part), difference)?.reach();
        let is_met = truth_ns > 0.0 && seen_ns.meets(truth_ns, floor_ns);
        Some(Found { part: *part, truth_ns, seen: seen_ns, floor_ns, is_met })
    });
    let found = found.collect::<Option<Vec<_>>>()?;
    let off =
        |part: Part| by_group(run, |sample| seen(sample, part) - truth(sample, part), means_differ);
    let others = || Part::ALL.into_iter().filter(|part| !injected.contains(part));
    let elsewhere_ns: f64 = others().map(|part| off(part).max(0.0)).sum();
    let of_others = |sample: &Sample| {
        others().map(|part| seen(sample, part) - truth(sample, part)).sum::<f64>()
    };
    let elsewhere_floor_ns = by_group(same, of_others, difference)?.reach();
    let truth_ns: f64 = found.iter().map(|found| found.truth_ns).sum();
    let touched: Vec<_> = run.iter().filter(|sample| sample.is_touched).collect();
    let named = culprit.map(|name| {
        let count = touched.iter().filter(|it| it.culprit.as_deref() == Some(name)).count();
        count as f64 / touched.len() as f64
    });
    Some(Outcome {
        size,
        found,
        off_ns: Part::ALL.map(off),
        seen_ns: Part::ALL.map(|part| by_group(run, |sample| seen(sample, part), means_differ)),
        elsewhere_ns,
        elsewhere_floor_ns,
        is_elsewhere_met: size < ELSEWHERE_FROM
            || elsewhere_ns < truth_ns * ELSEWHERE + elsewhere_floor_ns,
        touched: touched.len(),
        unmatched,
        named,
    })
}

fn of(ns: &Nanoseconds, part: Part) -> f64 {
    ns.get(part as usize).copied().unwrap_or(0) as f64
}

fn means_differ(touched: &[f64], untouched: &[f64]) -> f64 {
    mean(touched) - mean(untouched)
}

fn by_group<T>(
    samples: &[Sample],
    value: impl Fn(&Sample) -> f64,
    compare: impl Fn(&[f64], &[f64]) -> T,
) -> T {
    let values = |is_touched| -> Vec<f64> {
        samples.iter().filter(|it| it.is_touched == is_touched).map(&value).collect()
    };
    compare(&values(true), &values(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Duration = Duration::from_millis(20);

    /// A hundred requests, each with this seen of what was injected, and the
    /// rest in another part.
    fn run(touched_lock_ns: u64, touched_other_ns: u64) -> Vec<Sample> {
        let one = |index: u64| {
            let (mut truth, mut seen) = ([0; PARTS], [0; PARTS]);
            let is_touched = index.is_multiple_of(2);
            seen[Part::Cpu as usize] = 50_000 + index;
            if is_touched {
                truth[Part::Lock as usize] = 20_000_000 + index;
                seen[Part::Lock as usize] = touched_lock_ns + index;
                seen[Part::Unknown as usize] = touched_other_ns;
            }
            Sample { is_touched, truth, seen, culprit: Some("batch-7".to_owned()) }
        };
        (0..100).map(one).collect()
    }

    fn judged(run: &[Sample]) -> Outcome {
        let same: Vec<_> = run
            .iter()
            .map(|sample| Sample { truth: [0; PARTS], seen: [7; PARTS], ..sample.clone() })
            .collect();
        judge(SIZE, &[Part::Lock], Some("batch-7"), run, &same, 0).unwrap()
    }

    #[test]
    fn what_is_shown_where_it_was_injected_is_met() {
        let outcome = judged(&run(19_500_000, 500_000));
        assert!(outcome.is_met(), "{outcome:?}");
        assert!((outcome.truth_ns() - 20e6).abs() < 1e3);
        assert_eq!((outcome.touched, outcome.named), (50, Some(1.0)));
    }

    #[test]
    fn too_little_too_much_or_elsewhere_is_a_miss() {
        assert!(!judged(&run(15_000_000, 0)).found[0].is_met);
        assert!(!judged(&run(25_000_000, 0)).found[0].is_met);
        let outcome = judged(&run(20_000_000, 2_000_000));
        assert!(outcome.found[0].is_met && !outcome.is_elsewhere_met && !outcome.is_met());
    }

    #[test]
    fn a_run_without_injection_is_no_success() {
        let run: Vec<_> =
            run(0, 0).into_iter().map(|sample| Sample { truth: [0; PARTS], ..sample }).collect();
        assert!(!judged(&run).is_met());
        assert_eq!(judge(SIZE, &[Part::Lock], None, &[], &[], 0), None);
    }
}
