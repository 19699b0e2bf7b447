//! Every key, once: this table feeds the file's parser, the environment, the
//! flags, `docs/config.md` and `deploy/strata.yaml`.
//!
//! Separate because it is data: a new key is a field of [`Config`], its
//! default there, and one line here.

use std::time::Duration;

use agent_common::limits::MAX_IGNORED_PATHS;

use super::key::{Key, Many, One, Topic};
use super::value::{
    AbsolutePath, Address, BytesIn, Choice, DurationIn, Flag, GlobText, HttpUrl, Maybe, Name,
    NetworkText, NodeName, PlainUrl, RequestPath, RoutePattern, SelectorText, Share, Whole,
};
use super::{Compression, Config, Detail, LogFormat, LogLevel, TraceProtocol};

/// The most items of a list that selects what to watch.
const MAX_SELECTED: usize = 256;
/// The most patterns of routes: twice the routes that a container may have.
const MAX_ROUTE_PATTERNS: usize = 64;
/// The kernel's bound on process ids (`PID_MAX_LIMIT`).
const MAX_PID: u32 = 4 << 20;
/// What the kernel keeps of a task's name: `TASK_COMM_LEN` without its NUL.
const MAX_COMM_BYTES: usize = 15;
/// The address of a unix socket holds 108 bytes, the last of them a NUL.
const MAX_SOCKET_BYTES: usize = 107;
/// `PATH_MAX` without its NUL.
const MAX_PATH_BYTES: usize = 4095;
/// `LOGIN_NAME_MAX` as the shadow tools hold it for groups.
const MAX_GROUP_BYTES: usize = 32;

/// The slot of a plain key: a type and a field of [`Config`].
macro_rules! one {
    ($of:expr, $($field:ident).+) => {
        const {
            &One {
                of: $of,
                get: |config: &Config| &config.$($field).+,
                place: |config: &mut Config| &mut config.$($field).+,
            }
        }
    };
}

/// The slot of a list: the type of an item, a bound, what stands between two
/// items in a flag or a variable, and a field of [`Config`].
macro_rules! many {
    ($of:expr, $max:expr, $separator:literal, $($field:ident).+) => {
        const {
            &Many {
                of: $of,
                max: $max,
                separator: $separator,
                get: |config: &Config| &config.$($field).+,
                place: |config: &mut Config| &mut config.$($field).+,
            }
        }
    };
}

/// Containers are selected alike in and out.
const CONTAINER: GlobText =
    GlobText { what: "container name, with * and ?, or 8 or more characters of an id" };
/// Namespaces are selected alike in and out.
const NAMESPACE: GlobText = GlobText { what: "namespace, with * and ?" };

/// Severities, the most severe first.
const LEVEL: Choice<LogLevel> = Choice(&[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
]);

