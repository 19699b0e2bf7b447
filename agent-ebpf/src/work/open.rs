//! Which goroutines have a request open: three stores a request, so that one
//! which came to a thread unseen can be told there, and how often the clock found
//! it running meanwhile.

use agent_common::limits::OPEN_SLOTS;

use super::key;
use crate::maps::OPEN;

/// Value of `OPEN`.
#[repr(C)]
pub(crate) struct OpenRequest {
    /// The goroutine, see [`key`]; 0 if none.
    goroutine: u64,
    /// When its request was read; 0 once that is over.
    request_ns: u64,
    /// Samples that found it running since it was last booked.
    samples: u64,
}

/// Spreads the ids of one process, which follow each other, and processes.
#[inline(always)]
fn slot(goroutine: u64) -> u32 {
    (goroutine ^ (goroutine >> 37)) as u32 & (OPEN_SLOTS - 1)
}

/// A goroutine has read a request.
#[inline(always)]
pub(super) fn begins(tgid: u32, goid: u64, request_ns: u64) {
    let goroutine = key(tgid, goid);
    if let Some(open) = OPEN.get_ptr_mut(slot(goroutine)) {
        // SAFETY: a map value; torn by another CPU, it is of neither.
        unsafe { open.write(OpenRequest { goroutine, request_ns, samples: 0 }) };
    }
}

/// Its request is over.
#[inline(always)]
pub(super) fn ends(tgid: u32, goid: u64) {
    let goroutine = key(tgid, goid);
    if let Some(open) = OPEN.get_ptr_mut(slot(goroutine)) {
        // SAFETY: a map value.
        unsafe {
            if (*open).goroutine == goroutine {
                (*open).request_ns = 0;
            }
        }
    }
}

/// Whether a goroutine's request that was read at `request_ns` is known to be
/// over. Its thread may not have been told: another closed the connection, or
/// this one did and sleeps, as Go's server does after a last response.
#[inline(always)]
pub(super) fn is_over(tgid: u32, goid: u64, request_ns: u64) -> bool {
    let goroutine = key(tgid, goid);
    // SAFETY: a map value.
    OPEN.get_ptr(slot(goroutine)).is_some_and(|open| unsafe {
        (*open).goroutine == goroutine && (*open).request_ns != request_ns
    })
}

/// When the request was read that a goroutine has open; 0 if none is known.
#[inline(always)]
pub(super) fn of(tgid: u32, goid: u64) -> u64 {
    let goroutine = key(tgid, goid);
    // SAFETY: a map value.
    OPEN.get_ptr(slot(goroutine)).map_or(0, |open| unsafe {
        if (*open).goroutine == goroutine { (*open).request_ns } else { 0 }
    })
}

/// The clock found a goroutine running.
#[inline(always)]
pub(super) fn sample(tgid: u32, goid: u64) {
    let goroutine = key(tgid, goid);
    if let Some(open) = OPEN.get_ptr_mut(slot(goroutine)) {
        // SAFETY: a map value.
        unsafe {
            if (*open).goroutine == goroutine {
                (*open).samples += 1;
            }
        }
    }
}

/// Samples since this was asked last.
#[inline(always)]
pub(super) fn take_samples(tgid: u32, goid: u64) -> u16 {
    let goroutine = key(tgid, goid);
    // SAFETY: a map value.
    OPEN.get_ptr_mut(slot(goroutine)).map_or(0, |open| unsafe {
        if (*open).goroutine != goroutine || (*open).samples == 0 {
            return 0;
        }
        let samples = (*open).samples as u16;
        (*open).samples = 0;
        samples
    })
}
