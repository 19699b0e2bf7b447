//! What the programs say of themselves.

use agent_common::stats::ProgramStats;
use aya::maps::{MapData, PerCpuArray};

use crate::load::{Error, Loaded};
use crate::probes::{self, ProgramSpec};

/// The statistics of one program, over all CPUs.
#[derive(Clone, Copy, Debug)]
pub struct ProgramCost {
    /// Which.
    pub spec: &'static ProgramSpec,
    /// Times that it ran.
    pub runs: u64,
    /// Times that it was timed.
    pub timed_runs: u64,
    /// What the timed runs took, nanoseconds.
    pub timed_ns: u64,
}

impl ProgramCost {
    /// What all runs took, nanoseconds, estimated from the timed ones.
    #[must_use]
    pub fn estimated_ns(&self) -> u64 {
        estimate(self.runs, self.timed_runs, self.timed_ns)
    }
}

/// The array of statistics.
pub struct Stats {
    array: PerCpuArray<MapData, [u64; size_of::<ProgramStats>() / 8]>,
}

impl Stats {
    /// Takes the array out of what was loaded.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn new(loaded: &mut Loaded) -> Result<Self, Error> {
        let array = PerCpuArray::try_from(loaded.take_map("PROBE_STATS")?)
            .map_err(|source| Error::Map { name: "PROBE_STATS", source })?;
        Ok(Self { array })
    }

    /// Every program's cost so far.
    #[must_use]
    pub fn read(&self) -> Vec<ProgramCost> {
        probes::ALL.iter().map(|spec| self.cost(spec)).collect()
    }

    fn cost(&self, spec: &'static ProgramSpec) -> ProgramCost {
        let (mut runs, mut timed_runs, mut timed_ns) = (0, 0, 0);
        if let Ok(cpus) = self.array.get(&(spec.program as u32), 0) {
            for [cpu_runs, cpu_timed, cpu_ns] in cpus.iter() {
                runs += cpu_runs;
                timed_runs += cpu_timed;
                timed_ns += cpu_ns;
            }
        }
        ProgramCost { spec, runs, timed_runs, timed_ns }
    }
}

/// All runs at the mean of the timed ones.
fn estimate(runs: u64, timed_runs: u64, timed_ns: u64) -> u64 {
    if timed_runs == 0 {
        return 0;
    }
    let total = u128::from(timed_ns) * u128::from(runs) / u128::from(timed_runs);
    u64::try_from(total).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::estimate;

    #[test]
    fn runs_that_were_not_timed_take_the_mean() {
        assert_eq!(estimate(2048, 2, 300), 307_200);
        assert_eq!(estimate(5, 0, 0), 0);
        assert_eq!(estimate(u64::MAX, 1, u64::MAX), u64::MAX);
    }
}
