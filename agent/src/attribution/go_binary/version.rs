//! Versions of Go, and the runtime's layout in each that is known.
//!
//! Separate because it is a table: what was read in the runtime's source and in
//! debug information, release by release. x86-64 only.

use std::fmt;

use super::reasons::Reasons;

/// Version of the Go toolchain, as `runtime.Version` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoVersion {
    text: String,
    minor: Option<u16>,
}

/// Characters of a version that are kept; releases have about eight.
const MAX_VERSION_CHARS: usize = 64;

/// The newest minor release whose layout is in the table.
const NEWEST_KNOWN: u16 = 27;

impl GoVersion {
    /// `go1.26.8`, `go1.22rc1`, `go1.24.3 X:boringcrypto`, `devel go1.27-...`.
    pub(super) fn parse(text: &str) -> Self {
        let text: String =
            text.chars().filter(|char| !char.is_control()).take(MAX_VERSION_CHARS).collect();
        let minor = text.strip_prefix("go1.").and_then(|rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            // A snapshot between releases may have either's layout.
            if rest.contains("-devel") { None } else { rest.get(..digits)?.parse().ok() }
        });
        Self { text, minor }
    }

    /// The minor release (26 for `go1.26.8`); `None` if it is not a release.
    #[must_use]
    pub fn minor(&self) -> Option<u16> {
        self.minor
    }

    /// Whether it is a release that is newer than the table.
    pub(super) fn is_newer_than_known(&self) -> bool {
        self.minor.is_some_and(|minor| minor > NEWEST_KNOWN)
    }

    /// The layout of this release's runtime, if it is in the table.
    pub(super) fn known(&self) -> Option<Known> {
        let minor = self.minor?;
        let (goid, wait_reason, tracking_seq, parent_goid, sleep_when, gcwaiting) = match minor {
            21 => (152, 176, 188, 272, 0, 232),
            22 => (152, 176, 191, 272, 0, 232),
            // `syscallbp` came before `goid`.
            23 => (160, 184, 199, 280, 0, 232),
            24 => (160, 184, 199, 280, 368, 232),
            // `gobuf.ret` went.
            25 => (152, 176, 191, 272, 360, 248),
            26 | 27 => (152, 176, 191, 280, 368, 264),
            _ => return None,
        };
        let reasons = match minor {
            21..=23 => Reasons::of_texts(&[UNTIL_SLEEP_OLD, SYNC, SINCE_TRACE]),
            24 => Reasons::of_texts(&[UNTIL_SLEEP_OLD, SYNC, WAIT_GROUP, SINCE_TRACE]),
            25 => Reasons::of_texts(&[UNTIL_SLEEP_25, SYNC, WAIT_GROUP, SINCE_TRACE]),
            _ => Reasons::of_texts(&[UNTIL_SLEEP_26, SYNC, WAIT_GROUP, SINCE_TRACE]),
        };
        let fields = Fields {
            goid,
            wait_reason,
            tracking_seq,
            parent_goid,
            sleep_when,
            sched: SCHED,
            gcwaiting,
            persist_conn_conn: PERSIST_CONN_CONN,
        };
        Some(Known { fields, reasons })
    }

    /// Whether each system call moves `g.trackingSeq`: `entersyscall` counts
    /// as leaving up to Go 1.25.
    pub(super) fn counts_syscalls(&self) -> bool {
        self.minor.is_some_and(|minor| minor < 26)
    }
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A release of which the layout is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) fields: Fields,
    pub(super) reasons: Reasons,
}

/// Offsets of fields in their structures, bytes; 0 if not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// `g.goid`
    pub(super) goid: u32,
    /// `g.waitreason`
    pub(super) wait_reason: u32,
    /// `g.trackingSeq`
    pub(super) tracking_seq: u32,
    /// `g.parentGoid`
    pub(super) parent_goid: u32,
    /// `g.sleepWhen`
    pub(super) sleep_when: u32,
    /// `g.sched`, which begins with `sp`.
    pub(super) sched: u32,
    /// `schedt.gcwaiting`
    pub(super) gcwaiting: u32,
    /// `net/http.persistConn.conn`
    pub(super) persist_conn_conn: u32,
}

impl Fields {
    /// Each number, in the order of declaration.
    const fn all(&self) -> [u32; 8] {
        [
            self.goid,
            self.wait_reason,
            self.tracking_seq,
            self.parent_goid,
            self.sleep_when,
            self.sched,
            self.gcwaiting,
            self.persist_conn_conn,
        ]
    }

