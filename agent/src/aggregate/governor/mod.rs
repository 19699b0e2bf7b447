//! The governor: what to shed, and when, so that strata stays within its
//! budget of the node's CPU time.
//!
//! Separate and pure: it is told once a second what was used, and says what is
//! to be on. It sheds one step at a time in a fixed order, and takes steps back
//! one at a time, later and later if a step that came back had to go again.

pub mod meter;

/// Seconds above the budget before a step is shed.
pub const OVER_SECONDS: u32 = 3;
/// Part of the budget below which steps may come back.
pub const QUIET_PART: f64 = 0.6;
/// Seconds below it before a step comes back, at first.
pub const QUIET_SECONDS: u32 = 30;
/// The same at most: a step that always has to go again is tried this often.
pub const MAX_QUIET_SECONDS: u32 = 480;
/// A step that is shed again within this time of coming back came too early.
const RELAPSE_SECONDS: u32 = 120;
/// Of the request records, one in 2^this is sent at the least.
pub const MAX_SAMPLE_SHIFT: u32 = 6;

/// Rungs of the ladder: nothing shed, system calls, each halving of the request
/// records, the cpu lane.
const RUNGS: u8 = 3 + MAX_SAMPLE_SHIFT as u8;

/// State of the governor, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Switched off by configuration: nothing is shed.
    Off,
    /// Nothing is shed.
    Normal,
    /// The syscalls lane is shed.
    NoSyscalls,
    /// The request records are sampled too.
    Sampling,
    /// The cpu lane is shed too.
    NoCpu,
}

impl State {
    /// Every state, in the order of shedding.
    pub const ALL: [Self; 5] =
        [Self::Off, Self::Normal, Self::NoSyscalls, Self::Sampling, Self::NoCpu];

    /// The value of the `state` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Normal => "normal",
            Self::NoSyscalls => "no_syscalls",
            Self::Sampling => "sampling",
            Self::NoCpu => "no_cpu",
        }
    }
}

/// What there is to shed now. A step that would change nothing is passed over:
/// shedding it would only cost time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sheddable {
    /// The syscalls lane is configured, and works here.
    pub syscalls: bool,
    /// The same of the sockets lane, whose records are sampled.
    pub requests: bool,
    /// The same of the cpu lane.
    pub cpu: bool,
}

impl Sheddable {
    /// Whether the step onto this rung changes anything.
    const fn has(self, rung: u8) -> bool {
        match rung {
            1 => self.syscalls,
            RUNGS.. => false,
            rung if rung == RUNGS - 1 => self.cpu,
            _ => self.requests,
        }
    }
}

/// What is to be off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shed {
    /// The syscalls lane.
    pub syscalls: bool,
    /// Of the request records one in 2^this is sent.
    pub sample_shift: u32,
    /// The cpu lane.
    pub cpu: bool,
}

/// A change, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// One step more is shed.
    Shed,
    /// One step came back.
    Restored,
}

impl Change {
    /// What the governor did, as a verb.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shed => "sheds",
            Self::Restored => "restores",
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Governor {
    is_enabled: bool,
    budget: f64,
    /// How far up the ladder; 0 for nothing shed.
    rung: u8,
    over_seconds: u32,
    quiet_seconds: u32,
    /// Quiet seconds before the next step comes back.
    patience_seconds: u32,
    /// Since a step came back; counts no further than it matters.
    since_restore_seconds: u32,
}

impl Governor {
    /// A governor that has shed nothing. `budget` is a part of the node.
    #[must_use]
    pub const fn new(is_enabled: bool, budget: f64) -> Self {
        Self {
            is_enabled,
            budget,
            rung: 0,
            over_seconds: 0,
            quiet_seconds: 0,
            patience_seconds: QUIET_SECONDS,
            since_restore_seconds: RELAPSE_SECONDS,
        }
    }

    /// Takes a new configuration. What is shed stays shed until it is quiet
    /// under the new budget; switched off, everything comes back.
    pub const fn configure(&mut self, is_enabled: bool, budget: f64) {
        if !is_enabled {
            *self = Self::new(false, budget);
        }
        self.is_enabled = is_enabled;
        self.budget = budget;
        self.over_seconds = 0;
        self.quiet_seconds = 0;
    }

    /// The budget, a part of the node.
    #[must_use]
    pub const fn budget(&self) -> f64 {
        self.budget
    }

    /// Its state.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.rung {
            _ if !self.is_enabled => State::Off,
            0 => State::Normal,
            1 => State::NoSyscalls,
            rung if rung == RUNGS - 1 => State::NoCpu,
            _ => State::Sampling,
        }
    }

    /// What is to be off now.
    #[must_use]
    pub fn shed(&self) -> Shed {
        Shed {
            syscalls: self.rung >= 1,
            sample_shift: u32::from(self.rung.saturating_sub(1)).min(MAX_SAMPLE_SHIFT),
            cpu: self.rung == RUNGS - 1,
        }
    }

    /// What was used in the last second, as a part of the node. Says whether
    /// what is to be off has changed.
    pub fn observe(&mut self, used: f64, sheddable: Sheddable) -> Option<Change> {
        if !self.is_enabled {
            return None;
        }
        self.since_restore_seconds = (self.since_restore_seconds + 1).min(RELAPSE_SECONDS);
        // A NaN counts as neither.
        let is_over = used > self.budget;
        let is_quiet = used < self.budget * QUIET_PART;
        self.over_seconds = if is_over { self.over_seconds + 1 } else { 0 };
        self.quiet_seconds = if is_quiet { self.quiet_seconds + 1 } else { 0 };
        if self.over_seconds >= OVER_SECONDS {
            self.over_seconds = 0;
            return self.step_up(sheddable);
        }
        if self.quiet_seconds >= self.patience_seconds {
            self.quiet_seconds = 0;
            return self.step_down(sheddable);
        }
        None
    }

    fn step_up(&mut self, sheddable: Sheddable) -> Option<Change> {
        self.rung = (self.rung + 1..RUNGS).find(|rung| sheddable.has(*rung))?;
        if self.since_restore_seconds < RELAPSE_SECONDS {
            self.patience_seconds = (self.patience_seconds * 2).min(MAX_QUIET_SECONDS);
        }
        Some(Change::Shed)
    }

    fn step_down(&mut self, sheddable: Sheddable) -> Option<Change> {
        if self.rung == 0 {
            self.patience_seconds = QUIET_SECONDS;
            return None;
        }
        self.rung = (1..self.rung).rev().find(|rung| sheddable.has(*rung)).unwrap_or(0);
        self.since_restore_seconds = 0;
        Some(Change::Restored)
    }
}

#[cfg(test)]
mod tests;
