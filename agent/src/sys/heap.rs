//! The heap: what was freed is given back to the kernel.

/// Gives back what the allocator keeps of freed memory. It keeps nearly all: a
/// heap shrinks from its end only, and something small is always there. Takes
/// a millisecond or two where there is much to give, else some tens of
/// microseconds. Where the C library is not glibc nothing happens.
pub fn give_back() {
    // SAFETY: it has no preconditions, and frees nothing that is in use.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
