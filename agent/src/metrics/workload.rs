//! Metrics of workloads: what a container, or a service outside of one, does.
//!
//! Separate from the agent's own, because these carry the workload's identity
//! and share its budget of series.

use super::{Classic, Metric, MetricKind};
use agent_common::histogram::{REQUEST_EDGES_NS, RUNQUEUE_EDGES_NS};

const REQUEST_CLASSIC: MetricKind =
    MetricKind::Histogram { edges_ns: &REQUEST_EDGES_NS, classic: Classic::Always };
const RUNQUEUE_CLASSIC: MetricKind =
    MetricKind::Histogram { edges_ns: &RUNQUEUE_EDGES_NS, classic: Classic::Always };
const SHORT: MetricKind =
    MetricKind::Histogram { edges_ns: &RUNQUEUE_EDGES_NS, classic: Classic::Detail };
/// A connect whose SYN is lost takes a second and more.
const LONG: MetricKind =
    MetricKind::Histogram { edges_ns: &REQUEST_EDGES_NS, classic: Classic::Detail };

/// HTTP requests served; the name is OpenTelemetry's. Planned for three
/// combinations of labels a container.
pub static HTTP_SERVER_REQUEST_DURATION: Metric = Metric {
    name: "http_server_request_duration_seconds",
    help: "Time from the first byte of an HTTP request to the last byte of its response, by server.",
    unit: "seconds",
    kind: REQUEST_CLASSIC,
    labels: &[
        "http_request_method",
        "http_response_status_code",
        "url_scheme",
        "error_type",
        "http_route",
    ],
    has_identity: true,
    share: 45,
};

/// Turns of protocols that are not HTTP.
pub static TURN_DURATION: Metric = Metric {
    name: "strata_turn_duration_seconds",
    help: "Time from the first byte of a request to the last byte of its reply, for protocols other than HTTP.",
    unit: "seconds",
    kind: REQUEST_CLASSIC,
    labels: &["protocol", "server_port"],
    has_identity: true,
    share: 15,
};

/// The books: finished requests by what became of them.
pub static REQUESTS: Metric = Metric {
    name: "strata_requests",
    help: "Finished requests by what became of their records; the outcomes sum up to all requests.",
    unit: "",
    kind: MetricKind::Counter,
    labels: &["outcome"],
    has_identity: true,
    share: 5,
};

/// Where the time of requests went.
pub static REQUEST_PART: Metric = Metric {
    name: "strata_request_part_seconds",
    help: "Time of requests by part; the parts of a protocol sum up to the sum of its durations.",
    unit: "seconds",
    kind: MetricKind::Counter,
    labels: &["protocol", "layer", "part"],
    has_identity: true,
    share: 19,
};

/// The same, of the slow tail. Sampled-out requests are never in it.
pub static SLOW_REQUEST_PART: Metric = Metric {
    name: "strata_slow_request_part_seconds",
    help: "Time of slow requests by part: of those above the running 99th percentile of their service.",
    unit: "seconds",
    kind: MetricKind::Counter,
    labels: &["layer", "part"],
    has_identity: true,
    share: 18,
};

/// How many requests the slow tail has.
pub static SLOW_REQUESTS: Metric = Metric {
    name: "strata_slow_requests",
    help: "Requests above the running 99th percentile of their service.",
    unit: "",
    kind: MetricKind::Counter,
    labels: &[],
    has_identity: true,
    share: 1,
};

/// How well the parts are known.
pub static REQUEST_PART_CONFIDENCE: Metric = Metric {
    name: "strata_request_part_confidence_seconds",
    help: "Time of requests by how well it is known which part it belongs to.",
    unit: "seconds",
    kind: MetricKind::Counter,
    labels: &["confidence"],
    has_identity: true,
    share: 3,
};

