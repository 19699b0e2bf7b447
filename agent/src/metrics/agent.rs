//! Metrics of the agent itself: what it costs, what it lost, what it does.
//!
//! Separate from the workloads' because they carry no identity: a scrape gives
//! them the agent's own pod.

use super::{Metric, MetricKind, own};

use MetricKind::{Counter, Gauge};

/// The kill switch, and crashes.
pub static LANES_HELD: Metric = own(
    "strata_agent_lanes_held",
    "",
    Gauge,
    &["reason"],
    "Whether every lane is held off, by reason: the kill switch, or three crashes in ten minutes.",
);

/// Whether the file can be used.
pub static CONFIG_RELOAD_SUCCESSFUL: Metric = own(
    "strata_agent_config_last_reload_successful",
    "",
    Gauge,
    &[],
    "Whether the configuration was valid when it was last loaded; if not, the one before is used.",
);

/// When the configuration in use was loaded.
pub static CONFIG_RELOAD_TIMESTAMP: Metric = own(
    "strata_agent_config_last_reload_success_timestamp_seconds",
    "seconds",
    Gauge,
    &[],
    "When a valid configuration was last loaded, in unix time.",
);

/// One series a lane and state, 1 for the state that it is in, else 0.
pub static LANE_STATE: Metric = own(
    "strata_agent_lane_state",
    "",
    Gauge,
    &["lane", "state"],
    "State of each lane, 1 for the current one.",
);

/// Runs of kernel programs.
pub static PROGRAM_RUNS: Metric =
    own("strata_agent_program_runs", "", Counter, &["program"], "Runs of each kernel program.");

/// Cost of kernel programs.
pub static PROGRAM_SECONDS: Metric = own(
    "strata_agent_program_seconds",
    "seconds",
    Counter,
    &["program"],
    "Time spent in each kernel program, estimated from the runs that are timed.",
);

/// What the kernel could not hand over: lost.
pub static KERNEL_LOSSES: Metric = own(
    "strata_agent_kernel_losses",
    "",
    Counter,
    &["reason"],
    "What the kernel programs could not record or hand over, by reason.",
);

/// What the agent discarded against its will: dropped.
pub static DROPPED: Metric = own(
    "strata_agent_dropped",
    "",
    Counter,
    &["reason"],
    "Records that the agent discarded against its will, by reason.",
);

/// What was discarded on purpose: filtered.
pub static FILTERED: Metric = own(
    "strata_agent_filtered",
    "",
    Counter,
    &["reason"],
    "Records that were discarded on purpose, by reason.",
);

/// Bytes that are no record.
pub static MALFORMED_RECORDS: Metric = own(
    "strata_agent_malformed_records",
    "",
    Counter,
    &["reason"],
    "Records from the kernel that could not be decoded, by reason.",
);

/// Fill of kernel maps.
pub static MAP_ENTRIES: Metric = own(
    "strata_agent_map_entries",
    "",
    Gauge,
    &["map"],
    "Entries in each kernel map, as of the last sweep.",
);

/// Size of kernel maps.
pub static MAP_CAPACITY: Metric =
    own("strata_agent_map_capacity", "", Gauge, &["map"], "Entries that each kernel map can hold.");

/// Looks at the edges that failed.
pub static EDGE_SWEEPS_FAILED: Metric = own(
    "strata_agent_edge_sweeps_failed",
    "",
    Counter,
    &[],
    "Times that the kernel refused to hand over what it counts by peer.",
);

/// The queue between reader and worker.
pub static QUEUE_DEPTH: Metric = own(
    "strata_agent_queue_depth",
    "",
    Gauge,
    &[],
    "Inputs that wait in the queue between reader and worker.",
);

/// Whether somebody captures.
pub static CAPTURING: Metric = own(
    "strata_agent_capturing",
    "",
    Gauge,
    &[],
    "1 while threads of some workload are captured (`strata capture`), else 0.",
);

/// CPU of the agent's own process, kernel programs left out.
pub static CPU_SECONDS: Metric = own(
    "strata_agent_cpu_seconds",
    "seconds",
    Counter,
    &[],
    "CPU time of the agent process, user and system; kernel programs are not in it.",
);

/// Memory of the agent's own process.
pub static RESIDENT_MEMORY: Metric = own(
    "strata_agent_resident_memory_bytes",
    "bytes",
    Gauge,
    &[],
    "Resident memory of the agent process.",
);

