//! Which lanes are to be attached: what the configuration wants, less what is
//! held off and what the governor sheds.
//!
//! Separate and pure because three parties have a say, and one place must
//! decide.

use super::governor::Shed;
use crate::config::{Config, Lanes};
use crate::probes::Lane;

/// Why every lane is off, whatever else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The key `off`.
    KillSwitch,
    /// The agent crashed too often.
    Crashes,
}

impl Hold {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::KillSwitch, Self::Crashes];

    /// The value of the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KillSwitch => "kill_switch",
            Self::Crashes => "crashes",
        }
    }
}

/// What everybody says of the lanes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Switches {
    lanes: Lanes,
    is_killed: bool,
    has_crashed: bool,
    shed: Shed,
}

impl Switches {
    /// What a configuration says, nothing else being said.
    #[must_use]
    pub const fn new(config: &Config) -> Self {
        Self {
            lanes: config.lanes,
            is_killed: config.off,
            has_crashed: false,
            shed: Shed { syscalls: false, sample_shift: 0, cpu: false },
        }
    }

    /// Takes what a new configuration says.
    pub const fn configure(&mut self, config: &Config) {
        self.lanes = config.lanes;
        self.is_killed = config.off;
    }

    /// Holds every lane off after crashes, or no more.
    pub const fn hold(&mut self, has_crashed: bool) {
        self.has_crashed = has_crashed;
    }

    /// Takes what the governor sheds.
    pub const fn shed(&mut self, shed: Shed) {
        self.shed = shed;
    }

    /// Whether lanes are held off for this reason.
    #[must_use]
    pub const fn holds(&self, reason: Hold) -> bool {
        match reason {
            Hold::KillSwitch => self.is_killed,
            Hold::Crashes => self.has_crashed,
        }
    }

    /// Whether the lane is wanted, shed or not.
    #[must_use]
    pub const fn is_wanted(&self, lane: Lane) -> bool {
        !self.is_killed
            && !self.has_crashed
            && match lane {
                Lane::Sockets => self.lanes.sockets,
                Lane::Cpu => self.lanes.cpu,
                Lane::Process => self.lanes.process,
                Lane::Tcp => self.lanes.tcp,
                Lane::Syscalls => self.lanes.syscalls,
                Lane::Go => self.lanes.go,
            }
    }

    /// Whether the lane is to be attached.
    #[must_use]
    pub const fn is_on(&self, lane: Lane) -> bool {
        let is_shed = match lane {
            Lane::Syscalls => self.shed.syscalls,
            // Without the cpu lane a request's time is not split anyway.
            Lane::Cpu | Lane::Go => self.shed.cpu,
            Lane::Sockets | Lane::Process | Lane::Tcp => false,
        };
        self.is_wanted(lane) && !is_shed
    }

    /// Lanes that are to be attached.
    #[must_use]
    pub fn lanes(&self) -> [bool; Lane::ALL.len()] {
        Lane::ALL.map(|lane| self.is_on(lane))
    }

    /// Of the request records one in 2^this is sent.
    #[must_use]
    pub const fn sample_shift(&self) -> u32 {
        self.shed.sample_shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_SHED: Shed = Shed { syscalls: true, sample_shift: 6, cpu: true };

    #[test]
    fn the_kill_switch_and_crashes_each_turn_everything_off() {
        let mut config = Config::default();
        let mut switches = Switches::new(&config);
        assert_eq!(switches.lanes(), [true; 6]);
        switches.hold(true);
        assert_eq!(switches.lanes(), [false; 6]);
        switches.hold(false);
        config.off = true;
        switches.configure(&config);
        assert_eq!(switches.lanes(), [false; 6]);
        assert_eq!(Hold::ALL.map(|reason| switches.holds(reason)), [true, false]);
    }

    #[test]
    fn the_governor_turns_off_its_lanes_and_never_one_on() {
        let mut config = Config::default();
        let mut switches = Switches::new(&config);
        switches.shed(ALL_SHED);
        assert_eq!(switches.lanes(), [true, false, true, true, false, false]);
        assert!(switches.is_wanted(Lane::Cpu));
        config.lanes.cpu = false;
        switches.configure(&config);
        switches.shed(Shed::default());
        assert_eq!(switches.lanes(), [true, false, true, true, true, true]);
    }
}
