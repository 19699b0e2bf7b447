//! Points of a capture: what a captured thread did, and whose work it was.
//!
//! A point says since when its thread has run, so that one that is lost takes
//! no more with it than its own stretch.

/// What happened at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PointKind {
    /// The thread left the CPU.
    Left = 1,
    /// A system call of it is over.
    Call = 2,
    /// It read from a socket, or wrote to one.
    Socket = 3,
}

impl PointKind {
    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::Left,
            2 => Self::Call,
            3 => Self::Socket,
            _ => return None,
        })
    }
}

/// [`PointRecord::off`] of a thread of Go's runtime that naps between looks for
/// work, beside the reasons of `work::Off`.
pub const OFF_NAP: u8 = 15;

/// [`PointRecord::nr`] of a thread that is in no system call that is known.
pub const NO_CALL: u16 = u16::MAX;

/// A point of a captured thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PointRecord {
    /// `RecordKind::Point`
    pub kind: u8,
    /// A [`PointKind`].
    pub what: u8,
    /// `Left`: why, the index of a `work::Off` or [`OFF_NAP`].
    pub off: u8,
    /// 1 if the process is a Go program whose goroutines can be followed.
    pub is_go: u8,
    /// Service of the process.
    pub service: u16,
    /// Number of the system call that it is in, or that is over; [`NO_CALL`].
    pub nr: u16,
    /// The process.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
    /// When, `CLOCK_MONOTONIC` nanoseconds, like all times here.
    pub at_ns: u64,
    /// When it got the CPU that it has, or leaves; 0 if that is not known.
    pub in_ns: u64,
    /// `Left`: when it had become ready to run before `in_ns`. `Call`: when the
    /// call began.
    pub since_ns: u64,
    /// The goroutine on it; 0 for none, for the scheduler, or if unknown.
    pub goid: u64,
    /// `Left` by the scheduler: the goroutine that it ran last; 0 if unknown.
    pub left: u64,
    /// `trackingSeq` of `goid`.
    pub seq: u8,
    /// The `GoWait` of `goid`'s last wait.
    pub reason: u8,
    /// `trackingSeq` of `left`.
    pub left_seq: u8,
    /// The `GoWait` of `left`.
    pub left_reason: u8,
    /// 1 if `left` waits for that.
    pub left_is_waiting: u8,
    /// Zero.
    pub _pad: [u8; 3],
}

const _: () = assert!(size_of::<PointRecord>() == 64);
