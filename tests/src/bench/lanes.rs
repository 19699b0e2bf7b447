//! Choices of lanes: each alone, and together.
//!
//! Separate because both methods go through them.

use anyhow::Context as _;

use crate::agent_process::Agent;

/// Every lane, by the name of its key `lanes.NAME`.
pub const ALL: [&str; 5] = ["sockets", "cpu", "process", "tcp", "syscalls"];

/// Some lanes that are on; the others are off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneSet {
    /// As in the table.
    pub name: &'static str,
    /// Those that are on.
    pub lanes: &'static [&'static str],
}

/// All but the one that is shed first.
pub const ALL_BUT_SYSCALLS: LaneSet =
    LaneSet { name: "all but syscalls", lanes: &["sockets", "cpu", "process", "tcp"] };
/// Everything that is on by default.
pub const EVERY: LaneSet = LaneSet { name: "all", lanes: &ALL };

/// Each alone.
pub const EACH: [LaneSet; 5] = [
    LaneSet { name: "sockets", lanes: &["sockets"] },
    LaneSet { name: "cpu", lanes: &["cpu"] },
    LaneSet { name: "process", lanes: &["process"] },
    LaneSet { name: "tcp", lanes: &["tcp"] },
    LaneSet { name: "syscalls", lanes: &["syscalls"] },
];

/// The two that the budget names.
pub const TOGETHER: [LaneSet; 2] = [ALL_BUT_SYSCALLS, EVERY];

impl LaneSet {
    /// Flags of `strata agent`. The governor is off: it would shed lanes while
    /// their cost is measured.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let off = ALL.iter().filter(|lane| !self.lanes.contains(lane));
        let mut flags = vec!["--governor-enabled=false".to_owned()];
        flags.extend(off.map(|lane| format!("--lanes-{lane}=false")));
        flags
    }

    /// Starts the agent with these lanes, watching what listens on `port`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, port: u16) -> anyhow::Result<Agent> {
        let port = port.to_string();
        let flags = self.flags();
        let mut args = vec!["--port", &port];
        args.extend(flags.iter().map(String::as_str));
        Agent::start(&args).with_context(|| format!("with the lanes {}", self.name))
    }

    /// Those of its lanes that do not work here: their cost is not measured,
    /// and that has to be said.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn missing(&self, agent: &Agent) -> anyhow::Result<Vec<&'static str>> {
        let metrics = agent.scrape()?;
        let works = |lane: &str| {
            let labels = [("lane", lane), ("state", "works")];
            metrics.sum("strata_agent_lane_state", &labels) > 0.0
        };
        Ok(self.lanes.iter().copied().filter(|lane| !works(lane)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_set_is_switched_off() {
        let flags = ALL_BUT_SYSCALLS.flags();
        assert_eq!(flags, ["--governor-enabled=false", "--lanes-syscalls=false"]);
        assert_eq!(EVERY.flags().len(), 1);
        assert!(EACH.iter().all(|set| set.flags().len() == ALL.len()));
    }
}
