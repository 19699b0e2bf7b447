//! Who ran on a CPU lately: a few long runs of it, to name who had it while
//! another waited.
//!
//! Separate because it is of a CPU, whoever ran, and not of a watched thread.

/// Runs that are kept of a CPU: with the kernel's slices of some 3 ms they reach
/// back over most waits.
pub const RUNS: usize = 8;

/// A run is kept from here on, nanoseconds: a fifth of the shortest wait whose
/// culprit is named.
pub const LONG_RUN_NS: u64 = super::CULPRIT_NS / 5;

/// One run: a thread's time on the CPU between two switches.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongRun {
    /// When it ended; 0 if there was none.
    pub ended_ns: u64,
    /// How long it was.
    pub ran_ns: u64,
    /// The thread's name.
    pub comm: [u8; 16],
    /// Its process.
    pub tgid: u32,
    /// Zero.
    pub _pad: u32,
}

impl LongRun {
    /// None.
    pub const NONE: Self = Self { ended_ns: 0, ran_ns: 0, comm: [0; 16], tgid: 0, _pad: 0 };

    /// How much of the time from `from_ns` to `to_ns` it took.
    #[inline(always)]
    #[must_use]
    pub const fn within(&self, from_ns: u64, to_ns: u64) -> u64 {
        let began_ns = self.ended_ns.saturating_sub(self.ran_ns);
        let from_ns = if began_ns > from_ns { began_ns } else { from_ns };
        let to_ns = if self.ended_ns < to_ns { self.ended_ns } else { to_ns };
        to_ns.saturating_sub(from_ns)
    }
}

/// The last long runs of a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Runs {
    /// In no order of use to anybody but [`Runs::room`].
    pub runs: [LongRun; RUNS],
    /// Where the next goes, and the oldest is.
    pub next: u64,
}

impl Runs {
    /// Of a CPU of which nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self { runs: [LongRun::NONE; RUNS], next: 0 }
    }

    /// Room for the run that is over, in place of the oldest.
    #[inline(always)]
    pub const fn room(&mut self) -> &mut LongRun {
        let place = self.next as usize & (RUNS - 1);
        self.next = self.next.wrapping_add(1);
        &mut self.runs[place]
    }

    /// The place of the run that took most of the time from `from_ns` to
    /// `to_ns`; [`RUNS`] if none took any.
    #[inline(always)]
    #[must_use]
    pub fn most_of(&self, from_ns: u64, to_ns: u64) -> usize {
        let (mut most_ns, mut place) = (0, RUNS);
        let mut i = 0;
        while i < RUNS {
            let ns = self.runs[i].within(from_ns, to_ns);
            if ns > most_ns {
                (most_ns, place) = (ns, i);
            }
            i += 1;
        }
        place
    }

    /// The run at a place that [`Runs::most_of`] gave.
    #[inline(always)]
    #[must_use]
    pub const fn at(&self, place: usize) -> &LongRun {
        &self.runs[place & (RUNS - 1)]
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ran(runs: &mut Runs, tgid: u32, from_ns: u64, to_ns: u64) {
        *runs.room() = LongRun { ended_ns: to_ns, ran_ns: to_ns - from_ns, tgid, ..LongRun::NONE };
    }

    fn named(runs: &Runs, from_ns: u64, to_ns: u64) -> Option<u32> {
        let place = runs.most_of(from_ns, to_ns);
        (place < RUNS).then(|| runs.at(place).tgid)
    }

    #[test]
    fn who_ran_longest_is_named_not_who_ran_last() {
        let mut runs = Runs::new();
        assert_eq!(named(&runs, 0, u64::MAX), None, "nobody ran");
        ran(&mut runs, 1, 0, 90);
        ran(&mut runs, 2, 100, 400);
        ran(&mut runs, 3, 400, 500);
        assert_eq!(named(&runs, 100, 500), Some(2));
        assert_eq!(named(&runs, 390, 500), Some(3));
        assert_eq!(named(&runs, 0, 100), Some(1));
        assert_eq!(named(&runs, 90, 100), None);
        assert_eq!(named(&runs, 600, 700), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut runs = Runs::new();
        ran(&mut runs, 99, 0, 1_000);
        for i in 0..RUNS as u64 {
            ran(&mut runs, i as u32, 1_000 + 10 * i, 1_010 + 10 * i);
        }
        assert_eq!(named(&runs, 0, 1_000), None);
        assert_eq!(named(&runs, 1_000, 1_010), Some(0));
    }

    proptest! {
        #[test]
        fn a_run_takes_no_more_than_it_was_or_was_asked(
            ended_ns: u64, ran_ns: u64, from_ns: u64, to_ns: u64,
        ) {
            let run = LongRun { ended_ns, ran_ns, ..LongRun::NONE };
            let ns = run.within(from_ns, to_ns);
            prop_assert!(ns <= ran_ns);
            prop_assert!(ns <= to_ns.saturating_sub(from_ns));
        }
    }
}
