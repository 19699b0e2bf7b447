//! Starts who asks for the names of pods, and tells it which labels matter.
//!
//! Separate so that an agent that is built without the feature `kubernetes`
//! differs in this file alone.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::engine::Input;
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