/// HTTP calls made; the name is OpenTelemetry's. Planned for one peer.
pub static HTTP_CLIENT_REQUEST_DURATION: Metric = Metric {
    name: "http_client_request_duration_seconds",
    help: "Time from the first byte of an HTTP request to the last byte of its response, by client.",
    unit: "seconds",
    kind: REQUEST_CLASSIC,
    labels: &[
        "http_request_method",
        "http_response_status_code",
        "server_address",
        "server_port",
        "error_type",
    ],
    has_identity: true,
    share: 15,
};

/// Calls of protocols that are not HTTP. Planned for one peer.
pub static CALL_DURATION: Metric = Metric {
    name: "strata_call_duration_seconds",
    help: "Time from the first byte of a call to the last byte of its reply, for protocols other than HTTP.",
    unit: "seconds",
    kind: LONG,
    labels: &["protocol", "server_address", "server_port"],
    has_identity: true,
    share: 2,
};

/// Who ran while requests waited for a CPU.
pub static CPU_TAKEN: Metric = Metric {
    name: "strata_cpu_taken_seconds",
    help: "Longest wait of each request for a CPU, by who ran instead; short waits are not counted.",
    unit: "seconds",
    kind: MetricKind::Counter,
    labels: &["by_namespace", "by_workload"],
    has_identity: true,
    share: 5,
};

/// Ready until on a CPU.
pub static RUNQUEUE_LATENCY: Metric = Metric {
    name: "strata_runqueue_latency_seconds",
    help: "Time that threads were ready to run and waited for a CPU, throttled time left out.",
    unit: "seconds",
    kind: RUNQUEUE_CLASSIC,
    labels: &[],
    has_identity: true,
    share: 15,
};

/// Off-CPU time by the parts of the `os` layer.
pub static OFF_CPU: Metric = Metric {
    name: "strata_off_cpu_seconds",
    help: "Time that threads were off the CPU by reason; idle threads are not counted.",
    unit: "seconds",
    kind: MetricKind::Counter,
    labels: &["reason"],
    has_identity: true,
    share: 6,
};

/// CPU quota.
pub static CPU_THROTTLED: Metric = Metric {
    name: "strata_cpu_throttled_seconds",
    help: "Time that ready threads could not run because their cgroup was out of CPU quota.",
    unit: "seconds",
    kind: MetricKind::Counter,
    labels: &[],
    has_identity: true,
    share: 1,
};

/// System calls: time. Planned for six classes a container.
pub static SYSCALL: Metric = Metric {
    name: "strata_syscall_seconds",
    help: "Time between entry and exit of system calls, by class.",
    unit: "seconds",
    kind: MetricKind::Counter,
    labels: &["class"],
    has_identity: true,
    share: 6,
};

/// System calls: number. Planned for six classes a container.
pub static SYSCALLS: Metric = Metric {
    name: "strata_syscalls",
    help: "System calls that returned, by class.",
    unit: "",
    kind: MetricKind::Counter,
    labels: &["class"],
    has_identity: true,
    share: 6,
};

/// System calls: failures.
pub static SYSCALL_ERRORS: Metric = Metric {
    name: "strata_syscall_errors",
    help: "System calls that failed, by class and error number.",
    unit: "",
    kind: MetricKind::Counter,
    labels: &["class", "errno"],
    has_identity: true,
    share: 4,
};

/// Smoothed RTT.
pub static TCP_RTT: Metric = Metric {
    name: "strata_tcp_rtt_seconds",
    help: "Smoothed round-trip time of TCP connections, at most one sample per connection and round trip.",
    unit: "seconds",
    kind: SHORT,
    labels: &["scope"],
    has_identity: true,
    share: 2,
};

/// Mean deviation of the RTT.
pub static TCP_JITTER: Metric = Metric {
    name: "strata_tcp_jitter_seconds",
    help: "Mean deviation of the round-trip time of TCP connections, sampled with it.",
    unit: "seconds",
    kind: SHORT,
    labels: &["scope"],
    has_identity: true,
    share: 2,
};

