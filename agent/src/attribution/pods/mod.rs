//! The pods of this node: who they are, by uid and by the ids of their
//! containers. A store and a join, both pure.
//!
//! Separate from what watches the API server, which is an edge, and from the
//! attributor, which decides what follows from a name.

pub mod select;

use std::collections::HashMap;
use std::sync::Arc;

use crate::attribution::identity::Identity;
use crate::attribution::peers::LocalPod;
use crate::event::ids::{ContainerId, PodUid};
use crate::event::pod::{Container, MAX_PODS, Pod, PodUpdate};

/// How long a pod that is gone is still known: the last counts of its
/// containers are shown for that long.
const REMEMBERED_NS: u64 = super::services::RETENTION_NS;

/// A pod that is kept.
#[derive(Debug)]
pub struct Known {
    /// What the API server says of it.
    pub pod: Pod,
    /// Its `workload` label.
    pub workload: Arc<str>,
    /// When it was gone, `CLOCK_MONOTONIC` nanoseconds.
    gone_ns: Option<u64>,
}

impl Known {
    /// The name of a container; `None` while it is not known.
    #[must_use]
    pub fn container(&self, id: &ContainerId) -> Option<&Container> {
        self.pod.containers.iter().find(|container| container.ids.contains(id))
    }

    /// The identity of a container by this name.
    #[must_use]
    pub fn identity(&self, container: Arc<str>) -> Identity {
        Identity {
            namespace: Arc::clone(&self.pod.namespace),
            pod: Arc::clone(&self.pod.name),
            container,
            workload: Arc::clone(&self.workload),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Pods {
    by_uid: HashMap<PodUid, Known>,
    /// Static pods: uid by the hash that their cgroup is named by.
    by_hash: HashMap<PodUid, PodUid>,
    label_keys: Arc<[String]>,
    is_listed: bool,
    left_out: u64,
}

impl Pods {
    /// Takes up what the API server said.
    pub fn update(&mut self, update: PodUpdate, now_ns: u64) {
        match update {
            PodUpdate::All { pods, left_out, label_keys } => {
                for known in self.by_uid.values_mut() {
                    known.gone_ns.get_or_insert(now_ns);
                }
                self.left_out += left_out;
                self.label_keys = label_keys;
                self.is_listed = true;
                for pod in pods {
                    self.put(pod);
                }
            }
            PodUpdate::Applied(pod) => self.put(*pod),
            PodUpdate::Gone(uid) => {
                if let Some(known) = self.by_uid.get_mut(&uid) {
                    known.gone_ns.get_or_insert(now_ns);
                }
            }
        }
        self.forget(now_ns);
    }

    /// Forgets pods that have been gone for a while; `true` if there were any.
    pub fn forget(&mut self, now_ns: u64) -> bool {
        let before = self.by_uid.len();
        self.by_uid.retain(|_, known| {
            known.gone_ns.is_none_or(|gone_ns| now_ns.saturating_sub(gone_ns) < REMEMBERED_NS)
        });
        self.by_hash.retain(|_, uid| self.by_uid.contains_key(uid));
        self.by_uid.len() != before
    }

    /// The pod whose cgroup bears `uid`: its own, or of a static pod the hash
    /// of its manifest.
    #[must_use]
    pub fn get(&self, uid: &PodUid) -> Option<&Known> {
        self.by_uid.get(uid).or_else(|| self.by_uid.get(self.by_hash.get(uid)?))
    }

    /// Those that have addresses of their own and are there, as a table of peers
    /// wants them.
    #[must_use]
    pub fn local(&self) -> Vec<LocalPod> {
        let pods = self.by_uid.values();
        let own = pods.filter(|known| known.gone_ns.is_none() && !known.pod.is_host_network);
        own.map(|known| LocalPod {
            namespace: Arc::clone(&known.pod.namespace),
            workload: Arc::clone(&known.workload),
            addresses: known.pod.ips.clone(),
        })
        .collect()
    }

    /// Whether all pods have been listed once.
    #[must_use]
    pub const fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// Pods that are there.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_uid.values().filter(|known| known.gone_ns.is_none()).count()
    }

    /// Pods that were left out for want of room, so far.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Whether pods have all of these labels, if there are such at all.
    #[must_use]
    pub fn has_labels(&self, keys: &[String]) -> bool {
        keys.iter().all(|key| self.label_keys.contains(key))
    }

    fn put(&mut self, pod: Pod) {
        let Some(uid) = pod.uid.clone() else { return };
        if self.by_uid.len() >= MAX_PODS && !self.by_uid.contains_key(&uid) {
            // One that is gone makes room for one that is there.
            let gone = self.by_uid.iter().filter(|(_, known)| known.gone_ns.is_some());
            let oldest = gone.min_by_key(|(_, known)| known.gone_ns).map(|(uid, _)| uid.clone());
            let Some(oldest) = oldest else {
                self.left_out += 1;
                return;
            };
            self.by_uid.remove(&oldest);
        }
        if let Some(hash) = &pod.config_hash {
            self.by_hash.insert(hash.clone(), uid.clone());
        }
        let workload = crate::event::owner::workload(&pod).into();
        let mut known = Known { pod, workload, gone_ns: None };
        if let Some(before) = self.by_uid.get(&uid) {
            keep_ids(&mut known.pod, &before.pod);
        }
        self.by_uid.insert(uid, known);
    }
}

/// Ids of a container, at most: the status tells of two.
const MAX_IDS: usize = 4;

/// Keeps ids that the containers had: the status forgets all but the last, and
/// what a container that just ended did is counted all the same.
fn keep_ids(pod: &mut Pod, before: &Pod) {
    for container in &mut pod.containers {
        let same = before.containers.iter().find(|known| known.name == container.name);
        for id in same.into_iter().flat_map(|known| &known.ids) {
            if !container.ids.contains(id) && container.ids.len() < MAX_IDS {
                container.ids.push(id.clone());
            }
        }
    }
}

#[cfg(test)]
pub mod tests;
