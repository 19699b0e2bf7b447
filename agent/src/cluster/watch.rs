//! Lists the pods of this node, then watches them, for ever.
//!
//! Separate from what a pod is and from how the server is reached: this is the
//! loop, its pauses and its deadlines. Errors are counted and never end it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::ListParams;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watcher_of};
use kube::{Api, Client};
use tokio::sync::watch;

use super::connect::{Error, Place, connect};
use super::failure;
use super::object::PodObject;
use super::pauses::Pauses;
use crate::event::ids::PodUid;
use crate::event::pod::{MAX_PODS, Pod, PodUpdate};
use crate::telemetry::Own;
use crate::telemetry::metadata::MetadataError;

/// How long a list may say nothing, the longest pause after an error with it.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// A watch ends by itself after this and up to [`WATCH_SPREAD_SECONDS`] more,
/// which depends on the node: a thousand agents that began together do not
/// begin again together. Below what the API server would choose (30 to 60
/// minutes), so that a connection that died unnoticed is not trusted for long.
const WATCH_SECONDS: u32 = 240;
const WATCH_SPREAD_SECONDS: u64 = 60;

/// Tells `updates` of the pods of this node, until it says that nobody listens.
///
/// `label_keys` are the labels that pods are told with; when they change, all
/// pods are told again.
pub async fn run(
    place: Place,
    own: Arc<Own>,
    mut label_keys: watch::Receiver<Arc<[String]>>,
    updates: impl AsyncFn(PodUpdate) -> bool,
) {
    let mut pauses = Pauses::new(&place.node_name);
    let rhythm = || Rhythm { list_timeout: LIST_TIMEOUT, pauses: || Pauses::new(&place.node_name) };
    loop {
        match connect(&place, &own).await {
            Ok(client) => {
                let ended = follow(client, &place, &own, &mut label_keys, rhythm(), &updates).await;
                match ended {
                    Ended::NobodyListens => return,
                    Ended::OtherLabels => continue,
                    Ended::TimedOut => own.metadata.fail(MetadataError::Timeout),
                }
            }
            Err(error) => {
                if own.metadata.errors(MetadataError::Config) == 0 {
                    tracing::warn!(%error, "cannot ask for the names of pods; trying again");
                }
                own.metadata.fail(MetadataError::Config);
            }
        }
        tokio::time::sleep(pauses.next().unwrap_or(LIST_TIMEOUT)).await;
    }
}

/// Why pods are not followed any more.
#[derive(Debug)]
pub(super) enum Ended {
    NobodyListens,
    /// They are to be told with other labels.
    OtherLabels,
    /// A list did not go on.
    TimedOut,
}

/// What is waited for, and for how long.
pub(super) struct Rhythm<F> {
    /// How long a list may say nothing.
    pub(super) list_timeout: Duration,
    /// Makes the pauses after errors.
    pub(super) pauses: F,
}

/// Follows the pods of a node by this client.
pub(super) async fn follow<B: Backoff>(
    client: Client,
    place: &Place,
    own: &Own,
    label_keys: &mut watch::Receiver<Arc<[String]>>,
    rhythm: Rhythm<impl Fn() -> B>,
    updates: &impl AsyncFn(PodUpdate) -> bool,
) -> Ended {
    let keys = Arc::clone(&label_keys.borrow_and_update());
    let mut listing = Some(Listing::default());
    let stream = watcher_of(Api::<PodObject>::all(client), config(&place.node_name));
    let mut stream = pin!(stream.backoff((rhythm.pauses)()));
    let mut has_warned = false;
    loop {
        // A watch has its own deadline, which its server keeps.
        let deadline = if listing.is_some() { rhythm.list_timeout } else { Duration::MAX };
        let item = tokio::select! {
            changed = label_keys.changed() => match changed {
                Ok(()) => return Ended::OtherLabels,
                Err(_) => return Ended::NobodyListens,
            },
            item = stream.next() => item,
            () = tokio::time::sleep(deadline) => return Ended::TimedOut,
        };
        let update = match item {
            None => return Ended::TimedOut,
            Some(Ok(event)) => match take(event, &mut listing, place, &keys, own) {
                Some(update) => update,
                None => continue,
            },
            Some(Err(error)) => {
                let reason = failure::reason(&error);
                own.metadata.fail(reason);
                // Once: the metric tells the rest. The text may be the server's.
                if !std::mem::replace(&mut has_warned, true) {
                    let reason = reason.as_str();
                    tracing::warn!(reason, "the API server does not tell of pods; trying again");
                }
                continue;
            }
        };
        if let PodUpdate::All { pods, .. } = &update {
            own.metadata.set_listed();
            has_warned = false;
            tracing::info!(
                pods = pods.len(),
                node = place.node_name,
                "pods of this node are known"
            );
        }
        if !updates(update).await {
            return Ended::NobodyListens;
        }
    }
}

/// A list that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pods: Vec<Pod>,
    left_out: u64,
}

/// What an event of the watch means, if it means anything by itself.
fn take(
    event: Event<PodObject>,
    listing: &mut Option<Listing>,
    place: &Place,
    keys: &Arc<[String]>,
    own: &Own,
) -> Option<PodUpdate> {
    let pod = |object: PodObject| {
        let pod = object.into_pod(&place.node_name, keys);
        if pod.is_none() {
            // One pod is not the watch, which goes on.
            own.metadata.count_error(MetadataError::Garbage);
        }
        pod
    };
    match event {
        Event::Init => {
            *listing = Some(Listing::default());
            None
        }
        Event::InitApply(object) => {
            let listing = listing.get_or_insert_default();
            match pod(object) {
                Some(_) if listing.pods.len() >= MAX_PODS => listing.left_out += 1,
                Some(pod) => listing.pods.push(pod),
                None => {}
            }
            None
        }
        Event::InitDone => {
            let Listing { pods, left_out } = listing.take().unwrap_or_default();
            Some(PodUpdate::All { pods, left_out, label_keys: Arc::clone(keys) })
        }
        Event::Apply(object) => pod(object).map(|pod| PodUpdate::Applied(Box::new(pod))),
        Event::Delete(object) => object.uid().map(|uid: PodUid| PodUpdate::Gone(uid)),
    }
}

fn config(node_name: &str) -> watcher::Config {
    let mut hasher = DefaultHasher::new();
    node_name.hash(&mut hasher);
    let spread = u32::try_from(hasher.finish() % WATCH_SPREAD_SECONDS).unwrap_or_default();
    // From the API server's memory, where pods are found by their node: a read
    // of its store by each agent of a cluster that starts is what brings it
    // down. Such a list has one page: with a page's size it would be a read.
    let config = watcher::Config { page_size: None, ..watcher::Config::default() };
    config
        .any_semantic()
        .fields(&format!("spec.nodeName={node_name}"))
        .timeout(WATCH_SECONDS + spread)
}

/// How many pods this node has, asked once.
///
/// # Errors
///
/// What went wrong, with the word that it is counted under.
pub async fn count(place: &Place) -> Result<usize, (MetadataError, String)> {
    let own = Arc::new(Own::default());
    let client = connect(place, &own).await;
    let client = client.map_err(|error: Error| (MetadataError::Config, error.to_string()))?;
    let fields = format!("spec.nodeName={}", place.node_name);
    let params = ListParams::default().fields(&fields).match_any();
    let listed = Api::<PodObject>::all(client).list(&params).await;
    let pods = listed.map_err(|error| {
        let reason = failure::client_reason(&error);
        (
            reason,
            match error {
                kube::Error::Api(status) => status.message.clone(),
                other => other.to_string(),
            },
        )
    })?;
    Ok(pods.items.len())
}