/// The denominator of the retransmit ratio.
pub static TCP_SEGMENTS_SENT: Metric = Metric {
    name: "strata_tcp_segments_sent",
    help: "Segments with data sent, those sent again included; bare acknowledgements, which are never sent again, are not counted.",
    unit: "",
    kind: MetricKind::Counter,
    labels: &["scope"],
    has_identity: true,
    share: 1,
};

/// Retransmits; SYN and SYN-ACK kept apart, since each costs a second.
pub static TCP_RETRANSMITS: Metric = Metric {
    name: "strata_tcp_retransmits",
    help: "TCP segments sent again, by kind.",
    unit: "",
    kind: MetricKind::Counter,
    labels: &["scope", "kind"],
    has_identity: true,
    share: 3,
};

/// Resets.
pub static TCP_RESETS: Metric = Metric {
    name: "strata_tcp_resets",
    help: "TCP resets by direction; a connect that is refused is one that was received.",
    unit: "",
    kind: MetricKind::Counter,
    labels: &["direction"],
    has_identity: true,
    share: 2,
};

/// Outgoing connects.
pub static TCP_CONNECTS: Metric = Metric {
    name: "strata_tcp_connects",
    help: "Outgoing TCP connects by result.",
    unit: "",
    kind: MetricKind::Counter,
    labels: &["result"],
    has_identity: true,
    share: 2,
};

/// Time of outgoing connects.
pub static TCP_CONNECT: Metric = Metric {
    name: "strata_tcp_connect_seconds",
    help: "Time from SYN to established, of outgoing TCP connects that succeeded.",
    unit: "seconds",
    kind: LONG,
    labels: &[],
    has_identity: true,
    share: 2,
};

/// Time in the accept queue.
pub static TCP_ACCEPT_WAIT: Metric = Metric {
    name: "strata_tcp_accept_wait_seconds",
    help: "Time that established incoming TCP connections waited to be accepted.",
    unit: "seconds",
    kind: LONG,
    labels: &[],
    has_identity: true,
    share: 2,
};

/// Labels of an edge.
const PEER: &[&str] = &["peer_namespace", "peer_workload", "peer_zone", "scope"];

/// Smoothed RTT, by peer. Planned for one peer, as all of an edge's.
pub static EDGE_RTT: Metric = Metric {
    name: "strata_edge_rtt_seconds",
    help: "Smoothed round-trip time of TCP connections by peer, at most one sample per connection and round trip.",
    unit: "seconds",
    kind: SHORT,
    labels: PEER,
    has_identity: true,
    share: 2,
};

/// Mean deviation of the RTT, by peer.
pub static EDGE_JITTER: Metric = Metric {
    name: "strata_edge_jitter_seconds",
    help: "Mean deviation of the round-trip time of TCP connections by peer, sampled with it.",
    unit: "seconds",
    kind: SHORT,
    labels: PEER,
    has_identity: true,
    share: 2,
};

/// The denominator of the retransmit ratio, by peer.
pub static EDGE_SEGMENTS_SENT: Metric = Metric {
    name: "strata_edge_segments_sent",
    help: "Segments with data sent to a peer, those sent again included.",
    unit: "",
    kind: MetricKind::Counter,
    labels: PEER,
    has_identity: true,
    share: 1,
};

/// Retransmits, by peer.
pub static EDGE_RETRANSMITS: Metric = Metric {
    name: "strata_edge_retransmits",
    help: "TCP segments sent again to a peer, by kind.",
    unit: "",
    kind: MetricKind::Counter,
    labels: &["peer_namespace", "peer_workload", "peer_zone", "scope", "kind"],
    has_identity: true,
    share: 3,
};

/// Resets, by peer; only where there were some.
pub static EDGE_RESETS: Metric = Metric {
    name: "strata_edge_resets",
    help: "TCP resets by peer and direction.",
    unit: "",
    kind: MetricKind::Counter,
    labels: &["peer_namespace", "peer_workload", "peer_zone", "scope", "direction"],
    has_identity: true,
    share: 2,
};