    /// Whether no number that both know is another.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let pairs = self.all().into_iter().zip(other.all());
        pairs.into_iter().all(|(own, other)| own == 0 || other == 0 || own == other)
    }

    /// What this does not know, as the other has it.
    pub(super) fn or(self, other: Self) -> Self {
        let or = |own, other| if own == 0 { other } else { own };
        Self {
            goid: or(self.goid, other.goid),
            wait_reason: or(self.wait_reason, other.wait_reason),
            tracking_seq: or(self.tracking_seq, other.tracking_seq),
            parent_goid: or(self.parent_goid, other.parent_goid),
            sleep_when: or(self.sleep_when, other.sleep_when),
            sched: or(self.sched, other.sched),
            gcwaiting: or(self.gcwaiting, other.gcwaiting),
            persist_conn_conn: or(self.persist_conn_conn, other.persist_conn_conn),
        }
    }

    /// Whether what the kernel programs cannot do without is known and lies in
    /// a `g` of a believable size.
    pub(super) fn is_enough(&self) -> bool {
        const MAX_G_BYTES: u32 = 1024;
        let [goid, wait_reason, tracking_seq, parent_goid, sleep_when, sched, ..] = self.all();
        let needed = [goid, wait_reason, tracking_seq, sched];
        needed.iter().all(|offset| *offset != 0)
            && [goid, wait_reason, tracking_seq, parent_goid, sleep_when, sched]
                .iter()
                .all(|offset| *offset < MAX_G_BYTES)
            && [goid, parent_goid, sleep_when, sched].iter().all(|offset| offset % 8 == 0)
    }
}

/// `g.sched`, whose first field is `sp`: after the stack's bounds, two guards
/// and three pointers, in every release.
const SCHED: u32 = 56;

/// `persistConn.conn`: after an interface, a pointer and a key of three
/// strings and a flag, in every release.
const PERSIST_CONN_CONN: u32 = 80;

/// `waitReason` up to "sleep" in Go 1.21 to 1.24.
const UNTIL_SLEEP_OLD: &[&str] = &[
    "",
    "GC assist marking",
    "IO wait",
    "chan receive (nil chan)",
    "chan send (nil chan)",
    "dumping heap",
    "garbage collection",
    "garbage collection scan",
    "panicwait",
    "select",
    "select (no cases)",
    "GC assist wait",
    "GC sweep wait",
    "GC scavenge wait",
    "chan receive",
    "chan send",
    "finalizer wait",
    "force gc (idle)",
    "semacquire",
    "sleep",
];

/// The same in Go 1.25, which updates `GOMAXPROCS`.
const UNTIL_SLEEP_25: &[&str] = &[
    "",
    "GC assist marking",
    "IO wait",
    "chan receive (nil chan)",
    "chan send (nil chan)",
    "dumping heap",
    "garbage collection",
    "garbage collection scan",
    "panicwait",
    "select",
    "select (no cases)",
    "GC assist wait",
    "GC sweep wait",
    "GC scavenge wait",
    "chan receive",
    "chan send",
    "finalizer wait",
    "force gc (idle)",
    "GOMAXPROCS updater (idle)",
    "semacquire",
    "sleep",
];

/// The same in Go 1.26, in another order, and the channel reasons after it.
const UNTIL_SLEEP_26: &[&str] = &[
    "",
    "GC assist marking",
    "IO wait",
    "dumping heap",
    "garbage collection",
    "garbage collection scan",
    "panicwait",
    "GC assist wait",
    "GC sweep wait",
    "GC scavenge wait",
    "finalizer wait",
    "force gc (idle)",
    "GOMAXPROCS updater (idle)",
    "semacquire",
    "sleep",
    "chan receive (nil chan)",
    "chan send (nil chan)",
    "select (no cases)",
    "select",
    "chan receive",
    "chan send",
];

/// What follows "sleep" or "chan send".
const SYNC: &[&str] =
    &["sync.Cond.Wait", "sync.Mutex.Lock", "sync.RWMutex.RLock", "sync.RWMutex.Lock"];

/// Since Go 1.24.
const WAIT_GROUP: &[&str] = &["sync.WaitGroup.Wait"];

/// The rest, which newer releases have more of, at the end.
const SINCE_TRACE: &[&str] = &[
    "trace reader (blocked)",
    "wait for GC cycle",
    "GC worker (idle)",
    "GC worker (active)",
    "preempted",
    "debug call",
    "GC mark termination",
    "stopping the world",
    "flushing proc caches",
    "trace goroutine status",
    "trace proc status",
    "page trace flush",
    "coroutine",
    "GC weak to strong wait",
    "synctest.Run",
    "synctest.Wait",
    "chan receive (durable)",
    "chan send (durable)",
    "select (durable)",
    "sync.WaitGroup.Wait (durable)",
    "cleanup wait",
];
