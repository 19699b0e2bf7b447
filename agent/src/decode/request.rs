//! Request records.

use std::mem::offset_of;
use std::net::Ipv6Addr;

use agent_common::conn::Protocol;
use agent_common::head::Method;
use agent_common::limits::PATH_BYTES;
use agent_common::record::request::{RequestPathRecord, RequestRecord};

use super::field::{bytes_at, field};
use crate::event::Malformed;
use crate::event::request::Request;

/// Reads a request record, with or without a path.
pub(super) fn decode(bytes: &[u8], has_path: bool) -> Result<Request, Malformed> {
    let expected =
        if has_path { size_of::<RequestPathRecord>() } else { size_of::<RequestRecord>() };
    if bytes.len() != expected {
        return Err(Malformed::Length);
    }
    let protocol = field!(bytes, RequestRecord, protocol: u8);
    let address = |at| bytes_at(bytes, at).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_octets);
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
        arrival_ns: field!(bytes, RequestRecord, arrival_ns: u64),
        read_ns: field!(bytes, RequestRecord, read_ns: u64),
        end_ns: field!(bytes, RequestRecord, end_ns: u64),
        bytes_in: field!(bytes, RequestRecord, bytes_in: u64),
        bytes_out: field!(bytes, RequestRecord, bytes_out: u64),
        retransmits_during: field!(bytes, RequestRecord, retransmits_during: u16),
        retransmits_after: field!(bytes, RequestRecord, retransmits_after: u16),
        srtt_us: field!(bytes, RequestRecord, srtt_us: u32),
        mdev_us: field!(bytes, RequestRecord, mdev_us: u32),
        local: (
            address(offset_of!(RequestRecord, local_addr)),
            field!(bytes, RequestRecord, local_port: u16),
        ),
        remote: (
            address(offset_of!(RequestRecord, remote_addr)),
            field!(bytes, RequestRecord, remote_port: u16),
        ),
        path: has_path.then(|| path(bytes)).flatten(),
    })
}

fn path(bytes: &[u8]) -> Option<Box<str>> {
    let len = usize::from(field!(bytes, RequestRecord, path_len: u8)).min(PATH_BYTES);
    let at = offset_of!(RequestPathRecord, path);
    let path = bytes.get(at..at + len)?;
    (!path.is_empty()).then(|| String::from_utf8_lossy(path).into())
}
