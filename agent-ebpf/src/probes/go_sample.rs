//! The go lane's samples: which goroutine runs, a hundred times a second.
//!
//! Separate from the points of the engine, because a sample is no point: it is
//! counted where only samples can tell running from waiting, so that what they
//! say of many requests is right. Were they points as well, what they find
//! would be told twice.
//!
//! - hook: the CPU clock (`perf_event`), 99 times a second and CPU; not 100,
//!   so that it does not keep step with timers
//! - adds: samples to the goroutine's open request
//! - rate: 99 a second and CPU; a few loads where no watched Go program runs

use agent_common::stats::Program;

use crate::filter::{self, WATCHED};
use crate::kernel::task::Task;
use crate::{stats, work};

#[unsafe(no_mangle)]
#[unsafe(link_section = "perf_event")]
fn go_sample(_ctx: *mut core::ffi::c_void) -> i32 {
    stats::run(Program::GoSample, sample)
}

#[inline(always)]
fn sample() {
    let task = Task::current();
    if !filter::may_be_watched(task) {
        return;
    }
    let Some(state) = filter::peek(task) else {
        return;
    };
    if state.verdict == WATCHED && state.go_layout != 0 {
        work::sampled(task, state);
    }
}
