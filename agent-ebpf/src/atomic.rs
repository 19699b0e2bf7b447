//! Adding to memory that other CPUs add to.
//!
//! The BPF target has no `fetch_add`: its atomics that return a value need a
//! newer instruction set than the oldest kernel here. This is the plain locked
//! addition that every kernel accepts.

use core::arch::asm;

/// `*target += value`, atomically.
///
/// # Safety
///
/// `target` points to a `u64` in a map value.
#[inline(always)]
pub(crate) unsafe fn add(target: *mut u64, value: u64) {
    // SAFETY: the caller's promise; the verifier checks the bounds again.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) target, in(reg) value) }
}
