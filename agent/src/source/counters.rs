//! The counter arrays, mapped: a sweep makes no system call.

use std::mem::offset_of;

use agent_common::counter::cpu::{CpuCounters, OFF_CPU_REASONS};
use agent_common::counter::requests::RequestCounters;
use agent_common::counter::syscalls::{ClassCounters, ERRNO_SLOTS, SyscallCounters};
use agent_common::counter::tcp::{SCOPES, ScopeCounters, TcpCounters};
use agent_common::histogram::{BUCKETS, CLASSIC_BUCKETS, Histogram};
use agent_common::limits::{MAX_SERVICES, WATCHED_SLOTS};
use agent_common::stats::LOSSES;
use agent_common::syscall::CLASSES;

use crate::load::{Error, Loaded, map_array};
use crate::sys::mapping::Mapping;

/// Every counter array.
pub struct Counters {
    requests: Mapping,
    cpu: Mapping,
    tcp: Mapping,
    syscalls: Mapping,
    losses: Mapping,
    live: Mapping,
    parked: Mapping,
}

impl Counters {
    /// Takes the arrays out of what was loaded.
    ///
    /// # Errors
    ///
    /// If one is not there.
    pub fn new(loaded: &mut Loaded) -> Result<Self, Error> {
        let services = MAX_SERVICES as usize;
        Ok(Self {
            requests: map_array(
                loaded,
                "SERVICE_REQUESTS",
                services * size_of::<RequestCounters>(),
            )?,
            cpu: map_array(loaded, "SERVICE_CPU", services * size_of::<CpuCounters>())?,
            tcp: map_array(loaded, "SERVICE_TCP", services * size_of::<TcpCounters>())?,
            syscalls: map_array(
                loaded,
                "SERVICE_SYSCALLS",
                services * size_of::<SyscallCounters>(),
            )?,
            losses: map_array(loaded, "LOSSES_BY_REASON", LOSSES as usize * 8)?,
            live: map_array(loaded, "LIVE", 8)?,
            parked: map_array(loaded, "PARKED_OF", WATCHED_SLOTS as usize * 8)?,
        })
    }

    /// Connections with state now.
    #[must_use]
    pub fn live_connections(&self) -> u64 {
        // Where an epoch of connections begins, a few may be taken away that
        // were not counted.
        u64::try_from(self.live.word(0).cast_signed()).unwrap_or(0)
    }

    /// Goroutines, and requests of event loops, that wait with a request open.
    #[must_use]
    pub fn parked(&self) -> u64 {
        let slots = 0..WATCHED_SLOTS as usize;
        slots.map(|slot| self.parked.word(slot)).fold(0, u64::wrapping_add)
    }

    /// No connection has state: a new epoch of connections begins.
    pub fn clear_live_connections(&self) {
        self.live.set_word(0, 0);
    }

    /// Requests filtered of a service.
    #[must_use]
    pub fn filtered(&self, service: u16) -> u64 {
        let at = View::of::<RequestCounters>(&self.requests, service);
        at.word(offset_of!(RequestCounters, filtered))
    }

    /// Requests of a service that the kernel could not hand over.
    #[must_use]
    pub fn lost(&self, service: u16) -> u64 {
        let at = View::of::<RequestCounters>(&self.requests, service);
        at.word(offset_of!(RequestCounters, lost))
    }

    /// What was not recorded, by [`agent_common::stats::Loss`].
    #[must_use]
    pub fn losses(&self) -> [u64; LOSSES as usize] {
        let mut losses = [0; LOSSES as usize];
        self.losses.read(0, &mut losses);
        losses
    }

    /// The books of a service's requests.
    #[must_use]
    pub fn requests(&self, service: u16) -> RequestCounters {
        let at = View::of::<RequestCounters>(&self.requests, service);
        RequestCounters {
            // Read last: what is counted as finished is then also counted as
            // what became of it.
            sampled: at.word(offset_of!(RequestCounters, sampled)),
            filtered: at.word(offset_of!(RequestCounters, filtered)),
            lost: at.word(offset_of!(RequestCounters, lost)),
            sampled_classic: at.words(offset_of!(RequestCounters, sampled_classic)),
            _pad: 0,
            sampled_durations: at.histogram(offset_of!(RequestCounters, sampled_durations)),
            finished: at.word(offset_of!(RequestCounters, finished)),
        }
    }

