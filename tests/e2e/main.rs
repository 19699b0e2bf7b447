//! End to end: real servers, real clients, the released agent, real readers.
//!
//! Root is needed; run with `cargo test -p tests --release -- --test-threads=1`
//! after `cargo xtask build`. Truth comes from the workload and the client,
//! never from the agent.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops there, with its line")]

/// What tests ask of an exposition, and how long they wait for it.
mod expect;

/// The workloads, the load client and the harness themselves, without an agent.
mod workloads;

/// Numbers of requests, methods and statuses under well-formed load.
mod counts;
/// Requests and responses of unusual shape.
mod http_shapes;
/// A client whose next request races the server's end of the one before.
mod racing;

/// Every request once, its parts whole, no place where time hides.
mod closure;

/// Identity of containers by their cgroup paths.
mod containers;
/// Every query of the dashboards and of the autoscaling examples.
mod dashboards;
/// The exposition as Prometheus and promtool read it.
mod prometheus;

/// The verb `capture`.
mod capture;
/// The kill switch, another configuration, crashes, the budget of CPU time.
mod governor;
/// Start, stop, crash, second instance, missing privileges, bad usage.
mod lifecycle;
/// What is never kept.
mod privacy;
/// The verbs `top` and `check`, and the socket.
mod top;
/// The verb `trace`.
mod trace;

/// Requests as spans, in a real Collector.
mod spans;
/// Endpoints of spans that are away, slow or wrong.
mod spans_lost;
/// Traces that are told of, judged and joined; and whose requests are spans.
mod traces;

/// The verbs as a plugin of kubectl.
mod kubectl;

/// Alerts of the shipped rules, from a fault on a wire to a webhook.
mod alarms;
/// The cpu lane against a crowded CPU, a quota, and blocked handlers.
mod cpu;
/// Segments out of order, and peers that do not read, by edge.
mod edge_faults;
/// Edges: names of peers, and the verb `net`.
mod edges;
/// The tcp lane against loss, resets, waits and distance of known size.
mod network;
/// `strata peers` cut off, behind, and among pods that come and go.
mod peers;
/// The shipped rules under an ordinary load, live and on record.
mod quiet;
/// The syscalls lane against calls that are known one by one.
mod syscalls;

/// Run time of Go's requests against Go's own execution trace.
mod execution_trace;
/// The books of time: parts and durations.
mod layers;
/// What the hypervisor took, against the kernel's ticks.
mod steal;

/// Many processes, cgroups and connections that come and go.
mod churn;
