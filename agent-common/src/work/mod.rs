//! The engine: which part each moment of a request belongs to.
//!
//! Pure, and shared: the kernel programs keep a [`Line`] per thread and a
//! [`Parked`] per goroutine that left its thread with a request open, and feed
//! them what they see; every step is a constant number of additions. The same
//! functions run in tests against made-up and recorded histories.
//!
//! The evidence is a line of *points* per thread: moments at which it is known
//! whose work the thread does (a socket call, a switch, a sample). Between two
//! points of one work on one thread that never stopped, all is known. Where it
//! stopped, the first point of another work on the thread that it left bounds
//! the park, and the last one on the thread that it came back on bounds the
//! resume. What lies beyond a bound is not guessed: it becomes `zone_ns`, which
//! is part of what is unattributed.

mod busy;
mod goroutine;
mod line;
mod parked;
mod request;
mod runs;
mod turn;

pub use busy::Busy;
pub use goroutine::{Goroutine, Goroutines, Why, claim, leaves, left_last, point};
pub use line::{ANSWERED, Line, NOT_OPEN, OFFS, Off, Run, UNANSWERED};
pub use parked::{Parked, Resume, Stop, WHY_RECEIVED, WHY_REPLIED, WHY_SENT};
pub use request::{Worker, answers, begins, ends, receives};
pub use runs::{LONG_RUN_NS, LongRun, RUNS, Runs};
pub use turn::unit;

use crate::parts::Part;
use crate::record::request::RequestParts;

/// A run whose begin or end is known no better than this is not counted as
/// run: another goroutine may have had the thread, nanoseconds.
pub const TIGHT_NS: u64 = 100_000;

/// A wait for a CPU that is worth a name, nanoseconds.
pub const CULPRIT_NS: u64 = 500_000;

/// Adds to a part.
#[inline(always)]
pub fn add(parts: &mut RequestParts, part: Part, ns: u64) {
    let index = part as usize;
    if index < parts.ns.len() {
        parts.ns[index] += ns;
    }
}

/// Adds to a part what is only estimated.
#[inline(always)]
pub fn estimate(parts: &mut RequestParts, part: Part, ns: u64) {
    if ns != 0 {
        parts.estimated |= part.bit();
        add(parts, part, ns);
    }
}

/// Adds all of `from`.
#[inline(always)]
pub fn merge(parts: &mut RequestParts, from: &RequestParts) {
    let mut i = 0;
    while i < parts.ns.len() {
        parts.ns[i] += from.ns[i];
        i += 1;
    }
    parts.zone_ns += from.zone_ns;
    parts.estimated |= from.estimated;
    parts.stops = parts.stops.wrapping_add(from.stops);
    parts.samples = parts.samples.wrapping_add(from.samples);
    parts.calls = parts.calls.wrapping_add(from.calls);
    if from.runqueue_worst_ns > parts.runqueue_worst_ns {
        parts.runqueue_worst_ns = from.runqueue_worst_ns;
        parts.culprit_tgid = from.culprit_tgid;
        parts.culprit_comm = from.culprit_comm;
    }
    if from.wait_worst_ns > parts.wait_worst_ns {
        parts.wait_worst_ns = from.wait_worst_ns;
        parts.wait_reason = from.wait_reason;
    }
}

#[cfg(test)]
mod tests;