    /// CPU waits of a service.
    #[must_use]
    pub fn cpu(&self, service: u16) -> CpuCounters {
        let at = View::of::<CpuCounters>(&self.cpu, service);
        CpuCounters {
            off_cpu_ns: at.words::<OFF_CPU_REASONS>(offset_of!(CpuCounters, off_cpu_ns)),
            runqueue_classic: at
                .words::<CLASSIC_BUCKETS>(offset_of!(CpuCounters, runqueue_classic)),
            _pad: 0,
            runqueue: at.histogram(offset_of!(CpuCounters, runqueue)),
        }
    }

    /// TCP of a service.
    #[must_use]
    pub fn tcp(&self, service: u16) -> TcpCounters {
        let at = View::of::<TcpCounters>(&self.tcp, service);
        let scope = |i: usize| {
            let base = offset_of!(TcpCounters, scopes) + i * size_of::<ScopeCounters>();
            ScopeCounters {
                segments_sent: at.word(base + offset_of!(ScopeCounters, segments_sent)),
                retransmits: at.words(base + offset_of!(ScopeCounters, retransmits)),
                rtt: at.histogram(base + offset_of!(ScopeCounters, rtt)),
                jitter: at.histogram(base + offset_of!(ScopeCounters, jitter)),
            }
        };
        TcpCounters {
            scopes: std::array::from_fn::<_, SCOPES, _>(scope),
            resets: at.words(offset_of!(TcpCounters, resets)),
            connects: at.words(offset_of!(TcpCounters, connects)),
            connect_time: at.histogram(offset_of!(TcpCounters, connect_time)),
            accept_wait: at.histogram(offset_of!(TcpCounters, accept_wait)),
        }
    }

    /// System calls of a service.
    #[must_use]
    pub fn syscalls(&self, service: u16) -> SyscallCounters {
        let at = View::of::<SyscallCounters>(&self.syscalls, service);
        let class = |i: usize| {
            let base = offset_of!(SyscallCounters, classes) + i * size_of::<ClassCounters>();
            ClassCounters {
                time_ns: at.word(base + offset_of!(ClassCounters, time_ns)),
                calls: at.word(base + offset_of!(ClassCounters, calls)),
                errors: at.words::<ERRNO_SLOTS>(base + offset_of!(ClassCounters, errors)),
            }
        };
        SyscallCounters { classes: std::array::from_fn::<_, CLASSES, _>(class) }
    }

    /// Sets a service's counters to zero, before its index is given to another.
    pub fn clear(&self, service: u16) {
        View::of::<RequestCounters>(&self.requests, service).clear();
        View::of::<CpuCounters>(&self.cpu, service).clear();
        View::of::<TcpCounters>(&self.tcp, service).clear();
        View::of::<SyscallCounters>(&self.syscalls, service).clear();
    }
}

/// The value of one service in an array.
struct View<'a> {
    mapping: &'a Mapping,
    base: usize,
    words: usize,
}

impl<'a> View<'a> {
    fn of<T>(mapping: &'a Mapping, service: u16) -> Self {
        let words = size_of::<T>() / 8;
        Self { mapping, base: usize::from(service) * words, words }
    }

    fn word(&self, byte: usize) -> u64 {
        self.mapping.word(self.base + byte / 8)
    }

    fn words<const N: usize>(&self, byte: usize) -> [u64; N] {
        let mut words = [0; N];
        self.mapping.read(self.base + byte / 8, &mut words);
        words
    }

    fn histogram(&self, byte: usize) -> Histogram {
        Histogram {
            sum_ns: self.word(byte + offset_of!(Histogram, sum_ns)),
            buckets: self.words::<BUCKETS>(byte + offset_of!(Histogram, buckets)),
        }
    }

    fn clear(&self) {
        for i in 0..self.words {
            self.mapping.set_word(self.base + i, 0);
        }
    }
}
