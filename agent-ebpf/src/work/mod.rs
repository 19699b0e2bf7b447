//! The engine's hands: feeds `agent_common::work` with what the hooks see.
//!
//! Apart from the probes, because a point on a thread's line comes from several
//! of them: a read, a write, a switch. A thread's [`Line`] lies in its task
//! storage; a goroutine that leaves its thread with a request open gets a
//! [`Parked`] in a hash map, and loses it when its request is over.
//!
//! What the probes call are global functions: the verifier takes each by
//! itself, once, for any arguments, not again on each of the hundreds of ways
//! through a probe that lead to it.

mod busy;
mod call;
mod culprit;
mod io;
mod open;
mod switch;

use agent_common::conn::Conn;
use agent_common::go::GoLayout;
use agent_common::parts::UnitKind;
use agent_common::policy::watched_slot;
use agent_common::stats::Loss;
use agent_common::work::{Goroutine, Goroutines, Line, NOT_OPEN, Parked, unit};

use crate::filter::{self, TaskState};
use crate::kernel::go;
use crate::kernel::task::Task;
use crate::maps::{GO_LAYOUTS, PARKED, PARKED_OF};
use crate::{atomic, stats};

pub(crate) use call::{Called, announces, answered};
pub(crate) use culprit::note;
pub(crate) use io::{
    work_answers, work_begins, work_calls, work_connects, work_ends, work_receives, work_replies,
    work_seen,
};
pub(crate) use open::OpenRequest;
pub(crate) use switch::{enter, leave};

/// The layout of the program that a thread runs, if it is Go and known.
#[inline(always)]
pub(crate) fn layout(state: &TaskState) -> Option<&'static GoLayout> {
    if state.go_layout == 0 {
        return None;
    }
    // SAFETY: a map value; the agent writes an entry before it is named.
    unsafe { GO_LAYOUTS.get_ptr(u32::from(state.go_layout) - 1).map(|layout| &*layout) }
}

/// Forgets what a line says of a time before switches went unseen.
#[inline(always)]
fn renew(line: &mut Line) {
    let epoch = filter::epoch();
    if line.epoch != epoch {
        line.epoch = epoch;
        line.open = NOT_OPEN;
        line.owner = 0;
    }
}

/// Reads which goroutine the current thread runs, into its state: before
/// anything is done with its line.
#[inline(always)]
pub(crate) fn look(task: Task, state: &mut TaskState) {
    work_look(state, task.thread_pointer());
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn work_look(state: *mut TaskState, thread_pointer: u64) -> i32 {
    // SAFETY: the caller's, checked for null as the verifier asks for.
    let Some(state) = (unsafe { state.as_mut() }) else {
        return 0;
    };
    renew(&mut state.line);
    state.goroutine = match layout(state) {
        Some(layout) => go::current(thread_pointer, layout),
        None => Goroutine::NONE,
    };
    0
}

/// One key for a goroutine of a process: ids are given out one by one, and
/// below 2^40 for longer than a process lives.
#[inline(always)]
fn key(tgid: u32, goid: u64) -> u64 {
    (u64::from(tgid) << 40) | (goid & ((1 << 40) - 1))
}

/// Whether a process has goroutines that left their thread with a request
/// open. Slots are shared; it may say yes for another's.
#[inline(always)]
pub(crate) fn has_parked(tgid: u32) -> bool {
    // SAFETY: a map value; volatile because other CPUs add to it.
    PARKED_OF.get_ptr(watched_slot(tgid)).is_some_and(|slot| unsafe { slot.read_volatile() } != 0)
}

#[inline(always)]
fn parked(tgid: u32, goid: u64) -> Option<&'static mut Parked> {
    // SAFETY: a map value; what runs at the same time on another CPU adds to
    // other fields, or is cut off when the sum is closed.
    PARKED.get_ptr_mut(key(tgid, goid)).map(|parked| unsafe { &mut *parked })
}

