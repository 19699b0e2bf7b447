//! What follows from the names of pods: whom to watch, and under which name.
//!
//! Separate from the attributor because without Kubernetes none of it happens.
//! A container in a pod is counted from its start and shown once its name is
//! known, or after [`NAME_WAIT_NS`] without. The name that it is shown by first
//! is the one that it keeps: no container is ever shown under two.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use agent_common::limits::MAX_CGROUPS;

use crate::attribution::attributor::{Attributor, Change};
use crate::attribution::cgroup_path::CgroupOwner;
use crate::attribution::identity::{ContainerInfo, Identity};
use crate::attribution::peers::LocalPod;
use crate::attribution::pods::Pods;
use crate::attribution::pods::select::{Unselected, label_keys, unselected};
use crate::config::Watch;
use crate::event::ids::{ContainerId, PodUid};
use crate::event::pod::PodUpdate;

/// How long the series of a container wait for its name.
pub const NAME_WAIT_NS: u64 = 30_000_000_000;

/// How long the API server may take to tell of a pod whose containers run here:
/// it told the kubelet before they did. After that they are another node's, as
/// far as can be seen here, until it does tell.
const TELL_WAIT_NS: u64 = 5_000_000_000;

/// A cgroup of a container that is not watched.
#[derive(Debug)]
struct Left {
    owner: CgroupOwner,
    since_ns: u64,
}

/// What is known of pods, and what waits for more.
#[derive(Debug, Default)]
pub(super) struct Naming {
    pub(super) pods: Pods,
    /// Whether the API server tells of changes now.
    is_watching: bool,
    /// Cgroups that may be watched once more is known.
    left: HashMap<u64, Left>,
    /// Containers whose pods this node does not have: the API server had long
    /// enough to tell of them.
    foreign: HashSet<ContainerId>,
    /// What holds a pod's namespaces: a container that no pod has by name.
    sandboxes: HashSet<ContainerId>,
    /// A selection by labels that have not been asked for yet.
    awaited: Option<Watch>,
    /// Whom to watch is another question than before.
    is_stale: bool,
}

impl Naming {
    /// Whether the pod of a container may still turn out to be this node's.
    fn may_be_ours(&self, id: &ContainerId) -> bool {
        !(self.foreign.contains(id) || self.pods.is_listed() && self.is_watching)
    }
}

/// How many containers of pods are shown, by whether their name is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameCounts {
    /// Shown under their names.
    pub named: usize,
    /// Not shown yet.
    pub waiting: usize,
    /// Shown without a pod's name.
    pub unnamed: usize,
}

impl Attributor {
    /// From now on names of pods are going to be told.
    pub fn expect_pods(&mut self) {
        self.naming = Some(Naming::default());
    }

    /// Takes up what the API server said. `true` if the selection may be
    /// another now, for everything: [`Attributor::rescan`] is wanted at once.
    pub fn on_pods(&mut self, update: PodUpdate, now_ns: u64) -> bool {
        let Some(naming) = &mut self.naming else { return false };
        let is_all = matches!(update, PodUpdate::All { .. });
        let changed = match &update {
            PodUpdate::All { .. } => None,
            PodUpdate::Applied(pod) => Some([pod.uid.clone(), pod.config_hash.clone()]),
            PodUpdate::Gone(uid) => Some([Some(uid.clone()), None]),
        };
        if is_all {
            // They are told of by who was just listed.
            naming.is_watching = true;
        }
        naming.pods.update(update, now_ns);
        if let Some(awaited) = &naming.awaited
            && naming.pods.has_labels(&label_keys(awaited))
            && let Some(awaited) = naming.awaited.take()
        {
            self.watch = awaited;
            naming.is_stale = true;
        }
        self.name_services(now_ns);
        if is_all {
            // At once, before others are looked for: a third of all indices.
            self.release_sandboxes(now_ns, 0);
        }
        self.judge_cgroups(|uid| {
            changed.as_ref().is_none_or(|changed| changed.iter().flatten().any(|of| of == uid))
        });
        is_all && self.wants_rescan()
    }

    /// Pods of this node that have addresses of their own and are there.
    #[must_use]
    pub fn local_pods(&self) -> Vec<LocalPod> {
        self.naming.as_ref().map_or_else(Vec::new, |naming| naming.pods.local())
    }

