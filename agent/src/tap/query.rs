//! Which requests a listener means.
//!
//! Separate because it crosses the socket: the listener's end finds out who is
//! meant, the agent's end compares (`filter`); so what is not meant costs no
//! line.

use serde::{Deserialize, Serialize};

/// Which requests are meant. Empty lists and zeroes mean all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Only those that took at least this long, nanoseconds.
    pub slower_ns: u64,
    /// Only those with a status of 500 or more, or without a response.
    pub errors: bool,
    /// Only those whose path fits; such a listener has paths kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Have paths kept while this listener is there.
    pub paths: bool,
    /// End after this many; 0: never.
    pub count: u64,
    /// Capture what the threads of the targets do, for so long; 0: do not.
    #[serde(skip_serializing_if = "is_zero")]
    pub capture_ns: u64,
    /// Only of these workloads.
    pub targets: Targets,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Query {
    /// Whether paths are to be kept for it.
    #[must_use]
    pub const fn wants_paths(&self) -> bool {
        self.paths || self.path.is_some()
    }
}

/// Whose requests are meant: in one of the namespaces, in one of the pods (by
/// name, uid or workload), and in one of the containers, workloads, processes
/// or ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Targets {
    /// Patterns for namespaces.
    pub namespaces: Vec<String>,
    /// Pods: patterns for `NAME`, or for `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
    /// Uids of pods, for an agent that does not know their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pod_uids: Vec<String>,
    /// Workload labels of pods, such as `deployment/api`, or with their namespace
    /// `shop/deployment/api`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pod_workloads: Vec<String>,
    /// Only what runs in pods, whatever their names.
    #[serde(skip_serializing_if = "is_false")]
    pub in_pods: bool,
    /// Patterns for containers.
    pub containers: Vec<String>,
    /// Full ids of containers.
    pub container_ids: Vec<String>,
    /// Workload labels, of what runs outside of containers.
    pub workloads: Vec<String>,
    /// Processes, by their number where the agent runs.
    pub pids: Vec<u32>,
    /// Ports of the service.
    pub ports: Vec<u16>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Targets {
    #[cfg(feature = "agent")]
    pub(super) const fn is_every_service(&self) -> bool {
        self.containers.is_empty()
            && self.container_ids.is_empty()
            && self.workloads.is_empty()
            && self.pids.is_empty()
            && self.ports.is_empty()
    }
}
