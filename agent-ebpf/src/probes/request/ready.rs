//! `sk_data_ready`: the moment data becomes readable.

use agent_common::conn::ROLE_CLIENT;
use agent_common::policy::LANE_TCP;
use agent_common::stats::Program;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use super::call;
use crate::kernel::sock::{Sock, state};
use crate::{connections, filter, stats};

// match-proto: v6.3..: void sk_data_ready(const struct sock *sk)
#[btf_tracepoint(function = "sk_data_ready")]
fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::SkDataReady, || ready(&ctx))
}

#[inline(always)]
fn ready(ctx: &BtfTracePointContext) {
    let sk = Sock::from_arg(ctx.arg(0));
    let Some(conn) = connections::find(sk) else {
        return;
    };
    if sk.state() == state::LISTEN || conn.ready_ns != 0 {
        return;
    }
    if conn.is_accepted == 0 && filter::has_lane(LANE_TCP) && sk.has_socket() {
        conn.is_accepted_at_ready = 1;
    }
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    conn.on_ready(now_ns);
    if conn.role == ROLE_CLIENT {
        call::ready(conn, now_ns);
    }
}
