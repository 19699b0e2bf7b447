//! The parts of a request's wall time: closed sets, the same words in code,
//! metrics, spans, JSON and on screen.
//!
//! Pure, and shared, because the kernel programs add up the parts and the agent
//! closes the sum: what was not shown is `unattributed`, never spread.

use crate::record::request::RequestParts;

/// What a group of parts has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Layer {
    /// The program's own code.
    Application,
    /// The language's runtime: collector, scheduler, waits within the program.
    Runtime,
    /// The operating system.
    Os,
    /// The network between the client and this process.
    Network,
    /// Peers that the request called.
    Downstream,
    /// The machine below the operating system.
    Hardware,
    /// What cannot be shown.
    Unattributed,
}

impl Layer {
    /// Every layer, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Application,
        Self::Runtime,
        Self::Os,
        Self::Network,
        Self::Downstream,
        Self::Hardware,
        Self::Unattributed,
    ];

    /// The value of the `layer` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Runtime => "runtime",
            Self::Os => "os",
            Self::Network => "network",
            Self::Downstream => "downstream",
            Self::Hardware => "hardware",
            Self::Unattributed => "unattributed",
        }
    }
}

/// What a request was doing for some of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Part {
    /// Running its own code.
    Cpu = 0,
    /// Stopped by, or working for, the collector.
    Gc = 1,
    /// Ready, waiting for the runtime to run it.
    Sched = 2,
    /// Parked on a channel, mutex, select or timer.
    Wait = 3,
    /// Running kernel code for it.
    OsCpu = 4,
    /// Its thread ready, another running.
    Runqueue = 5,
    /// Its cgroup out of CPU quota.
    Throttled = 6,
    /// Its thread in futex.
    Lock = 7,
    /// In block or file I/O.
    Disk = 8,
    /// In a page fault or in reclaim.
    Memory = 9,
    /// Its connection established, not yet accepted.
    Accept = 10,
    /// In another blocking call.
    Sleep = 11,
    /// Its own body still arriving.
    Receive = 12,
    /// The client not taking the response.
    Send = 13,
    /// Data that it sent had to be sent again.
    Loss = 14,
    /// A peer that it called had not answered.
    Downstream = 15,
    /// The hypervisor or an interrupt ran instead.
    Steal = 16,
    /// None of the others can be shown.
    Unknown = 17,
    /// Not recorded, under pressure.
    Sampled = 18,
}

/// Parts that the kernel measures; the others follow from the wall time.
pub const MEASURED: usize = 17;
/// All parts.
pub const PARTS: usize = 19;

impl Part {
    /// Every part, in order of its index.
    pub const ALL: [Self; PARTS] = [
        Self::Cpu,
        Self::Gc,
        Self::Sched,
        Self::Wait,
        Self::OsCpu,
        Self::Runqueue,
        Self::Throttled,
        Self::Lock,
        Self::Disk,
        Self::Memory,
        Self::Accept,
        Self::Sleep,
        Self::Receive,
        Self::Send,
        Self::Loss,
        Self::Downstream,
        Self::Steal,
        Self::Unknown,
        Self::Sampled,
    ];

    /// The layer that it belongs to.
    #[must_use]
    pub const fn layer(self) -> Layer {
        match self {
            Self::Cpu => Layer::Application,
            Self::Gc | Self::Sched | Self::Wait => Layer::Runtime,
            Self::OsCpu
            | Self::Runqueue
            | Self::Throttled
            | Self::Lock
            | Self::Disk
            | Self::Memory
            | Self::Accept
            | Self::Sleep => Layer::Os,
            Self::Receive | Self::Send | Self::Loss => Layer::Network,
            Self::Downstream => Layer::Downstream,
            Self::Steal => Layer::Hardware,
            Self::Unknown | Self::Sampled => Layer::Unattributed,
        }
    }

    /// The value of the `part` label; together with the layer's it is unique.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu | Self::OsCpu => "cpu",
            Self::Gc => "gc",
            Self::Sched => "sched",
            Self::Wait | Self::Downstream => "wait",
            Self::Runqueue => "runqueue",
            Self::Throttled => "throttled",
            Self::Lock => "lock",
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Accept => "accept",
            Self::Sleep => "sleep",
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Loss => "loss",
            Self::Steal => "steal",
            Self::Unknown => "unknown",
            Self::Sampled => "sampled",
        }
    }

    /// Its bit in a mask of parts.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// What a request rides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UnitKind {
    /// Nothing could be followed.
    None = 0,
    /// The thread that serves it, and nothing else meanwhile.
    Thread = 1,
    /// A goroutine.
    Goroutine = 2,
    /// Turns of an event loop: estimated.
    Loop = 3,
}

impl UnitKind {
    /// The kind with this number; [`UnitKind::None`] for others.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Self {
        match raw {
            1 => Self::Thread,
            2 => Self::Goroutine,
            3 => Self::Loop,
            _ => Self::None,
        }
    }

    /// In JSON and on screen.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Thread => "thread",
            Self::Goroutine => "goroutine",
            Self::Loop => "loop",
        }
    }
}

/// A request's wall time in parts that sum to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Nanoseconds, by [`Part`].
    pub ns: [u64; PARTS],
    /// What the kernel measured beyond the wall time, and was cut off: 0
    /// unless something was counted twice.
    pub overrun_ns: u64,
}

/// Closes the sum: parts in order of their index, each at most what is left of
/// the wall, the rest unknown.
#[must_use]
pub fn close(wall_ns: u64, parts: &RequestParts) -> Split {
    let mut split = Split { ns: [0; PARTS], overrun_ns: 0 };
    let mut left_ns = wall_ns;
    for (to, measured_ns) in split.ns.iter_mut().zip(parts.ns) {
        *to = measured_ns.min(left_ns);
        left_ns -= *to;
        split.overrun_ns = split.overrun_ns.saturating_add(measured_ns - *to);
    }
    split.ns[Part::Unknown as usize] = left_ns;
    split
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_part_is_named_by_its_layer_and_its_word() {
        let names: HashSet<_> =
            Part::ALL.iter().map(|part| (part.layer().as_str(), part.as_str())).collect();
        assert_eq!(names.len(), PARTS);
        for (index, part) in Part::ALL.iter().enumerate() {
            assert_eq!(*part as usize, index);
        }
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_wall(
            wall_ns in any::<u64>(),
            ns in proptest::array::uniform17(any::<u64>()),
        ) {
            let parts = RequestParts { ns, ..RequestParts::new() };
            let split = close(wall_ns, &parts);
            let sum: u128 = split.ns.iter().map(|ns| u128::from(*ns)).sum();
            prop_assert_eq!(sum, u128::from(wall_ns));
        }

        #[test]
        fn nothing_measured_is_lost_while_it_fits(
            ns in proptest::array::uniform17(0u64..1 << 50),
            rest_ns in 0u64..1 << 50,
        ) {
            let wall_ns = ns.iter().sum::<u64>() + rest_ns;
            let split = close(wall_ns, &RequestParts { ns, ..RequestParts::new() });
            prop_assert_eq!(&split.ns[..MEASURED], &ns[..]);
            prop_assert_eq!(split.ns[Part::Unknown as usize], rest_ns);
            prop_assert_eq!(split.overrun_ns, 0);
        }
    }
}
