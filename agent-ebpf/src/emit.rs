//! The only door to the ring. What cannot be reserved is counted as lost.
//!
//! A request does not wake the reader: a wake-up costs more than the request's
//! whole accounting, and the reader drains by its clock anyway. Only a burst
//! out of silence fills the ring before that, so one request in
//! [`REQUESTS_PER_LOOK`] looks, and wakes the reader once the ring is half
//! full. A process that begins to listen and a cgroup that is made always do:
//! they are rare, and what is served before the agent has judged them is not
//! seen.

use agent_common::limits::REQUESTS_PER_LOOK;
use agent_common::record::RecordKind;
use agent_common::record::process::ProcessRecord;
use agent_common::stats::Loss;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{bpf_ringbuf_query, bpf_ringbuf_reserve, bpf_ringbuf_submit};

use crate::kernel::task::Task;
use crate::maps::{self, RING};
use crate::stats;

/// `BPF_RB_NO_WAKEUP`
const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`
const FORCE_WAKEUP: u64 = 2;
/// `BPF_RB_AVAIL_DATA`: bytes that are not read yet.
const UNREAD_BYTES: u64 = 0;
/// `BPF_RB_RING_SIZE`: bytes in all, as configured.
const SIZE_BYTES: u64 = 1;

/// A reserved record. It must be submitted on every path.
pub(crate) struct Slot<T> {
    at: *mut T,
}

/// Room for one record.
#[inline(always)]
pub(crate) fn reserve<T>() -> Option<Slot<T>> {
    // SAFETY: a constant size; the result is null or that many bytes.
    let at =
        unsafe { bpf_ringbuf_reserve(maps::as_ptr(&RING), size_of::<T>() as u64, 0) }.cast::<T>();
    if at.is_null() { None } else { Some(Slot { at }) }
}

impl<T> Slot<T> {
    /// The record's memory, not initialised.
    #[inline(always)]
    pub(crate) const fn as_ptr(&self) -> *mut T {
        self.at
    }

    /// Hands the record over.
    ///
    /// # Safety
    ///
    /// Every byte of the record was written.
    #[inline(always)]
    pub(crate) unsafe fn submit(self) {
        // SAFETY: reserved above and given away here.
        unsafe { bpf_ringbuf_submit(self.at.cast(), NO_WAKEUP) }
    }

    /// Hands over a service's `finished`-th request.
    ///
    /// # Safety
    ///
    /// As [`Slot::submit`].
    #[inline(always)]
    pub(crate) unsafe fn submit_request(self, finished: u64) {
        let flags = if is_crowded(finished) { FORCE_WAKEUP } else { NO_WAKEUP };
        // SAFETY: reserved above and given away here.
        unsafe { bpf_ringbuf_submit(self.at.cast(), flags) }
    }

    /// Hands the record over and wakes the reader.
    ///
    /// # Safety
    ///
    /// As [`Slot::submit`].
    #[inline(always)]
    pub(crate) unsafe fn submit_and_wake(self) {
        // SAFETY: reserved above and given away here.
        unsafe { bpf_ringbuf_submit(self.at.cast(), FORCE_WAKEUP) }
    }
}

/// Whether a service's `finished`-th request is to wake the reader.
#[inline(always)]
fn is_crowded(finished: u64) -> bool {
    finished.is_multiple_of(REQUESTS_PER_LOOK) && is_half_full()
}

/// Whether half of the ring is taken by what is not read yet.
#[inline(always)]
pub(crate) fn is_half_full() -> bool {
    let ring = maps::as_ptr(&RING);
    // SAFETY: a map of this program and constants.
    unsafe { bpf_ringbuf_query(ring, UNREAD_BYTES) >= bpf_ringbuf_query(ring, SIZE_BYTES) / 2 }
}

/// Says something about a process.
#[inline(always)]
pub(crate) fn process(kind: RecordKind, task: Task, port: u16, netns: u32) {
    let Some(slot) = reserve::<ProcessRecord>() else {
        stats::lose(Loss::RingProcess);
        return;
    };
    let record = ProcessRecord {
        kind: kind as u8,
        _pad: 0,
        port,
        tgid: task.tgid(),
        // SAFETY: a helper without arguments.
        ktime_ns: unsafe { bpf_ktime_get_ns() },
        cgroup_id: task.cgroup_id(),
        start_boottime_ns: task.process_start_ns(),
        netns,
        _pad2: 0,
    };
    // SAFETY: the whole record is written.
    unsafe {
        slot.as_ptr().write(record);
        match kind {
            RecordKind::Serves | RecordKind::Listens => slot.submit_and_wake(),
            _ => slot.submit(),
        }
    }
}
