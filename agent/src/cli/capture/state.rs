//! What a thread or a goroutine did for a while.
//!
//! Separate because every stage from the points to the output speaks of it.

use agent_common::counter::cpu::OffCpu;
use agent_common::go::GoWait;
use agent_common::record::point::{NO_CALL, OFF_NAP};
use agent_common::syscall::calls::CALLS;
use agent_common::work::Off;

use crate::tap::captured::Window;

/// What it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It had a CPU.
    Running,
    /// It was ready, and another thread ran.
    RunQueue,
    /// Its cgroup was out of CPU quota.
    Throttled,
    /// Its thread was blocked, in the system call of this number.
    Blocked {
        /// See `PointRecord::nr`.
        nr: u16,
        /// See `PointRecord::off`.
        off: u8,
    },
    /// A goroutine that waited.
    Waiting(GoWait),
    /// A goroutine that was ready, and not run by the runtime.
    Ready,
    /// It is not known.
    Unseen,
}

impl State {
    /// What a thread is in that left the CPU for this reason.
    pub(super) const fn off(off: u8, nr: u16) -> Self {
        if off == OffCpu::Runqueue as u8 {
            Self::RunQueue
        } else if off == OffCpu::Throttled as u8 {
            Self::Throttled
        } else {
            Self::Blocked { nr, off }
        }
    }

    /// How it is called on screen.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::RunQueue => "run queue",
            Self::Throttled => "throttled",
            Self::Blocked { off, nr } => blocked(off, nr),
            Self::Waiting(reason) => reason.as_str(),
            Self::Ready => "ready",
            Self::Unseen => "unseen",
        }
    }
}

fn blocked(off: u8, nr: u16) -> &'static str {
    if off == OffCpu::Disk as u8 {
        "disk"
    } else if off == OffCpu::Memory as u8 {
        "memory"
    } else if off == OFF_NAP {
        "nap"
    } else if off == Off::Loss as u8 {
        "loss"
    } else {
        call_name(nr).unwrap_or("blocked")
    }
}

/// The name of a system call.
pub(super) fn call_name(nr: u16) -> Option<&'static str> {
    if nr == NO_CALL {
        return None;
    }
    CALLS
        .binary_search_by_key(&nr, |(number, ..)| *number)
        .ok()
        .and_then(|index| CALLS.get(index))
        .map(|(_, name, _)| *name)
}

/// A while in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// It began.
    pub(super) from_ns: u64,
    /// It ended.
    pub(super) until_ns: u64,
    /// What was done.
    pub(super) state: State,
    /// The thread; 0 if on none.
    pub(super) tid: u32,
}

impl Stretch {
    /// Its length.
    pub(super) const fn ns(&self) -> u64 {
        self.until_ns.saturating_sub(self.from_ns)
    }

    /// Its part within these times, if any.
    pub(super) fn within(&self, from_ns: u64, until_ns: u64) -> Option<Self> {
        let (from_ns, until_ns) = (self.from_ns.max(from_ns), self.until_ns.min(until_ns));
        (from_ns < until_ns).then_some(Self { from_ns, until_ns, ..*self })
    }
}

/// A system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// It began.
    pub(super) from_ns: u64,
    /// It was over.
    pub(super) until_ns: u64,
    /// Its number.
    pub(super) nr: u16,
}

/// Stretches one after the other, without a gap, from the beginning of a window
/// to its end.
#[derive(Debug)]
pub(super) struct Line {
    window: Window,
    at_ns: u64,
    stretches: Vec<Stretch>,
}

impl Line {
    /// One with nothing on it yet.
    pub(super) const fn new(window: Window) -> Self {
        Self { window, at_ns: window.from_ns, stretches: Vec::new() }
    }

    /// Where it ends by now.
    pub(super) const fn at_ns(&self) -> u64 {
        self.at_ns
    }

    /// Goes on until then in a state. What lies before its end, or beyond the
    /// window's, is left out.
    pub(super) fn until(&mut self, until_ns: u64, state: State, tid: u32) {
        let until_ns = until_ns.min(self.window.until_ns);
        if until_ns <= self.at_ns {
            return;
        }
        match self.stretches.last_mut() {
            Some(last) if last.state == state && last.tid == tid => last.until_ns = until_ns,
            _ => {
                self.stretches.push(Stretch { from_ns: self.at_ns, until_ns, state, tid });
            }
        }
        self.at_ns = until_ns;
    }

    /// The whole of it; what is left of the window is in `state`.
    pub(super) fn end(mut self, state: State, tid: u32) -> Vec<Stretch> {
        self.until(self.window.until_ns, state, tid);
        self.stretches
    }
}

/// Parts of stretches within these times. `stretches` are in order.
pub(super) fn within(
    stretches: &[Stretch],
    from_ns: u64,
    until_ns: u64,
) -> impl Iterator<Item = Stretch> {
    let first = stretches.partition_point(|stretch| stretch.until_ns <= from_ns);
    let rest = stretches.get(first..).unwrap_or_default().iter();
    rest.take_while(move |stretch| stretch.from_ns < until_ns)
        .filter_map(move |stretch| stretch.within(from_ns, until_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_name_of_what_explains_it() {
        let names = [
            (State::off(OffCpu::Runqueue as u8, 202), "run queue"),
            (State::off(OffCpu::Throttled as u8, 202), "throttled"),
            (State::off(OffCpu::Disk as u8, 0), "disk"),
            (State::off(Off::Other as u8, 202), "futex"),
            (State::off(Off::Other as u8, NO_CALL), "blocked"),
            (State::off(OFF_NAP, 35), "nap"),
            (State::Waiting(GoWait::Mutex), "mutex"),
        ];
        for (state, name) in names {
            assert_eq!(state.name(), name);
        }
        assert_eq!(call_name(60_000), None);
    }

    #[test]
    fn parts_of_a_line_are_cut_to_what_is_asked_for() {
        let window = Window { from_ns: 10, until_ns: 100, ..Window::default() };
        let mut line = Line::new(window);
        line.until(5, State::Running, 1);
        line.until(30, State::Running, 1);
        line.until(40, State::Running, 1);
        line.until(90, State::RunQueue, 1);
        let stretches = line.end(State::Unseen, 1);
        let found: Vec<_> = within(&stretches, 35, 95).map(|s| (s.from_ns, s.until_ns)).collect();
        assert_eq!(found, [(35, 40), (40, 90), (90, 95)]);
        assert_eq!(within(&stretches, 0, 10).count(), 0);
    }
}
