//! What became of each program and lane: data that is shown by `check`, in
//! metrics and in the log.

use crate::probes::{Lane, ProgramSpec};

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramState {
    /// In the kernel, not attached: its lanes are off, or nothing is attached
    /// here at all.
    Loaded,
    /// Attached.
    Attached,
    /// The kernel does not take it.
    Unavailable {
        /// Why.
        why: String,
    },
}

/// A program and what became of it.
#[derive(Clone, Debug)]
pub struct ProgramStatus {
    /// Which.
    pub spec: &'static ProgramSpec,
    /// What became of it.
    pub state: ProgramState,
    /// What is not at its best though it works; empty if all is.
    pub note: String,
}

/// What became of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// Everything it has works.
    Works,
    /// Some of it works.
    Degraded,
    /// Nothing of it works here.
    Unavailable,
    /// Switched off.
    Off,
}

impl LaneState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Works, Self::Degraded, Self::Unavailable, Self::Off];

    /// Its name in metrics and on screen.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
            Self::Off => "off",
        }
    }
}

/// A lane, what became of it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStatus {
    /// Which.
    pub lane: Lane,
    /// What became of it.
    pub state: LaneState,
    /// Why it is not at its best; empty if it is.
    pub why: String,
}

/// What became of a lane, by its programs. `is_attached` says whether programs
/// should be attached (`check` only loads them).
#[must_use]
pub fn lane_status(lane: Lane, statuses: &[ProgramStatus], is_attached: bool) -> LaneStatus {
    let mine: Vec<&ProgramStatus> =
        statuses.iter().filter(|status| status.spec.lanes.contains(&lane)).collect();
    // A program that another lane needs too says nothing for this one alone.
    let own: Vec<&ProgramStatus> =
        mine.iter().copied().filter(|status| status.spec.lanes.len() == 1).collect();
    let works = |status: &&ProgramStatus| match status.state {
        ProgramState::Attached => true,
        ProgramState::Loaded => !is_attached,
        ProgramState::Unavailable { .. } => false,
    };
    let why: Vec<&str> = mine
        .iter()
        .filter_map(|status| match &status.state {
            ProgramState::Unavailable { why } => Some(why.as_str()),
            _ => Some(status.note.as_str()).filter(|note| !note.is_empty()),
        })
        .collect();
    let state = if is_attached && is_off(&own) {
        LaneState::Off
    } else if mine.iter().all(works) {
        LaneState::Works
    } else if own.iter().any(works) && lane != Lane::Sockets {
        LaneState::Degraded
    } else {
        // The sockets lane has no use for half of its hooks.
        LaneState::Unavailable
    };
    LaneStatus { lane, state, why: why.join("; ") }
}

/// Whether none of these programs is attached, though some could be.
fn is_off(own: &[&ProgramStatus]) -> bool {
    own.iter().all(|status| status.state != ProgramState::Attached)
        && own.iter().any(|status| status.state == ProgramState::Loaded)
}

/// Whether there is anything of a lane that can be switched on or off.
#[must_use]
pub fn can_switch(lane: Lane, statuses: &[ProgramStatus]) -> bool {
    let of_lane = |status: &&ProgramStatus| status.spec.lanes == [lane];
    statuses
        .iter()
        .filter(of_lane)
        .any(|status| matches!(status.state, ProgramState::Loaded | ProgramState::Attached))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::ALL;

    fn check(lane: Lane, state_of: impl Fn(&str) -> ProgramState, expected: LaneState) {
        let statuses: Vec<ProgramStatus> = ALL
            .iter()
            .map(|spec| ProgramStatus { spec, state: state_of(spec.name), note: String::new() })
            .collect();
        assert_eq!(lane_status(lane, &statuses, true).state, expected);
    }

    fn missing() -> ProgramState {
        ProgramState::Unavailable { why: "no".to_owned() }
    }

    #[test]
    fn a_lane_works_only_with_all_of_its_programs() {
        let without = |gone: &'static str| {
            move |name: &str| if name == gone { missing() } else { ProgramState::Attached }
        };
        check(Lane::Tcp, |_| ProgramState::Attached, LaneState::Works);
        check(Lane::Tcp, without("tcp_send_reset"), LaneState::Degraded);
        check(Lane::Sockets, without("sk_data_ready"), LaneState::Unavailable);
        check(Lane::Sockets, |_| missing(), LaneState::Unavailable);
        check(Lane::Cpu, |_| ProgramState::Loaded, LaneState::Off);
        // Detached, and some of it would not work anyway.
        check(
            Lane::Tcp,
            |name| if name == "tcp_send_reset" { missing() } else { ProgramState::Loaded },
            LaneState::Off,
        );
    }
}
