//! The budget: what each thing may cost, and what it should.
//!
//! Separate so that the numbers that are promised stand in one table, apart
//! from how they are measured.

use super::statistics::Estimate;

/// One promise. Less is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// As in the table.
    pub what: &'static str,
    /// Unit of the numbers.
    pub unit: &'static str,
    /// More than this is a miss.
    pub bar: f64,
    /// What is wanted.
    pub aim: f64,
    /// What comparable agents cost by the same method.
    pub peers: &'static str,
}

/// How a measurement compares with its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the aim.
    Aim,
    /// Within the bar.
    Bar,
    /// Over the bar.
    Miss,
    /// Within the bar, but the interval reaches over it.
    Open,
    /// Over the bar, but the interval reaches below it.
    OpenMiss,
}

impl Verdict {
    /// As in the table.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Aim => "met, and the aim",
            Self::Bar => "met",
            Self::Miss => "**miss**",
            Self::Open => "met, but within noise of the bar",
            Self::OpenMiss => "**miss**, but within noise of the bar",
        }
    }
}

impl Budget {
    /// Judges an estimate.
    #[must_use]
    pub fn judge(&self, found: &Estimate) -> Verdict {
        if found.median > self.bar {
            return if found.low <= self.bar { Verdict::OpenMiss } else { Verdict::Miss };
        }
        if found.high > self.bar {
            return Verdict::Open;
        }
        if found.median <= self.aim { Verdict::Aim } else { Verdict::Bar }
    }
}

const fn budget(
    what: &'static str,
    unit: &'static str,
    (bar, aim): (f64, f64),
    peers: &'static str,
) -> Budget {
    Budget { what, unit, bar, aim, peers }
}

/// CPU added to a saturated server.
pub const SATURATED: Budget = budget(
    "CPU added to a saturated Go hello, all lanes but syscalls",
    "µs/request",
    (1.0, 0.5),
    "Coroot ~0.4 (noise), OBI 38",
);
/// The same with every lane.
pub const SATURATED_EVERY: Budget =
    budget("the same, with the syscalls lane", "µs/request", (1.5, 0.8), "");
/// CPU added at a fixed rate.
pub const PACED: Budget = budget(
    "CPU added at a fixed 4 000 requests/s, all lanes but syscalls",
    "µs/request",
    (2.0, 1.0),
    "Coroot 1.4, OBI 52",
);
/// The same with every lane.
pub const PACED_EVERY: Budget =
    budget("the same, with the syscalls lane", "µs/request", (2.0, 1.0), "");
/// CPU of the agent, saturated.
pub const AGENT_SATURATED: Budget =
    budget("agent CPU, saturated", "µs/request", (0.5, 0.3), "Coroot 3.3");
/// CPU of the agent at a fixed rate.
pub const AGENT_PACED: Budget =
    budget("agent CPU, at 4 000 requests/s", "µs/request", (1.0, 0.5), "Coroot 8.6, OBI 10.5");
/// Time in kernel programs, saturated.
pub const KERNEL_SATURATED: Budget =
    budget("kernel programs, saturated", "µs/request", (1.0, 0.5), "Coroot 1.6, OBI 4.7");
/// Time in kernel programs at a fixed rate.
pub const KERNEL_PACED: Budget =
    budget("kernel programs, at 4 000 requests/s", "µs/request", (2.0, 1.0), "");
/// What a process pays that nobody watches.
pub const BYSTANDER: Budget = budget(
    "bystander: write+read pair (pipe) of an unwatched process",
    "ns",
    (40.0, 15.0),
    "OBI 0, Coroot +190",
);
/// The same without the syscalls lane: nothing should be left but noise.
pub const BYSTANDER_WITHOUT: Budget =
    budget("the same, without the syscalls lane", "ns", (40.0, 0.0), "");
/// Throughput lost.
pub const THROUGHPUT: Budget =
    budget("throughput lost at saturation", "%", (4.0, 1.5), "Coroot 17, OBI 80");
/// Memory at rest.
pub const RESIDENT: Budget =
    budget("resident memory, steady, 200 containers", "MiB", (40.0, 25.0), "OBI 56, Coroot 98");
/// Memory at most.
pub const PEAK: Budget =
    budget("resident memory, peak, 200 containers", "MiB", (60.0, 40.0), "OBI 77, Coroot 116");
/// Kernel memory.
pub const MAPS: Budget =
    budget("kernel memory of all maps", "MiB", (24.0, 16.0), "OBI 98, Coroot 242");
/// CPU at rest.
pub const IDLE: Budget = budget(
    "idle CPU, 200 containers, a scrape every 15 s",
    "% of a core",
    (0.2, 0.1),
    "Coroot 0.25",
);
/// Everything at a common load.
pub const NODE: Budget =
    budget("agent and kernel programs at 5 000 requests/s", "% of the node", (0.8, 0.5), "");
/// A scrape.
pub const SCRAPE: Budget =
    budget("a scrape of 30 000 series (text, not compressed)", "ms CPU", (30.0, 15.0), "");
/// Start.
pub const START: Budget = budget(
    "start until all lanes are attached and all is swept once, 200 containers",
    "s",
    (2.0, 1.0),
    "",
);
/// Freshness.
pub const VISIBLE: Budget = budget("response to visible in a scrape, p99", "ms", (60.0, 12.0), "");

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(low: f64, median: f64, high: f64) -> Verdict {
        let budget = budget("x", "y", (2.0, 1.0), "");
        budget.judge(&Estimate { median, low, high, count: 9 })
    }

    #[test]
    fn a_miss_is_a_miss_and_noise_is_called_noise() {
        assert_eq!(verdict(0.5, 0.8, 1.2), Verdict::Aim);
        assert_eq!(verdict(1.0, 1.5, 1.9), Verdict::Bar);
        assert_eq!(verdict(1.0, 1.5, 2.5), Verdict::Open);
        assert_eq!(verdict(1.5, 2.5, 3.0), Verdict::OpenMiss);
        assert_eq!(verdict(2.1, 2.5, 3.0), Verdict::Miss);
    }
}
