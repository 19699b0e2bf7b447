//! The syscalls lane: time, calls and errors by class of system call.

use crate::syscall::CLASSES;

/// Slots for error numbers: the common ones by name, the last for the rest.
pub const ERRNO_SLOTS: usize = 32;

/// One class of system calls.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ClassCounters {
    /// Nanoseconds between entry and exit.
    pub time_ns: u64,
    /// Calls that returned.
    pub calls: u64,
    /// Calls that failed, by slot of their error number.
    pub errors: [u64; ERRNO_SLOTS],
}

/// Per service.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SyscallCounters {
    /// By [`crate::syscall::Class`].
    pub classes: [ClassCounters; CLASSES],
}
