//! Why a thread left the CPU: the rule that gives blocked time to a part.
//!
//! Pure and apart from the probe, so that the whole rule is a table of tests.
//! It is decided as the thread is switched out, from what can be shown there,
//! and charged when the thread is woken. What cannot be shown is not counted:
//! waiting for a peer or for work (poll, accept, receive) is not the operating
//! system's doing, and a thread with no request open is idle.

use crate::counter::cpu::OffCpu;
use crate::syscall::calls::nr;
use crate::syscall::{Class, class_of};

/// Bits of a task's state (include/linux/sched.h).
pub mod state {
    /// `TASK_INTERRUPTIBLE`: sleeps until woken or signalled.
    pub const INTERRUPTIBLE: u32 = 1;
    /// `TASK_UNINTERRUPTIBLE`: sleeps until woken. How the kernel waits for
    /// storage, memory and its own locks, never for a peer or for time.
    pub const UNINTERRUPTIBLE: u32 = 2;
    /// `TASK_DEAD`: it will not run again.
    pub const DEAD: u32 = 0x80;
}

/// Stands for "in no system call" in [`Blocked::syscall`].
pub const OUTSIDE: i64 = -1;

/// A thread as it blocks.
#[derive(Clone, Copy, Debug)]
pub struct Blocked {
    /// Its state, bits of [`state`].
    pub state: u32,
    /// Number of the system call that it is in; [`OUTSIDE`], or another
    /// negative number if it is in one that is not known.
    pub syscall: i64,
    /// It waits for block I/O.
    pub is_in_iowait: bool,
    /// It waits for memory to be reclaimed or read back.
    pub is_in_memstall: bool,
    /// Its process runs Go, whose idle threads wait in futex.
    pub is_go: bool,
    /// It has read a request that is not answered yet.
    pub has_request: bool,
}

/// What the time until the thread is woken is charged to; `None` if it does
/// not count.
#[inline(always)]
#[must_use]
pub fn reason(blocked: &Blocked) -> Option<OffCpu> {
    let is_deep = blocked.state & state::UNINTERRUPTIBLE != 0;
    // Stopped, traced, frozen or dead: nobody's wait.
    if !is_deep && blocked.state & state::INTERRUPTIBLE == 0 {
        return None;
    }
    // Before what is read from a disk: a page that a fault brings in, or that
    // was given up and is wanted again, is waited for as I/O too.
    if blocked.is_in_memstall || blocked.syscall == OUTSIDE {
        // A page fault: its I/O, the memory map's lock, or reclaim; one that a
        // program serves (userfaultfd) is waited for interruptibly.
        return Some(OffCpu::Memory);
    }
    // The bit alone is not enough: a wait for io_uring completions, which is
    // where its event loops idle, sets it too.
    if is_deep && blocked.is_in_iowait {
        return Some(OffCpu::Disk);
    }
    let class = class_of(blocked.syscall);
    if is_any(class, WAITS_FOR_PEERS) {
        return None;
    }
    if is_deep && is_any(class, FILE_CALLS) {
        return Some(OffCpu::Disk);
    }
    if is_deep && class == Class::Memory as u8 {
        return Some(OffCpu::Memory);
    }
    // A socket, pipe or terminal: the peer, or nothing to do.
    if is_any(class, READS_AND_WRITES) || !blocked.has_request {
        return None;
    }
    if class != Class::Futex as u8 {
        return Some(OffCpu::Sleep);
    }
    // Go parks a thread in futex when it has nothing to run; its own locks
    // never block a thread.
    if blocked.is_go { None } else { Some(OffCpu::Lock) }
}

/// Whether the thread has turned to look for other work, so that no request is
/// open on it any more, whoever answers it: it waits for connections or in an
/// event loop, or, in Go, has nothing to run.
///
/// `poll` and `select` do not say so: clients wait for one peer in them, in
/// the middle of a request.
#[inline(always)]
#[must_use]
pub fn is_between_requests(blocked: &Blocked) -> bool {
    let class = class_of(blocked.syscall);
    let is_for_one_peer =
        matches!(blocked.syscall, nr::POLL | nr::PPOLL | nr::SELECT | nr::PSELECT6);
    class == Class::Accept as u8
        || (class == Class::Poll as u8 && !is_for_one_peer)
        || (class == Class::Futex as u8 && blocked.is_go)
}

