//! `tcp_retransmit_skb`, `tcp_retransmit_synack`: segments sent again.
//!
//! One call may send several segments (52 calls sent 1 672 with segmentation
//! offload), or none (on 6.18 the hook runs for refused calls too, a fifth
//! of them, the first copy still in the device's queue). So the socket's own
//! `total_retrans` is asked how far it came: what is counted is what `ss -ti`
//! prints, on every kernel, and the error argument is not needed.

use agent_common::conn::Conn;
use agent_common::stats::Program;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use super::{edge, scope_counters};
use crate::kernel::sock::{Sock, Tcp, state};
use crate::{atomic, connections, stats};

/// Index in `RETRANSMIT_KINDS`: data, or a FIN.
pub(super) const DATA: u32 = 0;
/// The SYN of an outgoing connect.
pub(super) const SYN: u32 = 1;
/// The answer to a SYN.
const SYNACK: u32 = 2;

// match-proto: v4.15..: void tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb); v6.18: (.., int err)
#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::TcpRetransmitSkb, || skb(&ctx))
}

#[inline(always)]
fn skb(ctx: &BtfTracePointContext) {
    let sk = Sock::from_arg(ctx.arg(0));
    let Some(conn) = connections::find(sk) else {
        return;
    };
    let Some(tcp) = sk.tcp() else {
        return;
    };
    // A peer that does not read drops what its window had room for: that is
    // sent again, and what is waited for is the reader.
    if !tcp.waits_for_window() {
        // SAFETY: a helper without arguments.
        conn.on_resent(unsafe { bpf_ktime_get_ns() }, tcp.srtt_us());
    }
    let kind = if sk.state() == state::SYN_SENT { SYN } else { DATA };
    count(sk, conn, tcp, kind);
}

/// Counts what was sent again since the last time. The socket is locked by the
/// caller of each hook that comes here.
#[inline(always)]
pub(super) fn count(sk: Sock, conn: &mut Conn, tcp: Tcp, kind: u32) {
    let new = conn.take_retransmits(tcp.retransmits());
    if new != 0 {
        add(sk, conn.service, conn.scope, kind, new);
    }
}

// match-proto: v4.15..: void tcp_retransmit_synack(const struct sock *sk, const struct request_sock *req)
#[btf_tracepoint(function = "tcp_retransmit_synack")]
fn retransmit_synack(ctx: BtfTracePointContext) -> i32 {
    stats::run(Program::TcpRetransmitSynack, || synack(&ctx))
}

/// There is no connection yet: it belongs to who listens.
#[inline(always)]
fn synack(ctx: &BtfTracePointContext) {
    let listener = Sock::from_arg(ctx.arg(0));
    let Some(service) = connections::listener_service(listener) else {
        return;
    };
    // A request begins like a socket (`sock_common`): addresses, no more.
    let request = Sock::from_arg(ctx.arg(1));
    add(request, service, connections::scope(request) as u8, SYNACK, 1);
}

#[inline(always)]
fn add(sk: Sock, service: u16, scope: u8, kind: u32, segments: u32) {
    edge::retransmit(sk, service, scope, kind, u64::from(segments));
    if let Some(counters) = scope_counters(service, scope) {
        // SAFETY: a map value, and an index within its three kinds.
        unsafe {
            let retransmits = (&raw mut (*counters).retransmits).cast::<u64>();
            let kind = if kind > SYNACK { DATA } else { kind };
            atomic::add(retransmits.add(kind as usize), u64::from(segments));
        }
    }
}