/// Written by the exporter at each scrape, not by who makes the snapshot.
pub static SNAPSHOT_AGE: Metric = own(
    "strata_agent_snapshot_age_seconds",
    "seconds",
    Gauge,
    &[],
    "Age of the values of this scrape; above a second the worker did not answer in time.",
);

/// One series a state, 1 for the current one, else 0.
pub static GOVERNOR_STATE: Metric = own(
    "strata_agent_governor_state",
    "",
    Gauge,
    &["state"],
    "State of the governor, 1 for the current one.",
);

/// What the governor holds the agent to.
pub static GOVERNOR_BUDGET: Metric = own(
    "strata_agent_governor_budget_ratio",
    "ratio",
    Gauge,
    &[],
    "CPU that the agent with its kernel programs may use, as a part of the node.",
);

/// What the governor measured.
pub static GOVERNOR_USE: Metric = own(
    "strata_agent_governor_use_ratio",
    "ratio",
    Gauge,
    &[],
    "CPU that the agent with its kernel programs uses, as a part of the node.",
);

/// Series of all workloads.
pub static SERIES: Metric = own(
    "strata_agent_series",
    "",
    Gauge,
    &[],
    "Series of workloads that the agent exports, counted as text.",
);

/// Folding into `_other`.
pub static SERIES_FOLDED: Metric = own(
    "strata_agent_series_folded",
    "",
    Counter,
    &["metric"],
    "Label values that were folded into _other because a budget was used up, by metric.",
);

/// Containers that are not exported.
pub static CONTAINERS_OVER_BUDGET: Metric = own(
    "strata_agent_containers_over_budget",
    "",
    Gauge,
    &[],
    "Containers that are counted but not exported because the budget of the node is used up.",
);

/// What runs.
pub static BUILD_INFO: Metric = own(
    "strata_agent_build_info",
    "",
    Gauge,
    &["version", "revision", "kernel"],
    "Version of the agent and release of the kernel that it runs on, always 1.",
);

/// When it started.
pub static START_TIME: Metric = own(
    "strata_agent_start_time_seconds",
    "seconds",
    Gauge,
    &[],
    "Start of the agent, in unix time.",
);

/// Go processes by what their time is split by.
pub static GO_PROCESSES: Metric = own(
    "strata_agent_go_processes",
    "",
    Gauge,
    &["mode", "reason"],
    "Watched Go processes by mode: goroutine, or thread with the reason why their goroutines cannot be followed.",
);

/// How names of pods are come by.
pub static METADATA_STATE: Metric = own(
    "strata_agent_metadata_state",
    "",
    Gauge,
    &["state"],
    "How the names of pods are come by, 1 for the current state: off, starting, watching, failing.",
);

/// How old the last word of the API server is.
pub static METADATA_AGE: Metric = own(
    "strata_agent_metadata_age_seconds",
    "seconds",
    Gauge,
    &[],
    "Time since the API server last said anything, if only that nothing has changed.",
);

/// Pods that are known.
pub static METADATA_PODS: Metric =
    own("strata_agent_metadata_pods", "", Gauge, &[], "Pods of this node that are known.");

/// Pods beyond the bound.
pub static METADATA_PODS_LEFT_OUT: Metric = own(
    "strata_agent_metadata_pods_left_out",
    "",
    Counter,
    &[],
    "Pods that were left out because more are not kept.",
);

/// What went wrong with the API server.
pub static METADATA_ERRORS: Metric = own(
    "strata_agent_metadata_errors",
    "",
    Counter,
    &["reason"],
    "Failures to hear of pods from the API server, by reason.",
);

/// What the API server is asked.
pub static METADATA_REQUESTS: Metric = own(
    "strata_agent_metadata_requests",
    "",
    Counter,
    &["verb"],
    "Requests to the API server: lists of all pods, and watches; each watch after the first is a restart.",
);

/// Pods that are not watched on purpose.
pub static PODS_UNSELECTED: Metric = own(
    "strata_agent_pods_unselected",
    "",
    Gauge,
    &["reason"],
    "Pods of which a container is not watched on purpose, by reason; unknown_pod are those of other nodes.",
);

/// Containers of pods, by what is known of their names.
pub static POD_CONTAINERS: Metric = own(
    "strata_agent_pod_containers",
    "",
    Gauge,
    &["state"],
    "Containers of pods that serve: named, waiting for their name and not shown, or shown without (unnamed).",
);

/// What is decided about requests, where spans are on.
pub static TRACE_DECISIONS: Metric = own(
    "strata_agent_trace_decisions",
    "",
    Counter,
    &["decision"],
    "Requests by what was decided about their spans: kept as error, slow, linked, parent or ratio; not kept as out, capped, unsampled or instrumented.",
);

