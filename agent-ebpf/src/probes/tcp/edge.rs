//! The counters of a service with one peer.
//!
//! - adds: `EdgeCounters`
//! - rate: one look-up where a sample is taken already, at most once a
//!   millisecond and connection, and one a retransmission, reset or connect
//!
//! Separate from what is counted per service: an edge has to be found, and may
//! have to be made. A service has a bounded number; the peers beyond share one.

use agent_common::conn::Conn;
use agent_common::counter::edge::{EdgeCounters, EdgeHistogram, EdgeKey, LOOPBACK, REST, pair_of};
use agent_common::counter::tcp::Scope;
use agent_common::limits::MAX_SERVICE_EDGES;
use agent_common::stats::Loss;

use crate::kernel::sock::Sock;
use crate::maps::{EDGES, EDGES_OF, NO_EDGE};
use crate::{atomic, globals, stats};

/// `BPF_NOEXIST`
const NOEXIST: u64 = 1;

/// What a look at a connection gave: segments sent, a sample of its round trip
/// unless `rtt_ns` is 0, and what it left in the connection.
#[inline(always)]
pub(super) fn sample(sk: Sock, conn: &Conn, segments: u64, rtt_ns: u64, jitter_ns: u64) {
    let (out_of_order, stalls) = (conn.new_out_of_order, conn.new_stalls);
    let stall_ticks = conn.new_stall_ticks;
    if segments | rtt_ns == 0 && out_of_order | stalls | stall_ticks == 0 {
        return;
    }
    let Some(edge) = find(sk, conn.service, conn.scope) else {
        return;
    };
    // SAFETY: a map value.
    unsafe {
        atomic::add(&raw mut (*edge).segments_sent, segments);
        if out_of_order != 0 {
            atomic::add(&raw mut (*edge).out_of_order, u64::from(out_of_order));
        }
        if stalls | stall_ticks != 0 {
            let tick_ns = u64::from(globals::TICK_NS.load());
            atomic::add(&raw mut (*edge).stalls, u64::from(stalls));
            atomic::add(&raw mut (*edge).stall_ns, u64::from(stall_ticks) * tick_ns);
        }
        if rtt_ns != 0 {
            observe(&raw mut (*edge).rtt, rtt_ns);
            observe(&raw mut (*edge).jitter, jitter_ns);
        }
    }
}

/// Segments sent again, of a kind below three.
#[inline(always)]
pub(super) fn retransmit(sk: Sock, service: u16, scope: u8, kind: u32, segments: u64) {
    let Some(edge) = find(sk, service, scope) else {
        return;
    };
    let kind = if kind > 2 { 0 } else { kind };
    // SAFETY: a map value, and an index within its three kinds.
    unsafe {
        let retransmits = (&raw mut (*edge).retransmits).cast::<u64>();
        atomic::add(retransmits.add(kind as usize), segments);
    }
}

/// A reset, in one of two directions.
#[inline(always)]
pub(super) fn reset(sk: Sock, conn: &Conn, direction: usize) {
    let Some(edge) = find(sk, conn.service, conn.scope) else {
        return;
    };
    // SAFETY: a map value, and an index within its two directions.
    unsafe {
        let resets = (&raw mut (*edge).resets).cast::<u64>();
        atomic::add(resets.add(direction & 1), 1);
    }
}

/// How a connect ended, and what it took if it succeeded.
#[inline(always)]
pub(super) fn connect(sk: Sock, conn: &Conn, result: u32, took_ns: u64) {
    let Some(edge) = find(sk, conn.service, conn.scope) else {
        return;
    };
    // SAFETY: a map value, and an index within its four results.
    unsafe {
        let connects = (&raw mut (*edge).connects).cast::<u64>();
        atomic::add(connects.add(result as usize & 3), 1);
        atomic::add(&raw mut (*edge).connect_ns, took_ns);
    }
}

#[inline(always)]
fn find(sk: Sock, service: u16, scope: u8) -> Option<*mut EdgeCounters> {
    let mut key = EdgeKey { service: u64::from(service), remote: LOOPBACK };
    if scope != Scope::Loopback as u8 {
        key.remote = sk.addresses().1;
    }
    // `0.0.0.0`: a socket whose peer is forgotten already.
    if key.remote[0] == 0 && key.remote[1] == 0xffff_0000 {
        key.remote = REST;
    }
    let edge = of(&mut key);
    if edge.is_null() { None } else { Some(edge) }
}

#[inline(always)]
fn get(key: &EdgeKey) -> Option<*mut EdgeCounters> {
    EDGES.get_ptr_mut(key)
}

/// The edge with this key, else a new one, else that of the rest, else null.
///
/// Not inlined: it has many ways, and each caller's states would be multiplied
/// by them.
#[inline(never)]
fn of(key: &mut EdgeKey) -> *mut EdgeCounters {
    if let Some(edge) = get(key) {
        return edge;
    }
    let Some(count) = EDGES_OF.get_ptr_mut(key.service as u32) else {
        return core::ptr::null_mut();
    };
    // SAFETY: a map value; volatile because other CPUs add to it. Two that come
    // at the same time may make one more than the bound.
    if unsafe { count.read_volatile() } < MAX_SERVICE_EDGES {
        make(key, count);
    } else {
        key.remote = REST;
        if let Some(edge) = get(key) {
            return edge;
        }
        make(key, count);
    }
    if let Some(edge) = get(key) {
        return edge;
    }
    stats::lose(Loss::Edges);
    core::ptr::null_mut()
}

#[inline(always)]
fn make(key: &EdgeKey, count: *mut u64) {
    let Some(nothing) = NO_EDGE.get_ptr(0) else {
        return;
    };
    // SAFETY: a map value that nobody writes.
    let nothing = unsafe { &*nothing };
    if EDGES.insert(key, nothing, NOEXIST).is_ok() {
        // SAFETY: a map value.
        unsafe { atomic::add(count, 1) };
    }
}

/// Adds one value.
///
/// # Safety
///
/// `histogram` lies in a map value.
#[inline(never)]
unsafe fn observe(histogram: *mut EdgeHistogram, value_ns: u64) {
    let (word, one) = pair_of(value_ns);
    // SAFETY: the caller's promise, and an index that is masked to 127 and then
    // held within the 96 words.
    unsafe {
        atomic::add(&raw mut (*histogram).sum_ns, value_ns);
        let word = core::hint::black_box(word) & 127;
        if word < 96 {
            let pairs = (&raw mut (*histogram).pairs).cast::<u64>();
            atomic::add(pairs.add(word), one);
        }
    }
}
