//! The go lane: which goroutine a call of Go's `net/http` is made for.
//!
//! - hook: one uprobe in `net/http.(*persistConn).roundTrip`, past the stack
//!   check, so that it runs once a call and emulates what it replaced. The
//!   function is called by the goroutine that wants the reply; another one
//!   sends, and a third reads.
//! - keeps: the caller in `CALLED` until the send
//! - rate: one run an outgoing call

use agent_common::stats::Program;
use aya_ebpf::helpers::bpf_ktime_get_ns;

use crate::filter::{self, WATCHED};
use crate::kernel::arch::Registers;
use crate::kernel::file;
use crate::kernel::go;
use crate::kernel::task::Task;
use crate::{stats, work};

#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
fn go_round_trip(ctx: *mut core::ffi::c_void) -> i32 {
    stats::run(Program::GoRoundTrip, || round_trip(Registers::from_arg(ctx.cast())))
}

#[inline(always)]
fn round_trip(registers: Registers) {
    let task = Task::current();
    // Others may run the same program.
    if !filter::may_be_watched(task) {
        return;
    }
    let Some(state) = filter::judge(task) else {
        return;
    };
    if state.verdict != WATCHED {
        return;
    }
    let Some(layout) = work::layout(state) else {
        return;
    };
    if layout.persist_conn_conn == 0 {
        return;
    }
    work::look(task, state);
    let goroutine = state.goroutine;
    let is_socket = |descriptor| file::checked_inet_sock(task, descriptor);
    let sk = go::client_socket(registers.first_of_go(), layout, is_socket);
    if let Some(sk) = sk
        && goroutine.id != 0
    {
        let parent = go::parent(goroutine.at, layout);
        // SAFETY: a helper without arguments.
        let now_ns = unsafe { bpf_ktime_get_ns() };
        work::announces(state, parent, task.tgid(), sk, now_ns);
    }
}
