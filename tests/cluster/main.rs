//! On a real Kubernetes cluster: strata as its manifest installs it, pods that
//! come and go, and the names that their series carry.
//!
//! `cargo xtask test --stage cluster` brings a cluster up where there is none;
//! with `KUBECONFIG` it is any other (see `tests::cluster`). Tests run one
//! after another, each in a namespace of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops there, with its line")]

/// What all agents together say of a namespace.
mod seen;

/// An autoscaler that asks for what strata sees.
mod autoscale;
/// The chart, by Helm.
mod chart;
/// Agents that nobody tells the names of pods.
mod dark;
/// The DaemonSet, its rights, and its lanes.
mod install;
/// The verbs as a plugin of kubectl.
mod kubectl;
/// Pods that are replaced, restarted, scaled, and API servers that are away.
mod lifecycle;
/// Pods of every kind under load: names, counts, nodes.
mod names;
/// Peers on other nodes, by their names.
mod peers;
/// Agents that are replaced under load.
mod restart;
/// A node of an API server with thousands of pods.
mod scale;
/// Static, host-network, init and ephemeral: what no Deployment makes.
mod special;
/// The configuration of a running DaemonSet.
mod switch;
