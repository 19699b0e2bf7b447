//! Programs that the clock runs, on each CPU.
//!
//! Separate because it has one link a CPU, where other hooks have one.

use aya::programs::ProgramError;
use aya::programs::perf_event::{
    PerfEvent, PerfEventConfig, PerfEventLinkId, PerfEventScope, SamplePolicy, SoftwareEvent,
};

/// Times a second and CPU.
const FREQUENCY_HZ: u64 = 99;

/// Attaches to the clock of every CPU that is online now. (One that comes later
/// has no samples.)
pub(super) fn attach(program: &mut PerfEvent) -> Result<Vec<PerfEventLinkId>, ProgramError> {
    let cpus = aya::util::online_cpus().map_err(|(_, error)| ProgramError::IOError(error))?;
    let mut links = Vec::new();
    for cpu in cpus {
        let link = program.attach(
            PerfEventConfig::Software(SoftwareEvent::CpuClock),
            PerfEventScope::AllProcessesOneCpu { cpu },
            SamplePolicy::Frequency(FREQUENCY_HZ),
            false,
        );
        match link {
            Ok(link) => links.push(link),
            Err(error) => {
                detach(program, links);
                return Err(error);
            }
        }
    }
    Ok(links)
}

/// Detaches from every clock.
pub(super) fn detach(program: &mut PerfEvent, links: Vec<PerfEventLinkId>) {
    for link in links {
        if let Err(error) = program.detach(link) {
            tracing::warn!(%error, "cannot detach from a clock");
        }
    }
}
