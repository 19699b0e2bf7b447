//! What installs strata: the Helm chart, the manifests, and that both say the
//! same.
//!
//! `cargo xtask test --stage deploy` gets the tools and tells where they are;
//! without one of them its tests are skipped. None of this needs root or a
//! cluster: what a cluster makes of it is the test `cluster`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops there, with its line")]

/// Running the tools, and reading what they print.
mod rendered;

/// The examples for autoscalers.
mod autoscaling;
/// The chart: lints, schema, golden renders, the configuration in it.
mod chart;
/// The manifests beside the chart, both against the schemas of Kubernetes.
mod manifests;
/// The rules for Prometheus.
mod rules;
/// The version in all of them, and in the Dockerfile.
mod versions;
