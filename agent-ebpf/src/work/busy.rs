//! Run time of a Go process's threads, see `agent_common::work::Busy`.

use agent_common::policy::watched_slot;
use agent_common::work::{Busy, Line};

use crate::maps::BUSY;
use crate::{atomic, filter};

/// The epoch as one byte that is not 0.
#[inline(always)]
fn epoch() -> u8 {
    filter::epoch() as u8 | 0x80
}

/// A thread gets the CPU.
#[inline(always)]
pub(super) fn begins(line: &mut Line, tgid: u32, now_ns: u64) {
    line.counted = epoch();
    add(tgid, 0, 1, now_ns);
}

/// A thread leaves the CPU that got it at `line.in_ns`.
#[inline(always)]
pub(super) fn ends(line: &mut Line, tgid: u32, now_ns: u64) {
    let counted = line.counted;
    line.counted = 0;
    // What is left of another epoch was wiped.
    if counted == epoch() {
        let ran_ns = now_ns.saturating_sub(line.in_ns);
        add(tgid, ran_ns, u64::MAX, line.in_ns.wrapping_neg());
    }
}

#[inline(always)]
fn add(tgid: u32, done_ns: u64, running: u64, since_ns: u64) {
    if let Some(busy) = BUSY.get_ptr_mut(watched_slot(tgid)) {
        // SAFETY: a map value.
        unsafe {
            if done_ns != 0 {
                atomic::add(&raw mut (*busy).done_ns, done_ns);
            }
            atomic::add(&raw mut (*busy).running, running);
            atomic::add(&raw mut (*busy).since_ns, since_ns);
        }
    }
}

/// Run time until now.
#[inline(always)]
pub(super) fn until(tgid: u32, now_ns: u64) -> u64 {
    let Some(busy) = BUSY.get_ptr(watched_slot(tgid)) else {
        return 0;
    };
    // SAFETY: a map value; volatile because other CPUs add to it.
    unsafe {
        let busy = Busy {
            done_ns: (&raw const (*busy).done_ns).read_volatile(),
            running: (&raw const (*busy).running).read_volatile(),
            since_ns: (&raw const (*busy).since_ns).read_volatile(),
        };
        busy.at(now_ns)
    }
}
