//! A few calls of libc, wrapped safely: with `io_calls` the only unsafe code of
//! the tests.
//!
//! Separate so that every other file can be read without that thought.
#![expect(unsafe_code, reason = "libc has no safe form of these calls")]

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of the kernel's records, of
/// the Go workload's journal and of the load client's log.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec that outlives the call, which writes to nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Sleeps until [`monotonic_ns`] reaches `deadline_ns`; at once if it has.
pub fn sleep_until_ns(deadline_ns: u64) {
    let deadline = libc::timespec {
        tv_sec: i64::try_from(deadline_ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(deadline_ns % 1_000_000_000).unwrap_or(0),
    };
    loop {
        // SAFETY: `deadline` is a valid timespec; with TIMER_ABSTIME the remainder may be null.
        let error = unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                libc::TIMER_ABSTIME,
                &raw const deadline,
                std::ptr::null_mut(),
            )
        };
        if error != libc::EINTR {
            return;
        }
    }
}

/// Wake-ups of those who wait for a descriptor: not whether there is something
/// to read, which for a ring may be so for long before anybody is woken.
#[derive(Debug)]
pub struct WakeUps(OwnedFd);

impl WakeUps {
    /// From now on, of a descriptor that has nothing to read yet.
    ///
    /// # Errors
    /// What epoll(7) gives.
    pub fn of(fd: impl AsFd) -> io::Result<Self> {
        // SAFETY: takes an integer.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let events = (libc::EPOLLIN | libc::EPOLLET).cast_unsigned();
        let mut event = libc::epoll_event { events, u64: 0 };
        let raw_fd = fd.as_fd().as_raw_fd();
        // SAFETY: two open descriptors and a valid event, for the call.
        let added = unsafe {
            libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, raw_fd, &raw mut event)
        };
        if added < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(epoll)) }
    }

    /// Whether there was one since this was asked last; does not wait.
    ///
    /// # Errors
    /// As [`WakeUps::of`].
    pub fn were(&self) -> io::Result<bool> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: an open descriptor and room for one event, for the call.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, 0) };
        if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count > 0) }
    }
}

/// Whether this process has the effective user id 0.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Moves the calling thread, and those that it starts, into the network
/// namespace of this file.
///
/// # Errors
/// What setns(2) gives.
pub fn enter_netns(file: &Path) -> io::Result<()> {
    let file = File::open(file)?;
    // SAFETY: setns takes a descriptor, open for the call, and an integer.
    let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends `signal` (a `libc::SIG*` number) to one process.
///
/// # Errors
/// What kill(2) gives: no such process, or not permitted.
pub fn send_signal(pid: u32, signal: i32) -> io::Result<()> {
    // Pids 0 and below mean groups to kill(2); none of those is ever wanted.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: kill takes two integers and touches no memory of this process.
    if unsafe { libc::kill(pid, signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the close of `stream` send a reset instead of a FIN.
///
/// # Errors
/// What setsockopt(2) gives.
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap_or(0);
    // SAFETY: the descriptor is open while `stream` is borrowed; `linger` is valid for `length` bytes.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the kernel hold at most about twice so many received bytes for `stream`.
///
/// # Errors
/// What setsockopt(2) gives.
pub fn set_receive_buffer(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the descriptor is open while `stream` is borrowed; `bytes` is valid for `length` bytes.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const bytes).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps the calling thread on one CPU from now on.
///
/// # Errors
/// What sched_setaffinity(2) gives, such as a CPU that does not exist.
pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    // SAFETY: cpu_set_t is an array of integers, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if cpu >= libc::CPU_SETSIZE.unsigned_abs() as usize {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: `cpu` is below CPU_SETSIZE, so the bit lies within `set`.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is valid for its own size; 0 means the calling thread.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// CPU time that a process has used, nanoseconds: user and system, threads
/// that have ended included. Exact, where `/proc/PID/stat` has ticks of 10 ms.
///
/// # Errors
/// When there is no such process.
pub fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    let pid = i32::try_from(pid).ok();
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid clockid_t that outlives the call, which writes to nothing else.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `used` is a valid timespec that outlives the call, which writes to nothing else.
    if unsafe { libc::clock_gettime(clock, &raw mut used) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(used.tv_sec.unsigned_abs() * 1_000_000_000 + used.tv_nsec.unsigned_abs())
}

/// Turns on the kernel's statistics of BPF programs until the result is
/// dropped or this process ends, however that comes: no sysctl is touched.
///
/// # Errors
/// What bpf(2) gives: not permitted, or a kernel before 5.8.
pub fn enable_bpf_stats() -> io::Result<OwnedFd> {
    // `BPF_ENABLE_STATS`
    const ENABLE_STATS: libc::c_long = 32;
    // `BPF_STATS_RUN_TIME`, as the 4 bytes of its attribute.
    let kind: u32 = 0;
    // SAFETY: the attribute is valid for the length that is given, and only read.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, ENABLE_STATS, &raw const kind, size_of::<u32>()) };
    let descriptor = i32::try_from(result).ok().filter(|descriptor| *descriptor >= 0);
    let descriptor = descriptor.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just given this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Gives this process, and what it starts from now on, precedence over all
/// that runs with the usual priority.
///
/// # Errors
/// What setpriority(2) gives: this needs `CAP_SYS_NICE`.
pub fn take_precedence() -> io::Result<()> {
    // SAFETY: setpriority takes three integers; 0 means this process.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

static IS_TERMINATED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_termination(_signal: libc::c_int) {
    // The one thing that is allowed here: no lock, no allocation.
    IS_TERMINATED.store(true, Ordering::Relaxed);
}

/// From now on SIGTERM, SIGINT and SIGHUP only set what [`is_terminated`]
/// tells. Programs that are started have the usual answer to them.
///
/// # Errors
/// What sigaction(2) gives.
pub fn catch_termination() -> io::Result<()> {
    // SAFETY: sigaction is integers and an optional pointer, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = note_termination;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: `action` is valid and only read; its handler touches one atomic; the old
        // action may be null.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Whether such a signal has come since [`catch_termination`].
#[must_use]
pub fn is_terminated() -> bool {
    IS_TERMINATED.load(Ordering::Relaxed)
}
