//! A real Kubernetes cluster with strata installed, seen from outside.
//!
//! Separate from the other harnesses because here everything goes through the
//! API server, as it does for a user: `kubectl` and its configuration are all
//! that a test has. `cargo xtask test` brings a cluster up and says where:
//!
//! | variable | |
//! |---|---|
//! | `KUBECONFIG` | the cluster; without it these tests are skipped |
//! | `STRATA_MANIFEST` | what installs strata, as the chart renders it |
//! | `STRATA_APP_IMAGE` | an image of `tests/apps/podapp` that its nodes have |
//! | `STRATA_API_SERVER_PID_FILE` | the API server's process, where a test may stop it |
//! | `STRATA_HELM`, `STRATA_IMAGE` | Helm, and the agent's image as its nodes have it |
//! | `STRATA_KEDA_CRDS` | KEDA's custom resources, where its programs are in `PATH` |
//! | `STRATA_STATIC_PODS` | a node and the directory of its kubelet's static pods, `node1:/path` |

mod api_server;
mod chart;
mod forward;
mod keda;
mod kubectl;
mod strata;
mod workload;

pub use api_server::ApiServer;
pub use chart::Chart;
pub use forward::Forward;
pub use keda::Keda;
pub use kubectl::{kubectl, kubectl_json, succeeds};
pub use strata::{
    AgentPod, MANIFEST, NAMESPACE, Place, Strata, config_reached, daemon_set, process_of,
};
pub use workload::{Answers, Workload};

/// Whether a cluster to test on was named.
#[must_use]
pub fn is_there() -> bool {
    ["KUBECONFIG", "STRATA_MANIFEST", "STRATA_APP_IMAGE"]
        .iter()
        .all(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}