/// Connects, by peer; only where there were some.
pub static EDGE_CONNECTS: Metric = Metric {
    name: "strata_edge_connects",
    help: "Outgoing TCP connects by peer and result.",
    unit: "",
    kind: MetricKind::Counter,
    labels: &["peer_namespace", "peer_workload", "peer_zone", "scope", "result"],
    has_identity: true,
    share: 4,
};

/// What connects took, by peer: a sum, since buckets for each peer would cost
/// more than they tell. A lost SYN is a second.
pub static EDGE_CONNECT_TIME: Metric = Metric {
    name: "strata_edge_connect_seconds",
    help: "Time from SYN to established by peer, all outgoing TCP connects that succeeded together.",
    unit: "seconds",
    kind: MetricKind::Counter,
    labels: PEER,
    has_identity: true,
    share: 1,
};

/// Segments that came out of order, by peer; only where there were some. (Where
/// the kernel does not count them there never are.)
pub static EDGE_SEGMENTS_OUT_OF_ORDER: Metric = Metric {
    name: "strata_edge_segments_out_of_order",
    help: "TCP segments that came from a peer out of order: one before them was lost or late.",
    unit: "",
    kind: MetricKind::Counter,
    labels: PEER,
    has_identity: true,
    share: 1,
};

/// Stalls, by peer; only where there were some.
pub static EDGE_ZERO_WINDOW_STALLS: Metric = Metric {
    name: "strata_edge_zero_window_stalls",
    help: "Times that data waited to be sent because the peer did not read: its window was zero. Those that end within two seconds may be missed.",
    unit: "",
    kind: MetricKind::Counter,
    labels: PEER,
    has_identity: true,
    share: 1,
};

/// What they took, by peer.
pub static EDGE_ZERO_WINDOW_TIME: Metric = Metric {
    name: "strata_edge_zero_window_seconds",
    help: "Time that data waited to be sent because the peer's window was zero, all connections together.",
    unit: "seconds",
    kind: MetricKind::Counter,
    labels: PEER,
    has_identity: true,
    share: 1,
};

/// What else is known of a container.
pub static CONTAINER_INFO: Metric = Metric {
    name: "strata_container_info",
    help: "Identifiers of the container, always 1.",
    unit: "",
    kind: MetricKind::Gauge,
    labels: &["container_id", "runtime", "pod_uid"],
    has_identity: true,
    share: 1,
};

/// Every metric of this file, in the order of the reference.
pub const ALL: &[&Metric] = &[
    &HTTP_SERVER_REQUEST_DURATION,
    &TURN_DURATION,
    &REQUESTS,
    &REQUEST_PART,
    &SLOW_REQUEST_PART,
    &SLOW_REQUESTS,
    &REQUEST_PART_CONFIDENCE,
    &HTTP_CLIENT_REQUEST_DURATION,
    &CALL_DURATION,
    &CPU_TAKEN,
    &RUNQUEUE_LATENCY,
    &OFF_CPU,
    &CPU_THROTTLED,
    &SYSCALL,
    &SYSCALLS,
    &SYSCALL_ERRORS,
    &TCP_RTT,
    &TCP_JITTER,
    &TCP_SEGMENTS_SENT,
    &TCP_RETRANSMITS,
    &TCP_RESETS,
    &TCP_CONNECTS,
    &TCP_CONNECT,
    &TCP_ACCEPT_WAIT,
    &EDGE_RTT,
    &EDGE_JITTER,
    &EDGE_SEGMENTS_SENT,
    &EDGE_RETRANSMITS,
    &EDGE_RESETS,
    &EDGE_CONNECTS,
    &EDGE_CONNECT_TIME,
    &EDGE_SEGMENTS_OUT_OF_ORDER,
    &EDGE_ZERO_WINDOW_STALLS,
    &EDGE_ZERO_WINDOW_TIME,
    &CONTAINER_INFO,
];