    /// Lets time pass: gives up waiting for names. To be called about once a
    /// second. Gives the indices of services whose series end now, because a
    /// newer container has their name.
    pub fn tick(&mut self, now_ns: u64, is_watching: bool) -> Vec<u16> {
        self.services.set_now(now_ns);
        let Some(naming) = &mut self.naming else { return Vec::new() };
        let has_changed = naming.is_watching != is_watching;
        naming.is_watching = is_watching;
        let has_forgotten = naming.pods.forget(now_ns);
        if naming.pods.is_listed() && is_watching {
            let late = naming.left.values().filter(|left| {
                let is_known =
                    left.owner.pod_uid.as_ref().is_some_and(|uid| naming.pods.get(uid).is_some());
                !is_known && now_ns.saturating_sub(left.since_ns) >= TELL_WAIT_NS
            });
            let late: Vec<_> = late.filter_map(|left| left.owner.container_id.clone()).collect();
            naming.foreign.extend(late);
        }
        self.name_services(now_ns);
        if is_watching {
            self.release_sandboxes(now_ns, NAME_WAIT_NS);
        }
        if has_changed || has_forgotten {
            self.judge_cgroups(|_| true);
        }
        self.services.hand_over(now_ns)
    }

    /// Whether the selection has changed since the last call.
    pub fn wants_rescan(&mut self) -> bool {
        self.naming.as_mut().is_some_and(|naming| std::mem::take(&mut naming.is_stale))
    }

    /// Puts another selection in place, as far as what it asks is known.
    pub(super) fn select(&mut self, watch: Watch) {
        if let Some(naming) = &mut self.naming {
            naming.awaited = None;
            if !naming.pods.has_labels(&label_keys(&watch)) {
                let labels = (self.watch.labels_in.clone(), self.watch.labels_out.clone());
                naming.awaited = Some(watch.clone());
                self.watch = watch;
                (self.watch.labels_in, self.watch.labels_out) = labels;
                return;
            }
        }
        self.watch = watch;
    }

    /// Why a container is not watched, if it is not.
    pub(super) fn judge(&self, owner: &CgroupOwner) -> Result<(), Unselected> {
        let id = owner.container_id.as_ref().ok_or(Unselected::Container)?;
        let mut name = id.short();
        if let (Some(naming), Some(uid)) = (&self.naming, &owner.pod_uid) {
            match naming.pods.get(uid) {
                Some(known) => {
                    if let Some(why) = unselected(&known.pod, &self.watch) {
                        return Err(why);
                    }
                    match known.container(id) {
                        Some(container) => name = &container.name,
                        None if naming.sandboxes.contains(id) => return Err(Unselected::Sandbox),
                        None => {}
                    }
                }
                None if naming.may_be_ours(id) => {}
                None => return Err(Unselected::Unknown),
            }
        }
        if self.selects_container(name, id.as_str()) { Ok(()) } else { Err(Unselected::Container) }
    }

    /// The identity of a container by its pod, if that knows the container.
    pub(super) fn named(&self, uid: Option<&PodUid>, id: Option<&ContainerId>) -> Option<Identity> {
        let known = self.naming.as_ref()?.pods.get(uid?)?;
        Some(known.identity(Arc::clone(&known.container(id?)?.name)))
    }

    /// Whether a container's name is going to be told.
    pub(super) fn awaits_name(&self, owner: &CgroupOwner) -> bool {
        self.naming.is_some() && owner.pod_uid.is_some()
    }

    /// Keeps a cgroup in mind that is not watched.
    pub(super) fn leave(&mut self, id: u64, owner: CgroupOwner) {
        let now_ns = self.services.now_ns();
        if let Some(naming) = self.naming.as_mut().filter(|_| owner.pod_uid.is_some())
            && naming.left.len() < MAX_CGROUPS as usize
        {
            naming.left.entry(id).or_insert(Left { owner, since_ns: now_ns });
        }
    }

    /// A cgroup is gone, or is watched now.
    pub(super) fn unleave(&mut self, id: u64) {
        if let Some(naming) = &mut self.naming
            && let Some(left) = naming.left.remove(&id)
            && let Some(container) = &left.owner.container_id
        {
            naming.foreign.remove(container);
            naming.sandboxes.remove(container);
        }
    }

    /// Forgets cgroups that do not exist.
    pub(super) fn keep_left(&mut self, existing: &HashSet<u64>) {
        let naming = self.naming.as_ref();
        let left = naming.into_iter().flat_map(|naming| naming.left.keys());
        let gone: Vec<u64> = left.filter(|id| !existing.contains(id)).copied().collect();
        for id in gone {
            self.unleave(id);
        }
    }

    /// Pods of this node, and how many were left out for want of room.
    #[must_use]
    pub fn pods(&self) -> Option<&Pods> {
        self.naming.as_ref().map(|naming| &naming.pods)
    }

    /// Pods of which a container is not watched, by reason.
    #[must_use]
    pub fn unselected_pods(&self) -> [usize; Unselected::ALL.len()] {
        let left = self.naming.iter().flat_map(|naming| naming.left.values());
        let pods: HashSet<_> = left
            .filter_map(|left| Some((left.owner.pod_uid.clone()?, self.judge(&left.owner).err()?)))
            .collect();
        Unselected::ALL.map(|reason| pods.iter().filter(|(_, why)| *why == reason).count())
    }