/// The state of a goroutine that left its thread, for its request that was
/// read at `request_ns`; made if there is none. `None` if a later one of its
/// requests is open: what is known of this one came too late.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would lie on the stack, which has no room for it"
)]
#[inline(always)]
pub(crate) fn park_room(tgid: u32, goid: u64, request_ns: u64) -> Option<&'static mut Parked> {
    if let Some(known) = parked(tgid, goid) {
        if known.request_ns < request_ns {
            *known = Parked::new();
            known.request_ns = request_ns;
        }
        return if known.request_ns == request_ns { Some(known) } else { None };
    }
    static EMPTY: Parked = Parked::new();
    if PARKED.insert(key(tgid, goid), &EMPTY, 0).is_err() {
        stats::lose(Loss::Parked);
        return None;
    }
    if let Some(slot) = PARKED_OF.get_ptr_mut(watched_slot(tgid)) {
        // SAFETY: a map value.
        unsafe { atomic::add(slot, 1) };
    }
    let made = parked(tgid, goid)?;
    made.request_ns = request_ns;
    Some(made)
}

/// Forgets a goroutine that left its thread, if it did.
#[inline(always)]
pub(crate) fn unpark(tgid: u32, goid: u64) {
    if PARKED.remove(key(tgid, goid)).is_ok()
        && let Some(slot) = PARKED_OF.get_ptr_mut(watched_slot(tgid))
    {
        // SAFETY: a map value. Adding all ones takes one away.
        unsafe { atomic::add(slot, u64::MAX) };
    }
}

/// The current thread was found running by the clock.
#[inline(always)]
pub(crate) fn sampled(task: Task, state: &mut TaskState) {
    let tgid = task.tgid();
    look(task, state);
    let (line, goroutine) = (&mut state.line, &state.goroutine);
    if goroutine.id == 0 {
        return;
    }
    open::sample(tgid, goroutine.id);
    match parked(tgid, goroutine.id) {
        Some(parked) if parked.parked_ns != 0 => {
            parked.samples = parked.samples.wrapping_add(1);
        }
        _ if line.owner == goroutine.id && line.open != NOT_OPEN => {
            line.samples = line.samples.wrapping_add(1);
        }
        _ => {}
    }
}

/// A request is over, on whatever thread that is seen: nothing is kept of what
/// waited for it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn work_over(conn: *const Conn) -> i32 {
    // SAFETY: the caller's, checked for null as the verifier asks for.
    let Some(conn) = (unsafe { conn.as_ref() }) else {
        return 0;
    };
    let goid = if conn.parts.unit == UnitKind::Goroutine as u8 {
        open::ends(conn.tgid, conn.goid);
        conn.goid
    } else if conn.parts.unit != UnitKind::None as u8 {
        // A thread too: it may have turned out to be a loop meanwhile.
        unit(conn.id)
    } else {
        return 0;
    };
    if has_parked(conn.tgid) {
        unpark(conn.tgid, goid);
    }
    0
}

/// The goroutines of a process.
pub(crate) struct Process {
    pub(crate) tgid: u32,
}

impl Goroutines for Process {
    #[inline(always)]
    fn has_parked(&self) -> bool {
        has_parked(self.tgid)
    }

    #[inline(always)]
    fn parked(&mut self, goid: u64) -> Option<&mut Parked> {
        parked(self.tgid, goid)
    }

    #[inline(always)]
    fn room(&mut self, goid: u64, request_ns: u64) -> Option<&mut Parked> {
        if open::is_over(self.tgid, goid, request_ns) {
            return None;
        }
        park_room(self.tgid, goid, request_ns)
    }

    #[inline(always)]
    fn forget(&mut self, goid: u64) {
        unpark(self.tgid, goid);
    }

    #[inline(always)]
    fn open_request(&self, goid: u64) -> u64 {
        open::of(self.tgid, goid)
    }

    #[inline(always)]
    fn take_samples(&mut self, goid: u64) -> u16 {
        open::take_samples(self.tgid, goid)
    }

    #[inline(always)]
    fn busy_ns(&self, now_ns: u64) -> u64 {
        busy::until(self.tgid, now_ns)
    }
}