/// What came of the search for `traceparent`.
pub static TRACE_PARENTS: Metric = own(
    "strata_agent_trace_parents",
    "",
    Counter,
    &["result"],
    "Requests by their `traceparent`, where spans are on: read, refused as malformed or double, or unseen in a head that goes on beyond what is looked at.",
);

/// The books of requests as spans.
pub static TRACE_REQUESTS: Metric = own(
    "strata_agent_trace_requests",
    "",
    Counter,
    &["outcome"],
    "Requests by what became of their spans; with those that wait they are all that were exported as metrics.",
);

/// Chosen requests that did not arrive.
pub static TRACE_DROPPED: Metric = own(
    "strata_agent_trace_dropped",
    "",
    Counter,
    &["reason"],
    "Requests that were to be exported as spans and could not be, by reason.",
);

/// Spans that arrived.
pub static TRACE_SPANS: Metric = own(
    "strata_agent_trace_spans",
    "",
    Counter,
    &[],
    "Spans that the endpoint has taken: of requests, and of the calls that they made.",
);

/// How the endpoint answers.
pub static TRACE_SENDS: Metric = own(
    "strata_agent_trace_sends",
    "",
    Counter,
    &["result"],
    "Tries to send a batch of spans, by result.",
);

/// Requests on their way.
pub static TRACE_WAITING: Metric = own(
    "strata_agent_trace_waiting",
    "",
    Gauge,
    &[],
    "Requests that wait to be exported as spans: for their calls, or for the endpoint.",
);

/// Memory of requests on their way.
pub static TRACE_QUEUE_BYTES: Metric = own(
    "strata_agent_trace_queue_bytes",
    "bytes",
    Gauge,
    &[],
    "Memory of requests that wait for the endpoint of spans; at most 8 MiB.",
);

/// Whether peers elsewhere have names.
pub static PEER_ASKS: Metric = own(
    "strata_agent_peer_asks",
    "",
    Counter,
    &["result"],
    "Rounds of questions about peers on other nodes, by result.",
);

/// What is asked.
pub static PEER_LOOKUPS: Metric = own(
    "strata_agent_peer_lookups",
    "",
    Counter,
    &["result"],
    "Addresses that were asked about, by whether they have a name.",
);

/// What is known.
pub static PEER_ADDRESSES: Metric = own(
    "strata_agent_peer_addresses",
    "",
    Gauge,
    &[],
    "Addresses of peers on other nodes that are known, at most 4096, those that are nobody's included.",
);

/// What there was no room for.
pub static PEER_LEFT_OUT: Metric = own(
    "strata_agent_peer_left_out",
    "",
    Counter,
    &[],
    "Times that an address was not asked about because too many waited.",
);

/// Every metric of this file, in the order of the reference.
pub const ALL: &[&Metric] = &[
    &LANE_STATE,
    &LANES_HELD,
    &PROGRAM_RUNS,
    &PROGRAM_SECONDS,
    &KERNEL_LOSSES,
    &DROPPED,
    &FILTERED,
    &MALFORMED_RECORDS,
    &MAP_ENTRIES,
    &MAP_CAPACITY,
    &EDGE_SWEEPS_FAILED,
    &QUEUE_DEPTH,
    &CAPTURING,
    &CPU_SECONDS,
    &RESIDENT_MEMORY,
    &SNAPSHOT_AGE,
    &GOVERNOR_STATE,
    &GOVERNOR_BUDGET,
    &GOVERNOR_USE,
    &CONFIG_RELOAD_SUCCESSFUL,
    &CONFIG_RELOAD_TIMESTAMP,
    &SERIES,
    &SERIES_FOLDED,
    &CONTAINERS_OVER_BUDGET,
    &BUILD_INFO,
    &START_TIME,
    &GO_PROCESSES,
    &METADATA_STATE,
    &METADATA_AGE,
    &METADATA_PODS,
    &METADATA_PODS_LEFT_OUT,
    &METADATA_ERRORS,
    &METADATA_REQUESTS,
    &PODS_UNSELECTED,
    &POD_CONTAINERS,
    &PEER_ASKS,
    &PEER_LOOKUPS,
    &PEER_ADDRESSES,
    &PEER_LEFT_OUT,
    &TRACE_DECISIONS,
    &TRACE_PARENTS,
    &TRACE_REQUESTS,
    &TRACE_DROPPED,
    &TRACE_SPANS,
    &TRACE_SENDS,
    &TRACE_WAITING,
    &TRACE_QUEUE_BYTES,
];
