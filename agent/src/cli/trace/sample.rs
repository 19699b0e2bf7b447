//! Requests for the tests of every file here.

use agent_common::parts::Part;

use crate::tap::traced::{Culprit, Estimated, PartTimes, Traced, TracedCall};

const MS: u64 = 1_000_000;

/// A request of 42 ms with two calls and something of everything.
pub(super) fn traced() -> Traced<'static> {
    let mut parts = PartTimes::default();
    for (part, us) in [
        (Part::Cpu, 3_900),
        (Part::Sched, 1_000),
        (Part::Wait, 7_000),
        (Part::Runqueue, 8_000),
        (Part::Downstream, 20_100),
        (Part::Unknown, 2_000),
    ] {
        parts.0[part as usize] = us * 1_000;
    }
    Traced {
        end_unix_ns: 43_201_234 * MS,
        workload: "process/goapi".into(),
        protocol: "http1".into(),
        method: "GET".into(),
        path: Some("/v1/pay".into()),
        status: 200,
        client: "10.0.0.1:4242".into(),
        server_port: 8080,
        pid: 4711,
        tid: 4715,
        goid: 34,
        arrival_ns: 1_000 * MS,
        read_ns: 1_001 * MS,
        end_ns: 1_042 * MS,
        wall_ns: 42 * MS,
        bytes_in: 120,
        bytes_out: 3_482,
        parts,
        estimated: Estimated(Part::Runqueue.bit()),
        unit: "goroutine".into(),
        stops: 4,
        wait: "mutex".into(),
        wait_worst_ns: 7 * MS,
        runqueue_worst_ns: 8 * MS,
        culprit: Some(Culprit { pid: 77, comm: "batch-7".into() }),
        calls: vec![
            call("10.1.2.3:6379", "", 0, [1_010_000, 1_018_000, 1_022_100, 1_022_200]),
            TracedCall {
                method: "GET".into(),
                retransmits: 2,
                loss_ns: 3 * MS,
                ..call("10.1.2.4:80", "GET", 200, [1_025_000, 1_037_000, 1_037_010, 1_037_100])
            },
        ],
        ..Traced::default()
    }
}

fn call(
    peer: &'static str,
    method: &'static str,
    status: u16,
    [sent_us, ready_us, read_us, end_us]: [u64; 4],
) -> TracedCall<'static> {
    TracedCall {
        peer: peer.into(),
        protocol: if method.is_empty() { "opaque" } else { "http1" }.into(),
        method: method.into(),
        status,
        sent_ns: sent_us * 1_000,
        ready_ns: ready_us * 1_000,
        read_ns: read_us * 1_000,
        end_ns: end_us * 1_000,
        caller: "sender".into(),
        ..TracedCall::default()
    }
}

/// A turn of 1 ms of which nothing is known, and that failed.
pub(super) fn plain() -> Traced<'static> {
    let mut parts = PartTimes::default();
    parts.0[Part::Unknown as usize] = MS;
    Traced {
        end_unix_ns: 43_201_235 * MS,
        workload: "process/goapi".into(),
        protocol: "opaque".into(),
        client: "[::1]:5000".into(),
        server_port: 6379,
        arrival_ns: 5 * MS,
        read_ns: 5 * MS,
        end_ns: 6 * MS,
        wall_ns: MS,
        parts,
        unit: "none".into(),
        flags: vec!["aborted".into()],
        ..Traced::default()
    }
}

/// The text without sequences that set colours.
pub(super) fn without_colour(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain + rest
}
