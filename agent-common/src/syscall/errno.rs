//! How a system call ended, and the slot that its error number is counted in.
//!
//! There are 133 error numbers and a label for each would cost more than it
//! tells: the common ones have a slot each, the rest share the last.

use crate::counter::syscalls::ERRNO_SLOTS;

/// Slot of error numbers that have none of their own.
pub const ERRNO_OTHER: u8 = ERRNO_SLOTS as u8 - 1;

/// Error numbers with a slot of their own, in order of the slots, with their
/// names (include/uapi/asm-generic/errno*.h).
pub const ERRNOS: [(u8, &str); ERRNO_SLOTS - 1] = [
    (1, "EPERM"),
    (2, "ENOENT"),
    (3, "ESRCH"),
    (4, "EINTR"),
    (5, "EIO"),
    (9, "EBADF"),
    (10, "ECHILD"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (20, "ENOTDIR"),
    (22, "EINVAL"),
    (24, "EMFILE"),
    (25, "ENOTTY"),
    (28, "ENOSPC"),
    (29, "ESPIPE"),
    (30, "EROFS"),
    (32, "EPIPE"),
    (38, "ENOSYS"),
    (95, "EOPNOTSUPP"),
    (98, "EADDRINUSE"),
    (99, "EADDRNOTAVAIL"),
    (103, "ECONNABORTED"),
    (104, "ECONNRESET"),
    (107, "ENOTCONN"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (115, "EINPROGRESS"),
];

/// Numbers that have a place in [`SLOT_OF_ERRNO`]; a power of two, so that an
/// index can be masked.
const NUMBERS: usize = 128;

/// Slot by error number.
pub static SLOT_OF_ERRNO: [u8; NUMBERS] = slots();

const fn slots() -> [u8; NUMBERS] {
    let mut table = [ERRNO_OTHER; NUMBERS];
    let mut i = 0;
    while i < ERRNOS.len() {
        table[ERRNOS[i].0 as usize] = i as u8;
        i += 1;
    }
    table
}

/// The value of the `errno` label of a slot.
#[must_use]
pub const fn errno_name(slot: usize) -> &'static str {
    if slot < ERRNOS.len() { ERRNOS[slot].1 } else { "_other" }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was asked for.
    Done,
    /// It failed; the slot of its error number.
    Failed(u8),
}

/// Highest error number that a call can return.
const MAX_ERRNO: i64 = 4095;
/// `ERESTARTSYS` to `ERESTART_RESTARTBLOCK` (include/linux/errno.h): a signal
/// broke the call off. The process sees `EINTR`, or nothing if it is restarted.
const RESTARTS: core::ops::RangeInclusive<i64> = 512..=516;
/// `EINTR`
const EINTR: usize = 4;

/// How the call with this return value ended.
#[inline(always)]
#[must_use]
pub fn outcome(result: i64) -> Outcome {
    if !(-MAX_ERRNO..0).contains(&result) {
        return Outcome::Done;
    }
    let errno = -result;
    if RESTARTS.contains(&errno) {
        return Outcome::Failed(SLOT_OF_ERRNO[EINTR]);
    }
    if errno >= NUMBERS as i64 {
        return Outcome::Failed(ERRNO_OTHER);
    }
    Outcome::Failed(SLOT_OF_ERRNO[errno as usize & (NUMBERS - 1)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name_of(result: i64) -> Option<&'static str> {
        match outcome(result) {
            Outcome::Done => None,
            Outcome::Failed(slot) => Some(errno_name(usize::from(slot))),
        }
    }

    #[test]
    fn errors_are_counted_by_name() {
        assert_eq!(name_of(0), None);
        assert_eq!(name_of(5), None);
        assert_eq!(name_of(-11), Some("EAGAIN"));
        assert_eq!(name_of(-1), Some("EPERM"));
        assert_eq!(name_of(-115), Some("EINPROGRESS"));
        assert_eq!(name_of(-133), Some("_other"));
        assert_eq!(name_of(-40), Some("_other"));
        assert_eq!(name_of(-4095), Some("_other"));
    }

    #[test]
    fn calls_that_a_signal_broke_off_are_eintr() {
        for restart in 512..=516 {
            assert_eq!(name_of(-restart), Some("EINTR"));
        }
        assert_eq!(name_of(-511), Some("_other"));
        assert_eq!(name_of(-517), Some("_other"));
    }

    #[test]
    fn addresses_are_not_errors() {
        assert_eq!(name_of(-4096), None);
        assert_eq!(name_of(i64::MIN), None);
        assert_eq!(name_of(i64::MAX), None);
    }

    #[test]
    fn slots_are_in_order_of_their_numbers() {
        assert!(ERRNOS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    proptest! {
        #[test]
        fn every_result_has_an_outcome_within_the_slots(result in any::<i64>()) {
            if let Outcome::Failed(slot) = outcome(result) {
                prop_assert!(usize::from(slot) < ERRNO_SLOTS);
                prop_assert!((-4095..0).contains(&result));
            }
        }
    }
}
