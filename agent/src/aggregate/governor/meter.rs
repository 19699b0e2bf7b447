//! What strata uses: the agent's own CPU time, and the kernel programs' runs
//! times what a run takes, as a part of the node.
//!
//! Separate from the decision because measuring is where the doubt is. One run
//! in 1 024 is timed, so a single run that was interrupted for a millisecond
//! says as much as a million that were not: what a run takes is the median of
//! the last windows of timed runs, never a single one.

use agent_common::stats::TIMED_ONE_IN;

/// Timed runs of a window.
const WINDOW_RUNS: u64 = 32;
/// Windows that the median is taken of.
const WINDOWS: usize = 3;
/// What a run is taken to cost until a window is full, nanoseconds. Programs
/// that run so rarely cannot use up a budget: 32 Ki runs of this are 16 ms.
const ASSUMED_NS: u64 = 500;

/// What a program says of itself, all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Times that it ran.
    pub runs: u64,
    /// Times that it was timed.
    pub timed_runs: u64,
    /// What those took, nanoseconds.
    pub timed_ns: u64,
}

/// One program.
#[derive(Clone, Debug, Default)]
struct Program {
    seen: Runs,
    /// Where the open window began.
    window: Runs,
    /// Means of the last windows, nanoseconds; the first `filled` have meaning.
    means_ns: [u64; WINDOWS],
    filled: usize,
    next: usize,
}

impl Program {
    /// Time of the runs since the last call, nanoseconds.
    fn advance(&mut self, now: Runs) -> u64 {
        let timed = now.timed_runs.saturating_sub(self.window.timed_runs);
        if timed >= WINDOW_RUNS {
            let mean = now.timed_ns.saturating_sub(self.window.timed_ns) / timed;
            if let Some(slot) = self.means_ns.get_mut(self.next) {
                *slot = mean;
            }
            self.next = (self.next + 1) % WINDOWS;
            self.filled = (self.filled + 1).min(WINDOWS);
            self.window = now;
        }
        let runs = now.runs.saturating_sub(self.seen.runs);
        self.seen = now;
        runs.saturating_mul(self.run_ns())
    }

    /// What a run takes: of an even number of windows the lower middle one.
    fn run_ns(&self) -> u64 {
        let mut means = self.means_ns;
        let means = means.get_mut(..self.filled).unwrap_or_default();
        means.sort_unstable();
        let middle = means.len().saturating_sub(1) / 2;
        means.get(middle).copied().unwrap_or(ASSUMED_NS)
    }
}

/// Measures from one call to the next.
#[derive(Clone, Debug)]
pub struct Meter {
    cpus: u32,
    programs: Vec<Program>,
    /// Clock and own CPU time of the last call, nanoseconds.
    last: Option<(u64, u64)>,
    used: f64,
}

impl Meter {
    /// A meter of a node with so many CPUs.
    #[must_use]
    pub fn new(cpus: u32) -> Self {
        Self { cpus: cpus.max(1), programs: Vec::new(), last: None, used: 0.0 }
    }

    /// What was used between the last two calls, as a part of the node.
    #[must_use]
    pub const fn used(&self) -> f64 {
        self.used
    }

    /// Measures: the time now and the agent's own CPU time, nanoseconds, and
    /// what each program says, always in the same order. `None` at the first
    /// call, and if no time has passed.
    pub fn measure(
        &mut self,
        now_ns: u64,
        own_cpu_ns: u64,
        programs: impl IntoIterator<Item = Runs>,
    ) -> Option<f64> {
        let mut programs_ns: u64 = 0;
        for (i, runs) in programs.into_iter().enumerate() {
            if i >= self.programs.len() {
                self.programs.push(Program::default());
            }
            let took_ns = self.programs.get_mut(i).map_or(0, |program| program.advance(runs));
            programs_ns = programs_ns.saturating_add(took_ns);
        }
        let (last_ns, last_cpu_ns) = self.last.replace((now_ns, own_cpu_ns))?;
        let elapsed_ns = now_ns.checked_sub(last_ns).filter(|ns| *ns > 0)?;
        let own_ns = own_cpu_ns.saturating_sub(last_cpu_ns);
        let used_ns = own_ns.saturating_add(programs_ns) as f64;
        self.used = used_ns / (elapsed_ns as f64 * f64::from(self.cpus));
        Some(self.used)
    }
}

