//! The end of a request: counted, then filtered, sampled, or emitted.

use agent_common::conn::{Conn, Protocol};
use agent_common::counter::requests::RequestCounters;
use agent_common::histogram::{REQUEST_EDGES_NS, bucket_index, classic_index};
use agent_common::policy::Control;
use agent_common::record::RecordKind;
use agent_common::record::request::{FLAG_TRACE, RequestHeadRecord, RequestRecord};
use agent_common::stats::Loss;
use aya_ebpf::helpers::generated::bpf_get_prandom_u32;

use crate::emit;
use crate::kernel::sock::Sock;
use crate::maps::{CONTROL, IGNORED_PATHS, SERVICE_REQUESTS};
use crate::probes::tcp;
use crate::{atomic, stats, work};

/// Ends the open request of a connection and goes back to idle.
///
/// Law 3: it is counted as finished before anything else is decided, and ends
/// in exactly one of filtered, sampled, lost or handed over.
#[inline(always)]
pub(crate) fn finish(conn: &mut Conn, sk: Sock, now_ns: u64) {
    tcp::sample::take(sk, conn, now_ns);
    work::work_over(conn);
    let counters = SERVICE_REQUESTS.get_ptr_mut(u32::from(conn.service));
    let control = CONTROL.get_ptr(0);
    if let (Some(counters), Some(control)) = (counters, control) {
        // SAFETY: map values.
        unsafe {
            atomic::add(&raw mut (*counters).finished, 1);
            if is_ignored(conn, control) {
                atomic::add(&raw mut (*counters).filtered, 1);
            } else if is_sampled_out(control) {
                count_only(counters, conn.end_ns.saturating_sub(conn.arrival_ns));
            } else if !hand_over(
                conn,
                sk,
                control,
                (&raw const (*counters).finished).read_volatile(),
            ) {
                atomic::add(&raw mut (*counters).lost, 1);
                stats::lose(Loss::RingRequest);
            }
        }
    }
    conn.close_request();
}

#[inline(always)]
unsafe fn is_ignored(conn: &Conn, control: *const Control) -> bool {
    // SAFETY: a map value; volatile because the agent writes it.
    let bits = unsafe { (&raw const (*control).ignored_bits).read_volatile() };
    conn.protocol == Protocol::Http1 as u8
        && conn.opened.path_hash != 0
        && bits >> (conn.opened.path_hash & 63) & 1 != 0
        && IGNORED_PATHS.get_ptr(conn.opened.path_hash).is_some()
}

#[inline(always)]
unsafe fn is_sampled_out(control: *const Control) -> bool {
    // SAFETY: as above.
    let shift = unsafe { (&raw const (*control).sample_shift).read_volatile() };
    if shift == 0 {
        return false;
    }
    // SAFETY: a helper without arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    random & ((1 << (shift & 31)) - 1) != 0
}

#[inline(always)]
unsafe fn count_only(counters: *mut RequestCounters, wall_ns: u64) {
    let bucket = bucket_index(wall_ns) & 255;
    let classic = classic_index(wall_ns, &REQUEST_EDGES_NS) & 15;
    // SAFETY: a map value, and indices within its arrays.
    unsafe {
        atomic::add(&raw mut (*counters).sampled, 1);
        atomic::add(&raw mut (*counters).sampled_durations.sum_ns, wall_ns);
        let buckets = (&raw mut (*counters).sampled_durations.buckets).cast::<u64>();
        atomic::add(buckets.add(bucket), 1);
        if classic < 13 {
            let buckets = (&raw mut (*counters).sampled_classic).cast::<u64>();
            atomic::add(buckets.add(classic), 1);
        }
    }
}

/// Puts the record of a service's `finished`-th request into the ring. False if
/// there is no room.
#[inline(always)]
unsafe fn hand_over(conn: &Conn, sk: Sock, control: *const Control, finished: u64) -> bool {
    // SAFETY: as above.
    let keeps_paths = unsafe { (&raw const (*control).keep_paths).read_volatile() } != 0;
    let path_len = if keeps_paths { conn.opened.path_len } else { 0 };
    if path_len != 0 || conn.flags & FLAG_TRACE != 0 {
        let Some(slot) = emit::reserve::<RequestHeadRecord>() else {
            return false;
        };
        // SAFETY: the slot is as large as the record; all of it is written.
        unsafe {
            let record = slot.as_ptr();
            write(&raw mut (*record).request, conn, sk, RecordKind::RequestWithHead);
            (*record).request.path_len = path_len;
            (*record).trace = conn.trace;
            let path = (&raw mut (*record).path).cast::<u64>();
            let mut i = 0;
            while i < conn.path.len() {
                path.add(i).write_volatile(conn.path[i]);
                i += 1;
            }
            slot.submit_request(finished);
        }
        return true;
    }
    let Some(slot) = emit::reserve::<RequestRecord>() else {
        return false;
    };
    // SAFETY: as above.
    unsafe {
        let record = slot.as_ptr();
        write(record, conn, sk, RecordKind::Request);
        (*record).path_len = 0;
        slot.submit_request(finished);
    }
    true
}

#[inline(always)]
unsafe fn write(record: *mut RequestRecord, conn: &Conn, sk: Sock, kind: RecordKind) {
    let tcp = sk.tcp();
    let retransmits = tcp.map_or(conn.retransmits_at_end, |tcp| tcp.retransmits());
    // First of all: read between the fields of the record, the two families
    // made the verifier walk the rest twice, past its limit for the read.
    let (local, remote) = sk.addresses();
    // SAFETY: ring memory of the record's size; every field is written below
    // or by `fill`.
    unsafe {
        let record = &mut *record;
        conn.fill(retransmits, record);
        record.kind = kind as u8;
        record.srtt_us = tcp.map_or(0, |tcp| tcp.srtt_us());
        record.mdev_us = tcp.map_or(0, |tcp| tcp.mdev_us());
        record.local_port = sk.local_port();
        record.remote_port = sk.remote_port();
        record.netns = sk.netns();
        let to = (&raw mut record.local_addr).cast::<u64>();
        to.write(local[0]);
        to.add(1).write(local[1]);
        let to = (&raw mut record.remote_addr).cast::<u64>();
        to.write(remote[0]);
        to.add(1).write(remote[1]);
        record.parts = conn.parts;
    }
}