/// Whether a thread that [`is_between_requests`] waits in an event loop.
#[inline(always)]
#[must_use]
pub fn is_event_loop(blocked: &Blocked) -> bool {
    !blocked.is_go && class_of(blocked.syscall) == Class::Poll as u8
}

/// Whether Go's runtime naps: its monitor, 50 to 50 000 times a second, or a
/// thread that looks for work. Half of a quiet process's waits are such naps;
/// they are looked at no further, and neither is the wait for a CPU after one.
#[inline(always)]
#[must_use]
pub const fn is_runtime_nap(blocked: &Blocked) -> bool {
    blocked.is_go && !blocked.has_request && blocked.syscall == nr::NANOSLEEP
}

/// Whom a thread waits for that is blocked in a call on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nobody, or it cannot be told.
    None,
    /// A peer that it connects to.
    Called,
    /// Whoever sends to it.
    Sending,
    /// Whoever takes what it sends.
    Taking,
}

/// Whom a thread waits for, by the system call that it is blocked in.
#[inline(always)]
#[must_use]
pub fn peer(syscall: i64) -> Peer {
    let class = class_of(syscall);
    if class == Class::Connect as u8 {
        return Peer::Called;
    }
    if is_any(class, bit(Class::Recv) | bit(Class::Poll) | bit(Class::Read)) {
        return Peer::Sending;
    }
    if is_any(class, bit(Class::Send) | bit(Class::Write)) { Peer::Taking } else { Peer::None }
}

/// Classes as bits.
type Classes = u32;

const fn bit(class: Class) -> Classes {
    1 << class as u32
}

const READS_AND_WRITES: Classes = bit(Class::Read) | bit(Class::Write);
const FILE_CALLS: Classes =
    READS_AND_WRITES | bit(Class::FileOpen) | bit(Class::FileMeta) | bit(Class::Sync);
const WAITS_FOR_PEERS: Classes = bit(Class::Recv)
    | bit(Class::Send)
    | bit(Class::Poll)
    | bit(Class::Accept)
    | bit(Class::Connect)
    | bit(Class::Socket);

