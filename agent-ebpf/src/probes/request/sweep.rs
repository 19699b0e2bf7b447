//! The sweep: ends requests that are over though nothing has said so, and
//! samples connections that nothing else looks at.
//!
//! A server whose thread blocks in `recv` between requests never sees
//! `EAGAIN`, so its last request would stay open until the next one. The agent
//! reads this iterator before a scrape and every second; it visits watched
//! sockets only, whatever namespace they are in.

use agent_common::conn::{Conn, END, ROLE_CLIENT};
use agent_common::stats::Program;
use aya_ebpf::helpers::bpf_ktime_get_ns;

use super::{call, finish};
use crate::kernel::sock::Sock;
use crate::probes::tcp;
use crate::{connections, globals, stats};

/// `struct bpf_iter__bpf_sk_storage_map` (net/core/bpf_sk_storage.c).
#[repr(C)]
struct Context {
    meta: *const u8,
    map: *const u8,
    sk: *const u8,
    value: *mut Conn,
}

// match-proto: v5.11..: int bpf_iter_bpf_sk_storage_map(struct bpf_iter_meta *meta, struct bpf_map *map, struct sock *sk, void *value)
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_sk_storage_map")]
fn sweep_connections(ctx: *mut core::ffi::c_void) -> i32 {
    stats::run(Program::SweepConnections, || sweep(ctx.cast()))
}

#[inline(always)]
fn sweep(ctx: *const Context) {
    // SAFETY: the context of an iterator; the pointer is checked below.
    let at = unsafe { (&raw const (*ctx).sk).read_volatile() };
    if at.is_null() {
        return;
    }
    let sk = Sock::from_arg(at);
    let Some(conn) = connections::find(sk) else {
        return;
    };
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if conn.on_sweep(now_ns, globals::SWEEP_IDLE_NS.load()) & END != 0 {
        if conn.role == ROLE_CLIENT {
            call::finish(conn, sk);
        } else {
            finish::finish(conn, sk, now_ns);
        }
    }
    tcp::sample::sweep(sk, conn, now_ns);
}