// A window is a few seconds of a program that matters: at 32 Ki runs a second
// of half a microsecond each, which is 1.6 % of a CPU, it is one second.
const _: () = assert!(WINDOW_RUNS * TIMED_ONE_IN == 32 * 1024);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// A program that runs evenly, second by second.
    fn even(second: u64, runs_a_second: u64, run_ns: u64) -> Runs {
        let runs = second * runs_a_second;
        let timed_runs = runs / TIMED_ONE_IN;
        Runs { runs, timed_runs, timed_ns: timed_runs * run_ns }
    }

    #[test]
    fn own_time_and_the_programs_add_up_to_a_part_of_the_node() {
        let mut meter = Meter::new(2);
        assert_eq!(meter.measure(0, 0, [even(0, 100_000, 1_000)]), None);
        for second in 1..5 {
            let used = meter
                .measure(second * SECOND_NS, second * 10_000_000, [even(second, 100_000, 1_000)])
                .unwrap();
            // 10 ms of its own and 100 000 runs of 1 us, of two CPUs.
            assert!((used - 0.055).abs() < 1e-9, "{used}");
        }
    }

    #[test]
    fn a_few_runs_are_assumed_and_not_extrapolated_from_one() {
        let mut meter = Meter::new(1);
        meter.measure(0, 0, [Runs::default()]);
        // One timed run, which was interrupted for 4 ms.
        let runs = Runs { runs: 2_000, timed_runs: 1, timed_ns: 4_000_000 };
        assert_eq!(meter.measure(SECOND_NS, 0, [runs]), Some(0.001));
    }

    #[test]
    fn one_window_with_an_interrupted_run_is_outvoted() {
        let mut meter = Meter::new(1);
        let mut most: f64 = 0.0;
        for second in 0..60 {
            let mut runs = even(second, 40_000, 250);
            if second >= 30 {
                runs.timed_ns += 4_000_000;
            }
            most = most.max(meter.measure(second * SECOND_NS, 0, [runs]).unwrap_or(0.0));
        }
        assert!((most - 0.01).abs() < 0.0002, "{most}");
    }

    #[test]
    fn a_lasting_change_is_followed() {
        let mut meter = Meter::new(1);
        let mut used = 0.0;
        let mut timed_ns = 0;
        for second in 0..20 {
            let mut runs = even(second, 100_000, 0);
            timed_ns += 97 * if second < 10 { 200 } else { 2_000 };
            runs.timed_ns = timed_ns;
            used = meter.measure(second * SECOND_NS, 0, [runs]).unwrap_or(0.0);
        }
        assert!((0.19..0.21).contains(&used), "{used}");
    }

    #[test]
    fn clocks_that_stand_still_or_run_back_measure_nothing() {
        let mut meter = Meter::new(1);
        meter.measure(5, 5, []);
        assert_eq!(meter.measure(5, 9, []), None);
        assert_eq!(meter.measure(3, 9, []), None);
        assert_eq!(meter.used(), 0.0);
    }

    proptest! {
        #[test]
        fn whatever_is_read_the_use_is_a_number_and_not_negative(
            reads in prop::collection::vec(any::<(u64, u64, [u64; 3])>(), 1..50),
        ) {
            let mut meter = Meter::new(4);
            for (now_ns, cpu_ns, [runs, timed_runs, timed_ns]) in reads {
                meter.measure(now_ns, cpu_ns, [Runs { runs, timed_runs, timed_ns }]);
                prop_assert!(meter.used().is_finite() && meter.used() >= 0.0);
            }
        }
    }
}
