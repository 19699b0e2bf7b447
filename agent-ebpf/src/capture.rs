//! Points of the services that somebody captures; nothing while nobody does.
//!
//! Apart from the engine, which keeps only what requests need: here every
//! switch and system call of a captured thread goes to the ring, for some
//! seconds. A thread knows from its verdict whether it is captured, so that
//! whoever is not pays for a look at a byte that is there anyway. Points leave
//! half of the ring to requests: beyond that they are lost, and counted.

use agent_common::policy::Control;
use agent_common::record::RecordKind;
use agent_common::record::point::{NO_CALL, PointKind, PointRecord};
use agent_common::stats::Loss;
use agent_common::work::Goroutine;

use crate::filter::TaskState;
use crate::kernel::arch::Registers;
use crate::kernel::go;
use crate::kernel::task::Task;
use crate::maps::{CAPTURED, CONTROL};
use crate::{emit, stats, work};

/// Whether a service is captured now.
#[inline(always)]
pub(crate) fn has(service: u16) -> bool {
    // SAFETY: a map value; volatile because the agent writes it.
    is_on()
        && CAPTURED
            .get_ptr(u32::from(service >> 6))
            .is_some_and(|word| unsafe { word.read_volatile() } >> (service & 63) & 1 != 0)
}

#[inline(always)]
fn is_on() -> bool {
    // SAFETY: a map value; volatile because the agent writes it.
    CONTROL.get_ptr(0).is_some_and(|control: *const Control| unsafe {
        core::ptr::read_volatile(&raw const (*control).is_capturing) != 0
    })
}

/// A captured thread left the CPU, for the reason of the wait code `wait`.
#[inline(always)]
pub(crate) fn left(task: Task, state: &mut TaskState, wait: u8, now_ns: u64) {
    let since_ns = state.line.ready_ns;
    let nr = number(Registers::of(task).syscall());
    emit(task, state, head(PointKind::Left, wait.wrapping_sub(1), nr), now_ns, since_ns);
}

/// A system call of the current thread, a captured one, is over.
#[inline(always)]
pub(crate) fn called(task: Task, state: &mut TaskState, now_ns: u64) {
    let since_ns = state.syscall_ns;
    let nr = number(i64::from(state.syscall));
    emit(task, state, head(PointKind::Call, 0, nr), now_ns, since_ns);
}

/// The current thread read or wrote. Said only where the end of the system call
/// will not say it.
#[inline(always)]
pub(crate) fn socket(task: Task, state: &mut TaskState, now_ns: u64) {
    if state.is_captured != 0 && state.is_in_syscall == 0 {
        emit(task, state, head(PointKind::Socket, 0, NO_CALL), now_ns, 0);
    }
}

#[inline(always)]
const fn number(nr: i64) -> u16 {
    if nr >= 0 && nr < NO_CALL as i64 { nr as u16 } else { NO_CALL }
}

/// What, why and in which call, in one argument.
#[inline(always)]
const fn head(what: PointKind, off: u8, nr: u16) -> u64 {
    what as u64 | (off as u64) << 8 | (nr as u64) << 16
}

#[inline(always)]
fn emit(task: Task, state: &mut TaskState, head: u64, at_ns: u64, since_ns: u64) {
    work::look(task, state);
    let ids = u64::from(task.tgid()) << 32 | u64::from(task.tid());
    capture_point(state, ids, head, at_ns, since_ns);
}

/// A global function, see `work`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_point(
    state: *mut TaskState,
    ids: u64,
    head: u64,
    at_ns: u64,
    since_ns: u64,
) -> i32 {
    // SAFETY: the caller's, checked for null as the verifier asks for.
    let Some(state) = (unsafe { state.as_mut() }) else {
        return 0;
    };
    // The verdict may be from before its end.
    if !is_on() {
        return 0;
    }
    if emit::is_half_full() {
        stats::lose(Loss::Capture);
        return 0;
    }
    let goroutine = &state.goroutine;
    let is_left = head as u8 == PointKind::Left as u8;
    let layout =
        if is_left && goroutine.id == 0 && goroutine.at != 0 { work::layout(state) } else { None };
    let left = match layout {
        Some(layout) => go::last_left(goroutine.at, layout),
        None => Goroutine::NONE,
    };
    let Some(slot) = emit::reserve::<PointRecord>() else {
        stats::lose(Loss::Capture);
        return 0;
    };
    let record = PointRecord {
        kind: RecordKind::Point as u8,
        what: head as u8,
        off: (head >> 8) as u8,
        is_go: goroutine.is_followed,
        service: state.service,
        nr: (head >> 16) as u16,
        tgid: (ids >> 32) as u32,
        tid: ids as u32,
        at_ns,
        in_ns: state.line.in_ns,
        since_ns,
        goid: goroutine.id,
        left: left.id,
        seq: goroutine.seq,
        reason: goroutine.reason,
        left_seq: left.seq,
        left_reason: left.reason,
        left_is_waiting: left.is_waiting,
        _pad: [0; 3],
    };
    // SAFETY: the whole record is written.
    unsafe {
        slot.as_ptr().write(record);
        slot.submit();
    }
    0
}
