//! The cpu lane: waiting for a CPU, and what threads were blocked on.

use crate::histogram::{CLASSIC_BUCKETS, Histogram};

/// Why a thread was off the CPU: the parts of the `os` layer that can block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum OffCpu {
    /// Ready, another thread running.
    Runqueue = 0,
    /// Its cgroup out of CPU quota.
    Throttled = 1,
    /// In futex, with a request open on the thread.
    Lock = 2,
    /// In block or file I/O.
    Disk = 3,
    /// In a page fault or in reclaim.
    Memory = 4,
    /// In another blocking call.
    Sleep = 5,
}

/// Number of [`OffCpu`] reasons.
pub const OFF_CPU_REASONS: usize = 6;

impl OffCpu {
    /// Every reason, in order of its index.
    pub const ALL: [Self; OFF_CPU_REASONS] =
        [Self::Runqueue, Self::Throttled, Self::Lock, Self::Disk, Self::Memory, Self::Sleep];

    /// The value of the `reason` label: the name of the part.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runqueue => "runqueue",
            Self::Throttled => "throttled",
            Self::Lock => "lock",
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Sleep => "sleep",
        }
    }
}

/// Per service.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CpuCounters {
    /// Nanoseconds by [`OffCpu`] reason.
    pub off_cpu_ns: [u64; OFF_CPU_REASONS],
    /// Classic buckets of the run-queue latencies.
    pub runqueue_classic: [u64; CLASSIC_BUCKETS],
    /// Zero.
    pub _pad: u64,
    /// Run-queue latencies, throttled time left out.
    pub runqueue: Histogram,
}
