//! Go's runtime as the kernel programs read it: where fields lie, and what the
//! wait reasons mean.
//!
//! The numbers of wait reasons and the offsets differ by version, so each
//! binary's own are looked up by the agent and handed over in a [`GoLayout`].

use crate::parts::Part;

/// Why a goroutine does not run. The runtime's numbers are mapped to these by
/// their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GoWait {
    /// No reason was read, or one that is not known.
    Unknown = 0,
    /// Network poller.
    IoWait = 1,
    /// "chan receive"
    ChanReceive = 2,
    /// "chan send"
    ChanSend = 3,
    /// "select"
    Select = 4,
    /// `time.Sleep`
    Sleep = 5,
    /// "sync.Mutex.Lock"
    Mutex = 6,
    /// "sync.RWMutex.RLock", "sync.RWMutex.Lock"
    RwMutex = 7,
    /// "sync.WaitGroup.Wait"
    WaitGroup = 8,
    /// "sync.Cond.Wait"
    Cond = 9,
    /// "semacquire": mostly the runtime's own.
    Semacquire = 10,
    /// Working or waiting for the collector.
    Gc = 11,
    /// Any other reason.
    Other = 12,
    /// Taken off its thread by the runtime while it ran; no reason is written.
    Preempted = 13,
    /// The world was stopped while it ran.
    StopTheWorld = 14,
}

/// Number of [`GoWait`] reasons.
pub const GO_WAITS: usize = 15;

impl GoWait {
    /// Every reason, in order of its index.
    pub const ALL: [Self; GO_WAITS] = [
        Self::Unknown,
        Self::IoWait,
        Self::ChanReceive,
        Self::ChanSend,
        Self::Select,
        Self::Sleep,
        Self::Mutex,
        Self::RwMutex,
        Self::WaitGroup,
        Self::Cond,
        Self::Semacquire,
        Self::Gc,
        Self::Other,
        Self::Preempted,
        Self::StopTheWorld,
    ];

    /// The reason with this number; unknown for others.
    #[must_use]
    pub fn from_raw(raw: u8) -> Self {
        Self::ALL.get(usize::from(raw)).copied().unwrap_or(Self::Unknown)
    }

    /// In JSON and on screen.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::IoWait => "IO wait",
            Self::ChanReceive => "chan receive",
            Self::ChanSend => "chan send",
            Self::Select => "select",
            Self::Sleep => "sleep",
            Self::Mutex => "mutex",
            Self::RwMutex => "rwmutex",
            Self::WaitGroup => "waitgroup",
            Self::Cond => "cond",
            Self::Semacquire => "semacquire",
            Self::Gc => "gc",
            Self::Other => "other",
            Self::Preempted => "preempted",
            Self::StopTheWorld => "stop the world",
        }
    }

    /// The part that a wait for this reason belongs to, if a downstream call
    /// or the request's own socket does not explain it.
    #[inline(always)]
    #[must_use]
    pub const fn part(raw: u8) -> Part {
        match raw {
            11 | 14 => Part::Gc,
            13 => Part::Sched,
            // What the poller waited for is known for watched sockets only.
            0 | 1 => Part::Unknown,
            _ => Part::Wait,
        }
    }
}

/// Wait reasons of a version that have a place in the table.
pub const GO_REASONS: usize = 64;

/// One Go binary: where the runtime's fields lie.
///
/// Offsets are from the start of their structure, in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoLayout {
    /// Address of `runtime.sched.gcwaiting` in the process; 0 if not known.
    pub gcwaiting_at: u64,
    /// Offset of the goroutine pointer from the thread pointer.
    pub g_tls_offset: i32,
    /// `g.goid`
    pub goid: u32,
    /// `g.waitreason` (one byte)
    pub wait_reason: u32,
    /// `g.trackingSeq` (one byte)
    pub tracking_seq: u32,
    /// `g.parentGoid`; 0 if not known.
    pub parent_goid: u32,
    /// `g.sleepWhen`; 0 where it does not exist (before 1.24).
    pub sleep_when: u32,
    /// `g.sched.sp`
    pub sched_sp: u32,
    /// `net/http.persistConn.conn` (an interface: type word, data word); 0 if
    /// not known.
    pub persist_conn_conn: u32,
    /// 1 if each system call moves `trackingSeq` (up to Go 1.25).
    pub counts_syscalls: u8,
    /// Zero.
    pub _pad: [u8; 7],
    /// [`GoWait`] by the runtime's number.
    pub reasons: [u8; GO_REASONS],
}

impl GoLayout {
    /// A layout of which nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            gcwaiting_at: 0,
            g_tls_offset: 0,
            goid: 0,
            wait_reason: 0,
            tracking_seq: 0,
            parent_goid: 0,
            sleep_when: 0,
            sched_sp: 0,
            persist_conn_conn: 0,
            counts_syscalls: 0,
            _pad: [0; 7],
            reasons: [0; GO_REASONS],
        }
    }
}

impl Default for GoLayout {
    fn default() -> Self {
        Self::new()
    }
}
