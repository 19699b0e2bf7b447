//! Samples for the tests of every file here.

use std::collections::BTreeMap;

use agent_common::parts::Part;

use super::layers::name;
use crate::export::json::{AgentState, Durations, Lane, Outcomes, Requests, Workload, Workloads};

/// Nanoseconds of a second.
pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// Three workloads at `at_s` seconds of an agent that started at 0. With
/// `step` they have done `step` times: 100 requests, 10 failed, throttled and
/// retransmitting; 100 measured and 100 lost; nothing.
pub(in crate::cli) fn sample(at_s: u64, step: u64) -> Workloads {
    let api = Workload {
        outcomes: Outcomes { exported: 100 * step, filtered: 7 * step, ..Outcomes::default() },
        requests: vec![requests("2xx", 90 * step, 0), requests("5xx", 10 * step, 10 * step)],
        duration: durations(&[(133, 90 * step), (185, 10 * step)]),
        runqueue: durations(&[(60, 20 * step)]),
        throttled_ns: SECOND_NS / 2 * step,
        retransmits: 3 * step,
        parts: parts(&[(Part::Cpu, 500), (Part::Downstream, 300), (Part::Unknown, 200)], step),
        slow_parts: parts(&[(Part::Downstream, 71), (Part::Runqueue, 20), (Part::Cpu, 9)], step),
        slow_requests: step,
        ..workload("shop", "api-7d9f8b6c5-x2x4z", "api", "deployment/api")
    };
    let web = Workload {
        outcomes: Outcomes { exported: 100 * step, lost: 100 * step, ..Outcomes::default() },
        requests: vec![requests("2xx", 100 * step, 0)],
        duration: durations(&[(100, 100 * step)]),
        ..workload("", "", "", "systemd/nginx.service")
    };
    Workloads {
        taken_unix_ns: at_s * SECOND_NS,
        agent: AgentState {
            pid: 42,
            version: "0.1.0".to_owned(),
            kernel: "6.18.0".to_owned(),
            started_unix_ns: 0,
            cpu_ns: 10_000_000 * step,
            resident_bytes: 18 << 20,
            lanes: [("sockets", "works"), ("cpu", "degraded"), ("syscalls", "off")]
                .map(|(lane, state)| Lane { lane: lane.to_owned(), state: state.to_owned() })
                .to_vec(),
        },
        workloads: vec![api, web, workload("", "", "", "process/idle")],
    }
}

fn workload(namespace: &str, pod: &str, container: &str, workload: &str) -> Workload {
    let [namespace, pod, container, workload] =
        [namespace, pod, container, workload].map(str::to_owned);
    Workload { namespace, pod, container, workload, ..Workload::default() }
}

fn parts(parts: &[(Part, u64)], step: u64) -> BTreeMap<String, u64> {
    let sums = parts.iter().map(|(part, ms)| (name(*part), ms * 1_000_000 * step));
    sums.filter(|(_, ns)| *ns > 0).collect()
}

fn requests(class: &str, count: u64, errors: u64) -> Requests {
    Requests { protocol: "http".to_owned(), class: class.to_owned(), count, errors }
}

fn durations(buckets: &[(u16, u64)]) -> Durations {
    let buckets = buckets.iter().copied().filter(|(_, count)| *count > 0);
    Durations { sum_ns: 0, buckets: buckets.collect() }
}
