//! A request with its calls as what is written of it.
//!
//! Separate from the types because this is the one place that knows both the
//! event and the promise.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use agent_common::conn::Protocol;
use agent_common::go::GoWait;
use agent_common::record::request::{
    FLAG_ABORTED, FLAG_JOINED_LATE, FLAG_NO_ARRIVAL, FLAG_PIPELINED, FLAG_STREAM, FLAG_UNPARSED,
};

use super::traced::{Culprit, Estimated, PartTimes, Text, Traced, TracedCall};
use crate::attribution::identity::Identity;
use crate::event::call::{Call, Caller};
use crate::event::request::Request;

/// Names of a request's flags.
const FLAGS: [(u32, &str); 6] = [
    (FLAG_PIPELINED, "pipelined"),
    (FLAG_ABORTED, "aborted"),
    (FLAG_NO_ARRIVAL, "no_arrival"),
    (FLAG_STREAM, "stream"),
    (FLAG_UNPARSED, "unparsed"),
    (FLAG_JOINED_LATE, "joined_late"),
];
/// Some of the calls that it made are not listed.
const CALLS_MISSING: &str = "calls_missing";

impl<'a> Traced<'a> {
    /// What is written of a request. `offset_ns` makes unix time of
    /// `CLOCK_MONOTONIC`; `missing` calls are not among `calls`.
    pub(super) fn new(
        request: &'a Request,
        path: Option<&'a str>,
        identity: &'a Identity,
        calls: &[Call],
        missing: u16,
        offset_ns: u64,
    ) -> Self {
        let work = &request.work;
        let flags = FLAGS.into_iter().filter(|(bit, _)| request.flags & bit != 0);
        let missing = (missing > 0).then_some(CALLS_MISSING);
        Self {
            end_unix_ns: request.end_ns.saturating_add(offset_ns),
            namespace: Cow::Borrowed(&identity.namespace),
            pod: Cow::Borrowed(&identity.pod),
            container: Cow::Borrowed(&identity.container),
            workload: Cow::Borrowed(&identity.workload),
            protocol: Cow::Borrowed(protocol(request.protocol)),
            method: Cow::Borrowed(request.method.as_str()),
            path: path.map(Cow::Borrowed),
            status: request.status,
            client: address(request.client_ip(), request.remote.1),
            server_port: request.local.1,
            pid: request.tgid,
            tid: request.tid,
            goid: request.goid,
            arrival_ns: request.arrival_ns,
            read_ns: request.read_ns,
            end_ns: request.end_ns,
            wall_ns: request.wall_ns(),
            bytes_in: request.bytes_in,
            bytes_out: request.bytes_out,
            parts: PartTimes(request.parts.ns),
            estimated: Estimated(work.estimated),
            unit: Cow::Borrowed(work.kind.as_str()),
            stops: work.stops,
            zone_ns: work.zone_ns,
            samples: work.samples,
            wait: Cow::Borrowed(if work.wait_worst_ns > 0 || work.wait != GoWait::Unknown {
                work.wait.as_str()
            } else {
                ""
            }),
            wait_worst_ns: work.wait_worst_ns,
            runqueue_worst_ns: work.runqueue_worst_ns,
            culprit: work
                .culprit
                .as_ref()
                .map(|culprit| Culprit { pid: culprit.tgid, comm: Cow::Borrowed(&culprit.comm) }),
            retransmits: request.retransmits_during,
            flags: flags.map(|(_, name)| name).chain(missing).map(Cow::Borrowed).collect(),
            calls: calls.iter().map(TracedCall::new).collect(),
        }
    }
}

impl TracedCall<'_> {
    fn new(call: &Call) -> Self {
        Self {
            peer: address(call.peer_ip(), call.peer.1),
            local: address(call.local_ip(), call.local.1),
            protocol: Cow::Borrowed(protocol(call.protocol)),
            method: Cow::Borrowed(call.method.as_str()),
            status: call.status,
            sent_ns: call.sent_ns,
            ready_ns: call.ready_ns,
            read_ns: call.read_ns,
            end_ns: call.end_ns,
            retransmits: call.retransmits,
            loss_ns: call.loss_ns,
            caller: Cow::Borrowed(match call.caller {
                Caller::Unknown => "unknown",
                Caller::Sender => "sender",
                Caller::Probe => "probe",
                Caller::Loop => "loop",
            }),
        }
    }
}

fn address(ip: IpAddr, port: u16) -> Text<'static> {
    Cow::Owned(SocketAddr::new(ip, port).to_string())
}

const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Unknown => "unknown",
        Protocol::Http1 => "http1",
        Protocol::Opaque => "opaque",
        Protocol::Tls => "tls",
        Protocol::Http2 => "http2",
    }
}
