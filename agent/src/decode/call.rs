//! Records of calls to downstreams.

use std::mem::offset_of;
use std::net::Ipv6Addr;

use agent_common::conn::Protocol;
use agent_common::head::Method;
use agent_common::record::call::{CALLER_LOOP, CALLER_PROBE, CALLER_SENDER, CallRecord};

use super::field::{bytes_at, field};
use crate::event::Malformed;
use crate::event::call::{Call, Caller};

/// Reads a record of a call.
pub(super) fn decode(bytes: &[u8]) -> Result<Call, Malformed> {
    if bytes.len() != size_of::<CallRecord>() {
        return Err(Malformed::Length);
    }
    let protocol = field!(bytes, CallRecord, protocol: u8);
    let address = |at| bytes_at(bytes, at).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_octets);
    let caller = match field!(bytes, CallRecord, caller: u8) {
        CALLER_SENDER => Caller::Sender,
        CALLER_PROBE => Caller::Probe,
        CALLER_LOOP => Caller::Loop,
        _ => Caller::Unknown,
    };
    let goid = field!(bytes, CallRecord, goid: u64);
    Ok(Call {
        service: field!(bytes, CallRecord, service: u16),
        protocol: Protocol::from_raw(protocol).ok_or(Malformed::Value)?,
        method: Method::from_raw(field!(bytes, CallRecord, method: u8)),
        status: field!(bytes, CallRecord, status: u16),
        flags: field!(bytes, CallRecord, flags: u32),
        caller,
        tgid: field!(bytes, CallRecord, tgid: u32),
        tid: field!(bytes, CallRecord, tid: u32),
        goid: if caller == Caller::Loop { 0 } else { goid },
        request_read_ns: if caller == Caller::Loop { goid } else { 0 },
        retransmits: field!(bytes, CallRecord, retransmits: u32),
        sent_ns: field!(bytes, CallRecord, sent_ns: u64),
        ready_ns: field!(bytes, CallRecord, ready_ns: u64),
        read_ns: field!(bytes, CallRecord, read_ns: u64),
        end_ns: field!(bytes, CallRecord, end_ns: u64),
        bytes_out: field!(bytes, CallRecord, bytes_out: u64),
        bytes_in: field!(bytes, CallRecord, bytes_in: u64),
        loss_ns: field!(bytes, CallRecord, loss_ns: u64),
        netns: field!(bytes, CallRecord, netns: u32),
        local: (
            address(offset_of!(CallRecord, local_addr)),
            field!(bytes, CallRecord, local_port: u16),
        ),
        peer: (
            address(offset_of!(CallRecord, remote_addr)),
            field!(bytes, CallRecord, remote_port: u16),
        ),
    })
}
