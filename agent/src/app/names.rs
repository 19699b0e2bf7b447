//! Starts who asks for the names of pods, and tells it which labels matter.
//!
//! Separate so that an agent that is built without the feature `kubernetes`
//! differs in this file alone.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::engine::Input;
use super::examine::PodNames;
use crate::attribution::pods::select::label_keys;
use crate::config::{Config, Watch};
use crate::telemetry::Own;

/// Labels that a selection looks at.
pub(super) type LabelKeys = watch::Sender<Arc<[String]>>;

/// Whether names are asked for.
pub(super) fn are_asked(config: &Config) -> bool {
    if cfg!(not(feature = "kubernetes")) && config.kubernetes.node_name.is_some() {
        tracing::warn!("built without the feature `kubernetes`: names of pods are not asked for");
    }
    cfg!(feature = "kubernetes") && config.kubernetes.node_name.is_some()
}

/// Labels that are asked for from now on.
pub(super) fn set_labels(keys: &LabelKeys, watch: &Watch) {
    let wanted: Arc<[String]> = label_keys(watch).into();
    keys.send_if_modified(|known| {
        let has_changed = *known != wanted;
        *known = wanted;
        has_changed
    });
}

/// How long `strata check` waits for the API server.
#[cfg(feature = "kubernetes")]
const EXAMINE_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Asks once.
#[cfg(feature = "kubernetes")]
pub(super) async fn examine(config: &Config) -> PodNames {
    use crate::telemetry::metadata::MetadataError;
    let Some(node) = config.kubernetes.node_name.clone() else { return PodNames::Off };
    let kubeconfig = config.kubernetes.kubeconfig.clone();
    let place = crate::cluster::Place { node_name: node.clone(), kubeconfig };
    let counted = tokio::time::timeout(EXAMINE_WAIT, crate::cluster::count(&place)).await;
    let late = Err((MetadataError::Timeout, "the API server does not answer".to_owned()));
    let (reason, said) = match counted.unwrap_or(late) {
        Ok(pods) => return PodNames::Known { node, pods },
        Err(failure) => failure,
    };
    let action = match reason {
        MetadataError::Config => {
            "run in a pod with a service account, or set kubernetes.kubeconfig"
        }
        MetadataError::Unauthorized | MetadataError::Forbidden => {
            "let its service account list and watch pods in every namespace"
        }
        _ => "look whether the API server is up and may be reached from here",
    };
    // What others say stays on one line.
    let said = said.replace(|c: char| c.is_control(), " ");
    PodNames::Missing { reason: format!("{}: {said}", reason.as_str()), action }
}

/// Nobody is asked.
#[cfg(not(feature = "kubernetes"))]
pub(super) async fn examine(config: &Config) -> PodNames {
    match config.kubernetes.node_name {
        None => PodNames::Off,
        Some(_) => PodNames::Missing {
            reason: "built without the feature `kubernetes`".to_owned(),
            action: "use a build that has it",
        },
    }
}

/// Asks from now on, and sends the worker what it hears.
#[cfg(feature = "kubernetes")]
pub(super) fn ask(
    config: &Config,
    own: &Arc<Own>,
    inputs: &mpsc::Sender<Input>,
) -> (LabelKeys, Option<JoinHandle<()>>) {
    let (keys, asked) = watch::channel(label_keys(&config.watch).into());
    let task = config.kubernetes.node_name.clone().map(|node_name| {
        let kubeconfig = config.kubernetes.kubeconfig.clone();
        let place = crate::cluster::Place { node_name, kubeconfig };
        let (own, inputs) = (Arc::clone(own), inputs.clone());
        tokio::task::spawn_local(crate::cluster::run(place, own, asked, async move |update| {
            inputs.send(Input::Pods(update)).await.is_ok()
        }))
    });
    (keys, task)
}

/// Nobody is asked.
#[cfg(not(feature = "kubernetes"))]
pub(super) fn ask(
    config: &Config,
    _own: &Arc<Own>,
    _inputs: &mpsc::Sender<Input>,
) -> (LabelKeys, Option<JoinHandle<()>>) {
    (watch::channel(label_keys(&config.watch).into()).0, None)
}