    /// Containers of pods that have series, by what they are shown as.
    #[must_use]
    pub fn name_counts(&self) -> NameCounts {
        let mut counts = NameCounts::default();
        for (_, service) in self.services.iter().filter(|(_, service)| service.serves) {
            match (&service.info, &service.identity) {
                (Some(ContainerInfo { pod_uid: Some(_), .. }), None) if service.may_be_named() => {
                    counts.waiting += 1;
                }
                (Some(ContainerInfo { pod_uid: Some(_), .. }), Some(identity)) => {
                    let count = if identity.pod.is_empty() {
                        &mut counts.unnamed
                    } else {
                        &mut counts.named
                    };
                    *count += 1;
                }
                _ => {}
            }
        }
        counts
    }

    /// Names containers whose names are known by now, and those that have
    /// waited for long enough.
    fn name_services(&mut self, now_ns: u64) {
        let waiting = self.services.iter().filter(|(_, service)| service.may_be_named());
        let named: Vec<(u16, Identity)> = waiting
            .filter_map(|(index, service)| {
                let info = service.info.as_ref()?;
                let named = self.named(info.pod_uid.as_ref(), Some(&info.container_id));
                // One that never serves may be a sandbox, and nobody's.
                let is_late =
                    service.serves && now_ns.saturating_sub(service.watched_ns) >= NAME_WAIT_NS;
                let identity = match named {
                    None if is_late => Some(self.unnamed(info)),
                    named => named,
                };
                Some((index, identity?))
            })
            .collect();
        for (index, identity) in named {
            self.services.claim(index, identity, now_ns);
        }
    }

    /// The identity of a container that nobody told the name of.
    fn unnamed(&self, info: &ContainerInfo) -> Identity {
        let pods = self.naming.as_ref().map(|naming| &naming.pods);
        let known = info.pod_uid.as_ref().and_then(|uid| pods?.get(uid));
        match known {
            // Its pod has no other: only the API server has not said its id.
            Some(known) => match known.pod.containers.as_slice() {
                [only] => known.identity(Arc::clone(&only.name)),
                _ => known.identity(info.container_id.short().into()),
            },
            None => {
                let owner = CgroupOwner {
                    container_id: Some(info.container_id.clone()),
                    pod_uid: info.pod_uid.clone(),
                    ..CgroupOwner::default()
                };
                Identity::without_metadata(&owner, "", None)
            }
        }
    }

    /// Gives back the indices of sandboxes (`pause`): containers that serve
    /// nothing, in pods that have told the ids of all that they have. One that
    /// was started again and not told of yet looks alike, for a second: it is
    /// watched from when it is told of.
    fn release_sandboxes(&mut self, now_ns: u64, min_age_ns: u64) {
        let Some(naming) = &self.naming else { return };
        let is_sandbox = |owner: &CgroupOwner, service: u16| {
            let idle = self.services.get(service).filter(|service| {
                let age_ns = now_ns.saturating_sub(service.watched_ns);
                !service.serves && service.identity.is_none() && age_ns >= min_age_ns
            });
            let known = owner.pod_uid.as_ref().and_then(|uid| naming.pods.get(uid));
            let id = owner.container_id.as_ref();
            idle.and(known).zip(id).is_some_and(|(known, id)| {
                let containers = &known.pod.containers;
                known.container(id).is_none() && containers.iter().all(|of| !of.ids.is_empty())
            })
        };
        let sandboxes = self.cgroups.iter().filter(|(_, of)| is_sandbox(&of.owner, of.service));
        let sandboxes: Vec<u64> = sandboxes.map(|(id, _)| *id).collect();
        for id in sandboxes {
            let Some(selected) = self.cgroups.remove(&id) else { continue };
            self.changes.push(Change::CgroupGone { id });
            self.services.release(selected.service);
            let Some(naming) = &mut self.naming else { return };
            naming.sandboxes.extend(selected.owner.container_id.clone());
            // Others may have been refused an index for want of room.
            naming.is_stale |= self.services.refused() > 0;
            self.leave(id, selected.owner);
        }
    }

    /// Looks whether the selection is another for any cgroup of these pods.
    fn judge_cgroups(&mut self, is_asked: impl Fn(&PodUid) -> bool) {
        let Some(naming) = &self.naming else { return };
        let is_asked = |owner: &CgroupOwner| owner.pod_uid.as_ref().is_some_and(&is_asked);
        let mut selected = self.cgroups.values().filter(|selected| is_asked(&selected.owner));
        let mut left = naming.left.values().filter(|left| is_asked(&left.owner));
        let is_stale = selected.any(|selected| self.judge(&selected.owner).is_err())
            || left.any(|left| self.judge(&left.owner).is_ok());
        if let Some(naming) = &mut self.naming {
            naming.is_stale |= is_stale;
        }
    }
}

#[cfg(test)]
mod tests;
