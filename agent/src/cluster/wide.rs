//! Watches the nodes, Services and pods of the whole cluster, for ever: for
//! `strata peers`, of which a cluster has two, not for agents.
//!
//! Separate from the watch of a node's pods: it asks for pages, keeps nothing,
//! and probes the API server besides.

use std::cell::Cell;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watcher_of};
use kube::{Api, Client};

use super::connect::{Place, connect};
use super::failure;
use super::object::wide::{Wide, WideNode, WidePod, WideService};
use super::pauses::Pauses;
use crate::event::holder::{HolderKind, HolderUpdate};
use crate::sys::clock;
use crate::telemetry::Own;
use crate::telemetry::metadata::{MetadataError, MetadataState};

/// Objects of one page: of pods some 4 MB, which is what memory a list takes.
const PAGE: u32 = 500;
/// How long a list may say nothing between two objects, the longest pause after
/// an error with it.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// When a watch ends by itself, to begin again where it ended: so often that a
/// connection that died unnoticed shows before an address is another's, whether
/// the API server has a word for silent watches or not. Two replicas cost it
/// three watches every five seconds.
const WATCH_SECONDS: u32 = 10;
/// How long a watch may say nothing until it is given up and everything is
/// listed anew. Long before that nobody is told anything any more.
const SILENCE: Duration = Duration::from_secs(30);
/// The same while the API server is known to be away: to it comes back whoever
/// watched, without a list.
const AWAY: Duration = Duration::from_secs(90);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often the API server is asked whether it is there, and how long it may
/// take.
const PROBE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(4));

/// Watches all kinds, and tells `told` of them. `watches` are in the order of
/// [`HolderKind::ALL`]; `who` tells the pauses of one replica from another's.
pub async fn watch_all(
    kubeconfig: Option<PathBuf>,
    who: &str,
    watches: &[Arc<Own>; HolderKind::ALL.len()],
    probe: &Arc<Own>,
    told: impl Fn(HolderUpdate),
) {
    let place = Place { node_name: who.to_owned(), kubeconfig };
    let [nodes, services, pods] = watches;
    let has_warned = Cell::new(false);
    tokio::join!(
        keep::<WideNode>(&place, nodes, &has_warned, &told),
        keep::<WideService>(&place, services, &has_warned, &told),
        keep::<WidePod>(&place, pods, &has_warned, &told),
        keep_probing(&place, probe),
    );
}

/// Watches one kind for ever. `has_warned` is shared: that nobody knows where the
/// cluster is goes for all kinds, and is said once.
async fn keep<K: Wide>(
    place: &Place,
    own: &Arc<Own>,
    has_warned: &Cell<bool>,
    told: &impl Fn(HolderUpdate),
) {
    own.metadata.set_on();
    let mut pauses = Pauses::new(&place.node_name);
    loop {
        match connect(place, own).await {
            Ok(client) => {
                follow::<K>(client, own, Pauses::new(&place.node_name), told).await;
                own.metadata.fail(MetadataError::Timeout);
            }
            Err(error) => {
                if !has_warned.replace(true) {
                    tracing::warn!(%error, "cannot watch the cluster; trying again");
                }
                own.metadata.fail(MetadataError::Config);
            }
        }
        tokio::time::sleep(pauses.next().unwrap_or(LIST_TIMEOUT)).await;
    }
}

/// Follows one kind until a list does not go on.
pub(super) async fn follow<K: Wide>(
    client: Client,
    own: &Own,
    pauses: impl kube::runtime::utils::Backoff,
    told: &impl Fn(HolderUpdate),
) {
    let config = watcher::Config::default().page_size(PAGE).timeout(WATCH_SECONDS);
    let mut stream = pin!(watcher_of(Api::<K>::all(client), config).backoff(pauses));
    let mut is_listing = true;
    let mut has_warned = false;
    loop {
        let deadline = if is_listing { LIST_TIMEOUT } else { LOOK };
        let item = match tokio::time::timeout(deadline, stream.next()).await {
            Ok(Some(item)) => item,
            Err(_) if !is_listing && !is_silent(own) => continue,
            Ok(None) | Err(_) => return,
        };
        let is = |object: K| {
            let holder = object.into_holder();
            if holder.is_none() {
                own.metadata.count_error(MetadataError::Garbage);
            }
            holder.map(HolderUpdate::Is)
        };
        let update = match item {
            Ok(Event::Init) => {
                is_listing = true;
                Some(HolderUpdate::Begin(K::KIND))
            }
            Ok(Event::InitApply(object) | Event::Apply(object)) => is(object),
            Ok(Event::Delete(object)) => object.uid().map(HolderUpdate::Gone),
            Ok(Event::InitDone) => {
                is_listing = false;
                has_warned = false;
                own.metadata.set_listed();
                tracing::info!(kind = K::KIND.as_str(), "all of the cluster are known");
                Some(HolderUpdate::End(K::KIND))
            }
            Err(error) => {
                let reason = failure::reason(&error);
                own.metadata.fail(reason);
                if !std::mem::replace(&mut has_warned, true) {
                    let (kind, reason) = (K::KIND.as_str(), reason.as_str());
                    tracing::warn!(kind, reason, "the API server does not tell; trying again");
                }
                None
            }
        };
        if let Some(update) = update {
            told(update);
        }
    }
}

/// Whether a watch has said nothing for so long that it never will.
fn is_silent(own: &Own) -> bool {
    let limit = match own.metadata.state() {
        MetadataState::Failing => AWAY,
        _ => SILENCE,
    };
    let age_ns = own.metadata.age_ns(clock::monotonic_ns()).unwrap_or_default();
    u128::from(age_ns) > limit.as_nanos()
}

/// Asks the API server for its version, again and again: whoever may talk to it
/// at all may do that.
async fn keep_probing(place: &Place, own: &Arc<Own>) {
    let (interval, limit) = PROBE;
    let mut client = None;
    loop {
        if client.is_none() {
            client = connect(place, own).await.ok();
        }
        if let Some(client) = &client {
            // That it answers at all is noted by the connection.
            let _ = tokio::time::timeout(limit, client.apiserver_version()).await;
        }
        tokio::time::sleep(interval).await;
    }
}
