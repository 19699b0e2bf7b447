//! What the programs say of themselves: every run counted, one in
//! [`TIMED_ONE_IN`] timed, every loss with its reason.

use agent_common::stats::{Loss, Program, ProgramStats, TIMED_ONE_IN};
use aya_ebpf::helpers::bpf_ktime_get_ns;

use crate::atomic;
use crate::maps::{LOSSES_BY_REASON, PROBE_STATS};

/// Runs `body` as one run of `program`.
#[inline(always)]
pub(crate) fn run(program: Program, body: impl FnOnce()) -> i32 {
    let Some(stats) = PROBE_STATS.get_ptr_mut(program as u32) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU, and a program does not run inside
    // itself on one CPU.
    let stats: &mut ProgramStats = unsafe { &mut *stats };
    stats.runs += 1;
    if !stats.runs.is_multiple_of(TIMED_ONE_IN) {
        body();
        return 0;
    }
    // SAFETY: a helper without arguments.
    let start_ns = unsafe { bpf_ktime_get_ns() };
    body();
    // SAFETY: as above.
    let took_ns = unsafe { bpf_ktime_get_ns() } - start_ns;
    stats.timed_runs += 1;
    stats.timed_ns += took_ns;
    0
}

/// Counts something that was not recorded.
#[inline(always)]
pub(crate) fn lose(reason: Loss) {
    if let Some(count) = LOSSES_BY_REASON.get_ptr_mut(reason as u32) {
        // SAFETY: `count` points into the map's value.
        unsafe { atomic::add(count, 1) };
    }
}
