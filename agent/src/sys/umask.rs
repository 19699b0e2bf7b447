//! The mode that new files get.
//!
//! Separate because the mask belongs to the whole process: a socket must have
//! its mode from its first moment on, and only here can that be had.

/// Does `make` while files that it makes have none of the bits in `mask`.
///
/// Other threads are under the mask as well, so call it while there are none.
pub fn with_umask<T>(mask: u32, make: impl FnOnce() -> T) -> T {
    // SAFETY: takes any number and cannot fail.
    let before = unsafe { libc::umask(mask) };
    let made = make();
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    made
}