#[inline(always)]
const fn is_any(class: u8, classes: Classes) -> bool {
    classes >> (class & 31) & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscall::calls::CALLS;
    use proptest::prelude::*;

    const S: u32 = state::INTERRUPTIBLE;
    const D: u32 = state::UNINTERRUPTIBLE;
    /// `TASK_KILLABLE`
    const K: u32 = state::UNINTERRUPTIBLE | 0x100;
    const STOPPED: u32 = 0x104;

    fn number(name: &str) -> i64 {
        CALLS.iter().find(|call| call.1 == name).map_or(OUTSIDE, |call| i64::from(call.0))
    }

    fn blocked(state: u32, call: &str) -> Blocked {
        Blocked {
            state,
            syscall: number(call),
            is_in_iowait: false,
            is_in_memstall: false,
            is_go: false,
            has_request: false,
        }
    }

    #[test]
    fn each_wait_goes_to_its_part() {
        // Call, state, without a request, with one.
        let table = [
            ("", D, Some(OffCpu::Memory), Some(OffCpu::Memory)),
            ("", S, Some(OffCpu::Memory), Some(OffCpu::Memory)),
            ("read", S, None, None),
            ("read", D, Some(OffCpu::Disk), Some(OffCpu::Disk)),
            ("write", K, Some(OffCpu::Disk), Some(OffCpu::Disk)),
            ("writev", S, None, None),
            ("openat", D, Some(OffCpu::Disk), Some(OffCpu::Disk)),
            ("openat", S, None, Some(OffCpu::Sleep)),
            ("fsync", D, Some(OffCpu::Disk), Some(OffCpu::Disk)),
            ("flock", S, None, Some(OffCpu::Sleep)),
            ("munmap", D, Some(OffCpu::Memory), Some(OffCpu::Memory)),
            ("futex", S, None, Some(OffCpu::Lock)),
            ("futex_wait", S, None, Some(OffCpu::Lock)),
            ("nanosleep", S, None, Some(OffCpu::Sleep)),
            ("clock_nanosleep", S, None, Some(OffCpu::Sleep)),
            ("wait4", S, None, Some(OffCpu::Sleep)),
            ("recvfrom", S, None, None),
            ("recvfrom", D, None, None),
            ("sendmsg", S, None, None),
            ("poll", S, None, None),
            ("epoll_wait", S, None, None),
            ("io_uring_enter", S, None, None),
            ("accept4", S, None, None),
            ("connect", S, None, None),
        ];
        for (call, state, idle, open) in table {
            let mut thread = blocked(state, call);
            assert_eq!(reason(&thread), idle, "{call} without a request");
            thread.has_request = true;
            assert_eq!(reason(&thread), open, "{call} with a request");
        }
    }

    #[test]
    fn block_io_is_disk_in_any_call() {
        for call in ["read", "recvfrom", "io_uring_enter", "execve", "munmap"] {
            let thread = Blocked { is_in_iowait: true, ..blocked(D, call) };
            assert_eq!(reason(&thread), Some(OffCpu::Disk), "{call}");
        }
    }

    #[test]
    fn an_io_uring_loop_without_work_is_idle() {
        let thread = Blocked { is_in_iowait: true, ..blocked(S, "io_uring_enter") };
        assert_eq!(reason(&thread), None);
    }

    #[test]
    fn reclaim_is_memory_in_any_call() {
        for call in ["", "read", "recvfrom", "futex"] {
            let thread = Blocked { is_in_memstall: true, ..blocked(D, call) };
            assert_eq!(reason(&thread), Some(OffCpu::Memory), "{call}");
        }
    }

    #[test]
    fn a_page_that_is_read_from_a_disk_is_memory() {
        let fault = Blocked { is_in_iowait: true, ..blocked(D, "") };
        let given_up = Blocked { is_in_iowait: true, is_in_memstall: true, ..blocked(D, "read") };
        assert_eq!(reason(&fault), Some(OffCpu::Memory));
        assert_eq!(reason(&given_up), Some(OffCpu::Memory));
    }

    #[test]
    fn go_never_waits_for_a_lock() {
        let thread = Blocked { is_go: true, has_request: true, ..blocked(S, "futex") };
        assert_eq!(reason(&thread), None);
        assert!(is_between_requests(&thread));
    }

    #[test]
    fn only_go_without_a_request_naps() {
        let nap = Blocked { is_go: true, ..blocked(S, "nanosleep") };
        assert!(is_runtime_nap(&nap));
        assert!(!is_runtime_nap(&Blocked { has_request: true, ..nap }));
        assert!(!is_runtime_nap(&Blocked { is_go: false, ..nap }));
        assert!(!is_runtime_nap(&Blocked { is_go: true, ..blocked(S, "futex") }));
    }

    #[test]
    fn a_stopped_thread_waits_for_nothing() {
        for call in ["", "read", "futex"] {
            let thread = Blocked { has_request: true, ..blocked(STOPPED, call) };
            assert_eq!(reason(&thread), None);
        }
    }

    #[test]
    fn event_loops_and_acceptors_have_no_request_open() {
        for call in ["epoll_wait", "epoll_pwait", "epoll_pwait2", "accept4", "io_uring_enter"] {
            assert!(is_between_requests(&blocked(S, call)), "{call}");
        }
        for call in ["", "poll", "ppoll", "select", "pselect6", "recvfrom", "read", "futex"] {
            assert!(!is_between_requests(&blocked(S, call)), "{call}");
        }
    }

    proptest! {
        #[test]
        fn an_idle_thread_is_charged_for_disk_and_memory_only(
            state in any::<u32>(),
            syscall in -2i64..600,
            is_in_iowait in any::<bool>(),
            is_in_memstall in any::<bool>(),
            is_go in any::<bool>(),
        ) {
            let thread = Blocked {
                state, syscall, is_in_iowait, is_in_memstall, is_go, has_request: false,
            };
            prop_assert!(matches!(
                reason(&thread), None | Some(OffCpu::Disk | OffCpu::Memory)
            ));
        }

        #[test]
        fn blocked_time_is_never_run_queue_or_throttled(
            state in any::<u32>(),
            syscall in -2i64..600,
            bits in 0u8..16,
        ) {
            let thread = Blocked {
                state,
                syscall,
                is_in_iowait: bits & 1 != 0,
                is_in_memstall: bits & 2 != 0,
                is_go: bits & 4 != 0,
                has_request: bits & 8 != 0,
            };
            prop_assert!(!matches!(
                reason(&thread), Some(OffCpu::Runqueue | OffCpu::Throttled)
            ));
        }
    }
}
