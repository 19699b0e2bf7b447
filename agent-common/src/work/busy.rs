//! How long the threads of a process ran, all together.
//!
//! Kept because it bounds what cannot be seen: a goroutine that is not known to
//! have waited from one moment to another can have run in between for no longer
//! than all threads of its process did.

/// Run time of the threads of a process, or of a few processes that share a
/// slot. Each field is added to atomically.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Busy {
    /// Of stretches on a CPU that are over, nanoseconds.
    pub done_ns: u64,
    /// Threads that run.
    pub running: u64,
    /// When they began to, summed (wraps), nanoseconds.
    pub since_ns: u64,
}

impl Busy {
    /// Run time until `now_ns`. Two readings may be off by what changed while
    /// they were made: by one thread's stretch, at most.
    #[inline(always)]
    #[must_use]
    pub const fn at(&self, now_ns: u64) -> u64 {
        let running_ns = self.running.wrapping_mul(now_ns).wrapping_sub(self.since_ns);
        self.done_ns.wrapping_add(running_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_one_second_a_second_and_running_thread() {
        let mut busy = Busy { running: 2, since_ns: 100 + 300, done_ns: 0 };
        assert_eq!(busy.at(1_000), 900 + 700);
        busy.done_ns += 1_000 - 100;
        busy.running -= 1;
        busy.since_ns -= 100;
        assert_eq!(busy.at(1_000), 900 + 700);
        assert_eq!(busy.at(2_000), 900 + 1_700);
    }
}
