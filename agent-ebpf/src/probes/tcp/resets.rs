//! `tcp_send_reset`, `tcp_receive_reset`: connections cut off.
//!
//! A reset that answers a packet for no connection belongs to nobody.

use agent_common::stats::Program;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use super::{counters, edge};
use crate::kernel::sock::Sock;
use crate::{atomic, connections, stats};

/// Index in `RESET_DIRECTIONS`.
const SENT: usize = 0;
const RECEIVED: usize = 1;

// match-proto: v4.15..: void tcp_send_reset(const struct sock *sk, const struct sk_buff *skb); v6.10..: (.., const enum sk_rst_reason reason), sk and skb may be null
#[btf_tracepoint(function = "tcp_send_reset")]
fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::TcpSendReset, || count(&ctx, SENT))
}

// match-proto: v4.15..: void tcp_receive_reset(struct sock *sk)
#[btf_tracepoint(function = "tcp_receive_reset")]
fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::TcpReceiveReset, || count(&ctx, RECEIVED))
}

#[inline(always)]
fn count(ctx: &BtfTracePointContext, direction: usize) {
    let at: *const u8 = ctx.arg(0);
    // It may be null, but the verifier of kernels that do not mark it so
    // takes it for never null and drops this line. So nothing is read from the
    // socket before the helper that finds the connection has checked, for null
    // and for sockets that are not whole.
    if at.is_null() {
        return;
    }
    let sk = Sock::from_arg(at);
    let Some(conn) = connections::find(sk) else {
        return;
    };
    // A socket with a connection is there, and whole.
    edge::reset(sk, conn, direction);
    if let Some(counters) = counters(conn.service) {
        // SAFETY: a map value, and an index within its two directions.
        unsafe {
            let resets = (&raw mut (*counters).resets).cast::<u64>();
            atomic::add(resets.add(direction), 1);
        }
    }
}