/// Every key, in the order of the documentation.
#[rustfmt::skip] // one key, one paragraph: name, type and place, help, traits
pub static KEYS: &[Key] = &[
    Key::new("listen",
        one!(Address, listen),
        "Where /metrics, /healthz and /readyz are served.")
        .under(Topic::Endpoint),
    Key::new("socket",
        one!(AbsolutePath { max_bytes: MAX_SOCKET_BYTES }, socket),
        "The unix socket through which the other verbs talk to a running agent; its mode is 0660.")
        .under(Topic::Endpoint),
    Key::new("socket_group",
        one!(Maybe { of: Name { what: "group name or id", max_bytes: MAX_GROUP_BYTES }, empty: "root only" }, socket_group),
        "The group whose members may use the socket."),
    Key::new("off",
        one!(Flag, off),
        "The kill switch: detaches every program within 2 s, without a restart. An agent that starts for the fourth time within ten minutes without having been stopped starts with its programs detached too, whatever is written here: it attaches them after ten minutes, or once the file `SOCKET.starts` (beside the unix socket) is deleted.")
        .live(),
    Key::new("detail",
        one!(Choice(&[("normal", Detail::Normal), ("full", Detail::Full)]), detail),
        "`full` gives every histogram its classic buckets.")
        .live(),
    Key::new("cgroup_root",
        one!(Maybe { of: AbsolutePath { max_bytes: MAX_PATH_BYTES }, empty: "found at start" }, cgroup_root),
        "Where the cgroup v2 hierarchy is mounted."),
    Key::new("proc_root",
        one!(AbsolutePath { max_bytes: MAX_PATH_BYTES }, proc_root),
        "Where the proc file system of the node is mounted."),
    Key::new("watch.host",
        one!(Flag, watch.host),
        "Watch API processes outside containers too.")
        .under(Topic::Target).live(),
    Key::new("watch.pids",
        many!(Whole { min: 1, max: MAX_PID }, MAX_SELECTED, ',', watch.pids),
        "Watch these processes, wherever they run.")
        .under(Topic::Target).live().alias("pid"),
    Key::new("watch.ports",
        many!(Whole { min: 1, max: u16::MAX }, MAX_SELECTED, ',', watch.ports),
        "Watch what listens on these TCP ports, wherever it runs.")
        .under(Topic::Target).live().alias("port"),
    Key::new("watch.comms",
        many!(Name { what: "command name", max_bytes: MAX_COMM_BYTES }, MAX_SELECTED, ',', watch.comms),
        "Watch processes of these names (/proc/PID/comm), wherever they run.")
        .under(Topic::Target).live().alias("comm"),
    Key::new("watch.containers_in",
        many!(CONTAINER, MAX_SELECTED, ',', watch.containers_in),
        "Of the containers, watch only these.")
        .under(Topic::Target).live().alias("container"),
    Key::new("watch.containers_out",
        many!(CONTAINER, MAX_SELECTED, ',', watch.containers_out),
        "Watch none of these containers.")
        .live(),
    Key::new("watch.namespaces_in",
        many!(NAMESPACE, MAX_SELECTED, ',', watch.namespaces_in),
        "Of the pods, watch only those in these namespaces. Applies once the names of pods are known.")
        .live(),
    Key::new("watch.namespaces_out",
        many!(NAMESPACE, MAX_SELECTED, ',', watch.namespaces_out),
        "Watch no pods in these namespaces. Applies once the names of pods are known.")
        .live(),
    Key::new("watch.labels_in",
        many!(SelectorText, MAX_SELECTED, ';', watch.labels_in),
        "Of the pods, watch only those that one of these selects. Applies once the labels of pods are known.")
        .live(),
    Key::new("watch.labels_out",
        many!(SelectorText, MAX_SELECTED, ';', watch.labels_out),
        "Watch no pods that one of these selects. Applies once the labels of pods are known.")
        .live(),
    Key::new("watch.annotations",
        one!(Flag, watch.annotations),
        "A pod's annotation `strata.dev/watch: \"true\"` or `\"false\"` overrules the lists of namespaces and labels.")
        .live(),
    Key::new("kubernetes.node_name",
        one!(Maybe { of: NodeName, empty: "no names of pods" }, kubernetes.node_name),
        "The name of this node: the API server is asked for its pods, and series bear their names."),
    Key::new("kubernetes.kubeconfig",
        one!(Maybe { of: AbsolutePath { max_bytes: MAX_PATH_BYTES }, empty: "the pod's service account" }, kubernetes.kubeconfig),
        "How the API server is reached by an agent that runs in no pod."),
    Key::new("network.names",
        many!(NetworkText, MAX_SELECTED, ',', network.names),
        "Names of networks outside of the cluster, for the peers of edges; the narrowest that has an address gives its name.")
        .live(),
    Key::new("network.peers",
        one!(Maybe { of: PlainUrl, empty: "no names of peers on other nodes" }, network.peers),
        "URL of `strata peers`, which names pods of other nodes, Services and nodes, such as `http://strata-peers.strata.svc:9465`."),
    Key::new("traces.endpoint",
        one!(Maybe { of: HttpUrl, empty: "no spans" }, traces.endpoint),
        "URL of an OTLP endpoint, to which requests are sent as spans; without a path it gets `/v1/traces`, and gRPC takes no path. Also `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and `OTEL_EXPORTER_OTLP_ENDPOINT`, by the rules of OpenTelemetry; headers come from `OTEL_EXPORTER_OTLP_HEADERS` alone."),
    Key::new("traces.protocol",
        one!(Choice(&[("grpc", TraceProtocol::Grpc), ("http/protobuf", TraceProtocol::HttpProtobuf)]), traces.protocol),
        "How the endpoint is spoken to. Also `OTEL_EXPORTER_OTLP_PROTOCOL`."),
    Key::new("traces.compression",
        one!(Choice(&[("none", Compression::None), ("gzip", Compression::Gzip)]), traces.compression),
        "How requests to the endpoint are compressed. Also `OTEL_EXPORTER_OTLP_COMPRESSION`."),
    Key::new("traces.certificate",
        one!(Maybe { of: AbsolutePath { max_bytes: MAX_PATH_BYTES }, empty: "the system's" }, traces.certificate),
        "A PEM file with the certificates that an `https` endpoint is trusted by. Also `OTEL_EXPORTER_OTLP_CERTIFICATE`."),
    Key::new("traces.timeout",
        one!(DurationIn { min: Duration::from_millis(10), max: Duration::from_secs(300) }, traces.timeout),
        "How long one export may take. Also `OTEL_EXPORTER_OTLP_TIMEOUT`, in milliseconds."),
    Key::new("traces.one_in",
        one!(Whole { min: 1, max: 1_000_000 }, traces.one_in),
        "Requests that failed, or were slower than their service's running p99, are exported; of the others one in so many."),
    Key::new("traces.per_second",
        one!(Whole { min: 1, max: 10_000 }, traces.per_second),
        "The most requests that are exported in a second, whatever they are."),
    Key::new("traces.instrumented",
        one!(Flag, traces.instrumented),
        "Export requests of processes that send spans themselves too: of those that hold a connection to port 4317 or 4318 of somebody."),
    Key::new("paths.keep",
        one!(Flag, paths.keep),
        "Keep the first bytes of a request's path, cut at `?`. They can hold names and numbers of customers.")
        .live(),
    Key::new("paths.ignore",
        many!(RequestPath, MAX_IGNORED_PATHS as usize, ',', paths.ignore),
        "Requests with exactly these paths are counted as filtered and not measured.")
        .live(),
    Key::new("routes.patterns",
        many!(RoutePattern, MAX_ROUTE_PATTERNS, ',', routes.patterns),
        "Routes of requests, such as `/users/{id}`, `*` at the end for anything; the first that fits counts. They are the label `http_route` and in the names of spans; paths are read for them and not kept."),
    Key::new("routes.heuristic",
        one!(Flag, routes.heuristic),
        "Guess the route of a path that no pattern fits: what looks like an id becomes `{id}`; at most 32 routes a container."),
    Key::new("lanes.sockets",
        one!(Flag, lanes.sockets),
        "Requests, RTT and jitter.")
        .live(),
    Key::new("lanes.cpu",
        one!(Flag, lanes.cpu),
        "Run queue, off-CPU time, throttling.")
        .live(),
    Key::new("lanes.process",
        one!(Flag, lanes.process),
        "Identity and lifetime of processes and containers.")
        .live(),
    Key::new("lanes.tcp",
        one!(Flag, lanes.tcp),
        "Connections, retransmits, resets.")
        .live(),
    Key::new("lanes.syscalls",
        one!(Flag, lanes.syscalls),
        "Latency and errors of system calls, by class.")
        .live(),
    Key::new("lanes.go",
        one!(Flag, lanes.go),
        "Whose requests wait for the calls that Go programs make by `net/http`: one probe an outgoing call.")
        .live(),
    Key::new("governor.enabled",
        one!(Flag, governor.enabled),
        "Shed lanes to stay within the budget.")
        .live(),
    Key::new("governor.budget",
        one!(Share { min: 0.001, max: 1.0 }, governor.budget),
        "The part of the whole node's CPU time that strata may take, in the agent and in the kernel together.")
        .live(),
    Key::new("series.per_container",
        one!(Whole { min: 10, max: 10_000 }, series.per_container),
        "The most series of one container; beyond it, values fold into `_other`."),
    Key::new("series.per_node",
        one!(Whole { min: 100, max: 1_000_000 }, series.per_node),
        "The most series in all; a container beyond it is counted and not exported."),
    Key::new("ring.bytes",
        one!(BytesIn { min: 256 << 10, max: 64 << 20 }, ring.bytes),
        "The size of the ring buffer between the kernel and the agent."),
    Key::new("drain.interval",
        one!(DurationIn { min: Duration::from_millis(1), max: Duration::from_secs(1) }, drain.interval),
        "How often the ring buffer is emptied. The ring buffer must hold what arrives in between."),
    Key::new("log.level",
        one!(LEVEL, log.level),
        "The least severe level that is written to stderr."),
    Key::new("log.format",
        one!(Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]), log.format),
        "Lines for people, or one JSON object a line."),
];
