//! What each label means.
//!
//! Separate because a label has the same meaning in every metric that has it.

/// One label.
#[derive(Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub meaning: &'static str,
}

const fn label(name: &'static str, meaning: &'static str) -> Label {
    Label { name, meaning }
}

/// Every label, in the order of the reference: identity, workload, agent.
pub const ALL: &[Label] = &[
    label("namespace", "Kubernetes namespace of the workload; empty outside Kubernetes"),
    label("pod", "name of the pod; empty outside Kubernetes"),
    label("container", "name of the container, else its short id; empty for none"),
    label(
        "workload",
        "`deployment/api` and the like; outside Kubernetes `systemd/<unit>` or `process/<executable>`; `pod/<uid>` for a pod whose metadata is missing",
    ),
    label("http_request_method", "method of the request, `_OTHER` for unknown ones"),
    label("http_response_status_code", "status code of the response; absent if there was none"),
    label("url_scheme", "`http` or `https`"),
    label("error_type", "why the request failed; absent if it did not"),
    label(
        "http_route",
        "route of the request, `_other` beyond 32 a container; absent unless routes are configured",
    ),
    label("protocol", "protocol of the connection as far as it is known"),
    label(
        "server_port",
        "port that the workload listens on; of a call, the peer's, `_other` beyond the bounds",
    ),
    label("layer", "layer that the part belongs to, see the README"),
    label("part", "what requests were doing; together with `layer` it is unique"),
    label(
        "confidence",
        "`exact` (from events), `estimated` (from samples or turns), `unavailable` (no evidence, or sampled out)",
    ),
    label("server_address", "IP address of the peer; four a container, `_other` for the rest"),
    label("by_namespace", "Kubernetes namespace of who ran instead"),
    label(
        "by_workload",
        "who ran instead: a watched workload, else `process/<thread name>`; four a container, `_other` for the rest",
    ),
    label("outcome", "`exported`, `sampled`, `filtered`, `dropped` or `lost`"),
    label("reason", "why, from a closed list for each metric"),
    label("class", "class of the system call"),
    label("errno", "name of the error number, `_other` for rare ones"),
    label(
        "scope",
        "how far away the peer is: `loopback`, `unknown`; of an edge also `node`, `zone`, `cross_zone`, `external`",
    ),
    label("peer_namespace", "Kubernetes namespace of the peer; absent if it has none"),
    label(
        "peer_workload",
        "who the peer is: a workload, `service/NAME`, `node/NAME`, or the configured name of its network; absent if it is not known, `_other` for those beyond six a container",
    ),
    label("peer_zone", "zone of the peer's node; absent if it is not known"),
    label(
        "kind",
        "of retransmits `data`, `syn` or `synack`; of what `strata peers` watches `node`, `service` or `pod`",
    ),
    label("direction", "`sent` or `received`"),
    label(
        "result",
        "of connects `ok`, `refused`, `timeout` or `aborted`; of tries to send spans also `busy` and `unreachable`; of questions about peers also `not_ready`, `stale`, `garbage`, of their addresses `named` or `nobody`",
    ),
    label("container_id", "full id of the container"),
    label("runtime", "container runtime, as its cgroup names it"),
    label("pod_uid", "uid of the pod"),
    label("lane", "lane: `sockets`, `cpu`, `process`, `tcp`, `syscalls`"),
    label("state", "state, from a closed list for each metric"),
    label("program", "kernel program, named for its hook"),
    label("map", "kernel map"),
    label("verb", "what the API server is asked: `list` or `watch`"),
    label("mode", "what the time of a process is split by: `goroutine` or `thread`"),
    label("decision", "what was decided about the spans of a request"),
    label("metric", "metric, without suffix"),
    label("version", "version of the agent"),
    label("revision", "commit that it was built from"),
    label("kernel", "release of the running kernel"),
];
