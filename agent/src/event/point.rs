//! A point of a captured thread, owned. See `agent_common::record::point`.

use agent_common::go::GoWait;
use agent_common::record::point::PointKind;

/// What a captured thread did, and whose work it was. Times are
/// `CLOCK_MONOTONIC` nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// What happened.
    pub what: PointKind,
    /// Index of its service.
    pub service: u16,
    /// Why it left the CPU, if it did.
    pub off: u8,
    /// Number of the system call, see `PointRecord::nr`.
    pub nr: u16,
    /// The process.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
    /// When.
    pub at_ns: u64,
    /// When it got the CPU that it has, or leaves; 0 if that is not known.
    pub in_ns: u64,
    /// When it became ready before that, or when its system call began.
    pub since_ns: u64,
    /// The goroutine on it; 0 for none, for the scheduler, or if unknown.
    pub goid: u64,
    /// Whether goroutines of its process can be followed.
    pub is_go: bool,
    /// `trackingSeq` of the goroutine.
    pub seq: u8,
    /// The goroutine's last wait.
    pub reason: GoWait,
    /// The goroutine that the scheduler ran last, as it left the CPU.
    pub left: Option<LeftLast>,
}

/// A goroutine that left its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftLast {
    /// Its id.
    pub goid: u64,
    /// Its `trackingSeq`.
    pub seq: u8,
    /// Its last wait, which is the one of now if `is_waiting`.
    pub reason: GoWait,
    /// Whether it waits; else it is ready, or has ended.
    pub is_waiting: bool,
}
