//! Typed readers of kernel structures: the only place that knows offsets.
//!
//! A field is read by a direct volatile load at an offset from a frozen
//! global. The verifier folds the offset into the load and checks it against
//! the kernel's own types, so a wrong offset is refused at load time.

pub(crate) mod arch;
pub(crate) mod cgroup;
pub(crate) mod file;
pub(crate) mod go;
pub(crate) mod sock;
pub(crate) mod task;

use aya_ebpf::Global;

/// Reads a field of type `T`.
///
/// # Safety
///
/// `base` is a kernel pointer that the verifier tracks, or null-checked map
/// memory; the offset is that of a field of this size.
#[inline(always)]
pub(crate) unsafe fn field<T: Copy, S>(base: *const S, offset: &Global<u32>) -> T {
    // SAFETY: the caller's promise, proved again by the verifier. Volatile so
    // that loads are neither merged nor moved above null checks.
    unsafe { core::ptr::read_volatile(base.cast::<u8>().add(offset.load() as usize).cast::<T>()) }
}
