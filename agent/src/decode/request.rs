//! Request records.

use std::mem::offset_of;
use std::net::Ipv6Addr;

use agent_common::conn::Protocol;
use agent_common::go::GoWait;
use agent_common::head::Method;
use agent_common::limits::PATH_BYTES;
use agent_common::parts::{self, MEASURED, UnitKind};
use agent_common::record::request::{
    FLAG_TRACE, RequestHeadRecord, RequestParts, RequestRecord, TRACE_SAMPLED, TraceContext,
};

use super::field::{bytes_at, field};
use crate::event::Malformed;
use crate::event::request::{Culprit, Request, Trace, Work};

/// Reads a request record, with what its head said or without.
pub(super) fn decode(bytes: &[u8], has_head: bool) -> Result<Request, Malformed> {
    let expected =
        if has_head { size_of::<RequestHeadRecord>() } else { size_of::<RequestRecord>() };
    if bytes.len() != expected {
        return Err(Malformed::Length);
    }
    let protocol = field!(bytes, RequestRecord, protocol: u8);
    let address = |at| bytes_at(bytes, at).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_octets);
    let arrival_ns = field!(bytes, RequestRecord, arrival_ns: u64);
    let end_ns = field!(bytes, RequestRecord, end_ns: u64);
    let measured = measured(bytes.get(offset_of!(RequestRecord, parts)..).unwrap_or_default());
    Ok(Request {
        service: field!(bytes, RequestRecord, service: u16),
        protocol: Protocol::from_raw(protocol).ok_or(Malformed::Value)?,
        method: Method::from_raw(field!(bytes, RequestRecord, method: u8)),
        status: field!(bytes, RequestRecord, status: u16),
        flags: field!(bytes, RequestRecord, flags: u32),
        tgid: field!(bytes, RequestRecord, tgid: u32),
        tid: field!(bytes, RequestRecord, tid: u32),
        goid: field!(bytes, RequestRecord, goid: u64),
        cgroup_id: field!(bytes, RequestRecord, cgroup_id: u64),
        arrival_ns,
        read_ns: field!(bytes, RequestRecord, read_ns: u64),
        end_ns,
        bytes_in: field!(bytes, RequestRecord, bytes_in: u64),
        bytes_out: field!(bytes, RequestRecord, bytes_out: u64),
        retransmits_during: field!(bytes, RequestRecord, retransmits_during: u16),
        retransmits_after: field!(bytes, RequestRecord, retransmits_after: u16),
        srtt_us: field!(bytes, RequestRecord, srtt_us: u32),
        mdev_us: field!(bytes, RequestRecord, mdev_us: u32),
        netns: field!(bytes, RequestRecord, netns: u32),
        local: (
            address(offset_of!(RequestRecord, local_addr)),
            field!(bytes, RequestRecord, local_port: u16),
        ),
        remote: (
            address(offset_of!(RequestRecord, remote_addr)),
            field!(bytes, RequestRecord, remote_port: u16),
        ),
        parts: parts::close(end_ns.saturating_sub(arrival_ns), &measured),
        work: work(&measured),
        path: has_head.then(|| path(bytes)).flatten(),
        trace: has_head.then(|| trace(bytes)).flatten(),
    })
}

/// The parts of a record, from where they begin.
fn measured(bytes: &[u8]) -> RequestParts {
    let mut ns = [0; MEASURED];
    let at = offset_of!(RequestParts, ns);
    for (index, to) in ns.iter_mut().enumerate() {
        *to = bytes_at(bytes, at + index * size_of::<u64>()).map_or(0, u64::from_ne_bytes);
    }
    RequestParts {
        ns,
        zone_ns: field!(bytes, RequestParts, zone_ns: u64),
        runqueue_worst_ns: field!(bytes, RequestParts, runqueue_worst_ns: u64),
        wait_worst_ns: field!(bytes, RequestParts, wait_worst_ns: u64),
        culprit_comm: bytes_at(bytes, offset_of!(RequestParts, culprit_comm)).unwrap_or_default(),
        culprit_tgid: field!(bytes, RequestParts, culprit_tgid: u32),
        estimated: field!(bytes, RequestParts, estimated: u32),
        stops: field!(bytes, RequestParts, stops: u16),
        samples: field!(bytes, RequestParts, samples: u16),
        calls: field!(bytes, RequestParts, calls: u16),
        unit: field!(bytes, RequestParts, unit: u8),
        wait_reason: field!(bytes, RequestParts, wait_reason: u8),
    }
}

fn work(measured: &RequestParts) -> Work {
    let len = measured.culprit_comm.iter().position(|byte| *byte == 0);
    let comm = measured.culprit_comm.get(..len.unwrap_or(16)).unwrap_or_default();
    Work {
        kind: UnitKind::from_raw(measured.unit),
        estimated: measured.estimated,
        zone_ns: measured.zone_ns,
        samples: measured.samples,
        stops: measured.stops,
        calls: measured.calls,
        wait: GoWait::from_raw(measured.wait_reason),
        wait_worst_ns: measured.wait_worst_ns,
        runqueue_worst_ns: measured.runqueue_worst_ns,
        culprit: (measured.culprit_tgid != 0).then(|| Culprit {
            tgid: measured.culprit_tgid,
            comm: String::from_utf8_lossy(comm).into(),
        }),
    }
}

/// The trace that it belongs to, if its `traceparent` said so.
fn trace(bytes: &[u8]) -> Option<Trace> {
    // The record's own word: what stands behind it may be of an earlier request.
    let is_there = field!(bytes, RequestRecord, flags: u32) & FLAG_TRACE != 0;
    let bytes = bytes.get(offset_of!(RequestHeadRecord, trace)..)?;
    let trace_id = bytes_at(bytes, offset_of!(TraceContext, trace_id)).map(u128::from_be_bytes)?;
    let parent_id = bytes_at(bytes, offset_of!(TraceContext, parent_id)).map(u64::from_be_bytes)?;
    let is_sampled = field!(bytes, TraceContext, flags: u32) & TRACE_SAMPLED != 0;
    (is_there && trace_id != 0 && parent_id != 0).then_some(Trace {
        trace_id,
        parent_id,
        is_sampled,
    })
}

fn path(bytes: &[u8]) -> Option<Box<str>> {
    let len = usize::from(field!(bytes, RequestRecord, path_len: u8)).min(PATH_BYTES);
    let at = offset_of!(RequestHeadRecord, path);
    let path = bytes.get(at..at + len)?;
    (!path.is_empty()).then(|| String::from_utf8_lossy(path).into())
}
