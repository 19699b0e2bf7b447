//! Services: what a request is counted for, by the index that the kernel uses.
//!
//! A service is a container, or a workload outside of one. Its index is given
//! at selection, before anything is measured, and given to another only after
//! the service has been gone for a while, so that its last counts are scraped.

use std::collections::HashMap;

use agent_common::limits::MAX_SERVICES;

use super::identity::{ContainerInfo, Identity};
use crate::event::ids::ContainerId;

/// How long the series of a service that is gone are still shown.
pub const RETENTION_NS: u64 = 120_000_000_000;

/// How long a container waits for the name of the one before it, whose last
/// counts nobody fetches.
pub const HAND_OVER_NS: u64 = 30_000_000_000;

/// What makes two processes one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKey {
    /// They are in one container.
    Container(ContainerId),
    /// They have one identity, outside of containers.
    Host(Identity),
}

/// One service.
#[derive(Debug)]
pub struct Service {
    /// Who it is.
    pub key: ServiceKey,
    /// Its labels; `None` until its program is known, for containers outside
    /// of pods, or until its name is, for those in pods.
    pub identity: Option<Identity>,
    /// Its container.
    pub info: Option<ContainerInfo>,
    /// Whether a process of it was seen to listen or serve. A selected
    /// container without one has no series.
    pub serves: bool,
    /// Cgroups that it has.
    cgroups: u32,
    /// When it was seen to have neither cgroups nor processes.
    gone_since_ns: Option<u64>,
    /// Since when it is watched, and may wait for its name; `CLOCK_MONOTONIC`
    /// nanoseconds.
    pub watched_ns: u64,
    /// An identity that another has still, and since when it is wanted.
    claim: Option<(Identity, u64)>,
    /// A snapshot was made after its last cgroup went: all of it was shown.
    is_shown_whole: bool,
    /// It is there, and not watched any more.
    is_deselected: bool,
    /// Another has its name, and it is not shown any more.
    is_succeeded: bool,
    /// Goes up each time that the index is given away.
    pub epoch: u64,
}

impl Service {
    /// Whether its name is still to be told: it is in a pod.
    #[must_use]
    pub fn may_be_named(&self) -> bool {
        let is_in_pod = self.info.as_ref().is_some_and(|info| info.pod_uid.is_some());
        is_in_pod && self.identity.is_none() && !self.is_deselected && !self.is_succeeded
    }
}

/// Every service, by index.
#[derive(Debug, Default)]
pub struct Services {
    slots: Vec<Option<Service>>,
    by_key: HashMap<ServiceKey, u16>,
    /// Names that containers of pods are shown by: each is one's at a time.
    by_name: HashMap<Identity, u16>,
    now_ns: u64,
    next_epoch: u64,
    refused: u64,
}

impl Services {
    /// The index of a service, given to it now if it has none. `true` if it is
    /// new. `None` if all are taken, which is counted.
    pub fn get_or_add(
        &mut self,
        key: &ServiceKey,
        make: impl FnOnce() -> (Option<Identity>, Option<ContainerInfo>),
    ) -> Option<(u16, bool)> {
        if let Some(index) = self.by_key.get(key) {
            return Some((*index, false));
        }
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if free >= MAX_SERVICES as usize {
            self.refused += 1;
            return None;
        }
        let (identity, info) = make();
        self.next_epoch += 1;
        let service = Service {
            key: key.clone(),
            identity,
            info,
            serves: matches!(key, ServiceKey::Host(_)),
            cgroups: 0,
            gone_since_ns: None,
            watched_ns: self.now_ns,
            claim: None,
            is_shown_whole: false,
            is_deselected: false,
            is_succeeded: false,
            epoch: self.next_epoch,
        };
        match self.slots.get_mut(free) {
            Some(slot) => *slot = Some(service),
            None => self.slots.push(Some(service)),
        }
        let index = u16::try_from(free).ok()?;
        self.by_key.insert(key.clone(), index);
        Some((index, true))
    }

    /// The service with this index.
    #[must_use]
    pub fn get(&self, index: u16) -> Option<&Service> {
        self.slots.get(usize::from(index))?.as_ref()
    }

    /// The service that has this key, if there is one.
    #[must_use]
    pub fn find(&self, key: &ServiceKey) -> Option<&Service> {
        self.get(*self.by_key.get(key)?)
    }

    /// A process of the service listens or serves: says who it is, if that is
    /// not known yet.
    pub fn identify(&mut self, index: u16, identity: impl FnOnce() -> Option<Identity>) {
        if let Some(Some(service)) = self.slots.get_mut(usize::from(index)) {
            service.serves = true;
            if service.identity.is_none() {
                service.identity = identity();
            }
        }
    }

    /// The time, `CLOCK_MONOTONIC` nanoseconds; seconds are good enough.
    pub const fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// The time as of the last [`Self::set_now`].
    #[must_use]
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The name of a container in a pod is known. It keeps the first that it
    /// is shown by; and one that another is shown by it gets when that one has
    /// been shown for the last time, by [`Self::hand_over`].
    pub fn claim(&mut self, index: u16, identity: Identity, now_ns: u64) {
        let holder = self.by_name.get(&identity).copied();
        let Some(Some(service)) = self.slots.get_mut(usize::from(index)) else { return };
        if service.identity.is_some() || service.is_succeeded {
            return;
        }
        if holder.is_some_and(|holder| holder != index) {
            service.claim.get_or_insert((identity, now_ns));
        } else {
            service.identity = Some(identity.clone());
            self.by_name.insert(identity, index);
        }
    }

    /// Gives names to the containers that came after those that had them (a
    /// container that was started again, a pod of a `StatefulSet`), once the
    /// last counts of those were shown, or after [`HAND_OVER_NS`]. Gives the
    /// indices of those that are not shown any more.
    pub fn hand_over(&mut self, now_ns: u64) -> Vec<u16> {
        let claims = self.iter().filter_map(|(index, service)| {
            let (identity, since_ns) = service.claim.as_ref()?;
            let holder = self.by_name.get(identity).copied().filter(|holder| *holder != index);
            let is_over = holder.and_then(|holder| self.get(holder)).is_none_or(|holder| {
                (holder.cgroups == 0 && holder.is_shown_whole)
                    || now_ns.saturating_sub(*since_ns) >= HAND_OVER_NS
            });
            is_over.then(|| (service.watched_ns, index, identity.clone(), holder))
        });
        let mut claims: Vec<_> = claims.collect();
        // Of several that want one name the newest gets it, and at once.
        claims.sort_by_key(|(watched_ns, index, ..)| (*watched_ns, *index));
        let mut ended = Vec::new();
        for (_, index, identity, _) in claims {
            if let Some(holder) = self.by_name.insert(identity.clone(), index)
                && holder != index
                && let Some(Some(before)) = self.slots.get_mut(usize::from(holder))
            {
                before.identity = None;
                before.is_succeeded = true;
                ended.push(holder);
            }
            if let Some(Some(service)) = self.slots.get_mut(usize::from(index)) {
                service.claim = None;
                service.identity = Some(identity);
            }
        }
        ended
    }

    /// A snapshot was made: what has no cgroup any more was shown whole.
    pub fn set_shown(&mut self) {
        for service in self.slots.iter_mut().flatten() {
            service.is_shown_whole = service.cgroups == 0;
        }
    }

    /// A cgroup of a service went that had nothing to show: if it was the last,
    /// the index is free at once.
    pub fn release(&mut self, index: u16) {
        self.remove_cgroup(index);
        if let Some(slot) = self.slots.get_mut(usize::from(index))
            && let Some(service) = slot.take_if(|of| of.cgroups == 0 && !of.serves)
        {
            self.by_key.remove(&service.key);
        }
    }

    /// The service is not watched any more, though its container is there: if
    /// it has no name yet, it gets none.
    pub fn deselect(&mut self, index: u16) {
        if let Some(Some(service)) = self.slots.get_mut(usize::from(index)) {
            service.is_deselected = true;
        }
    }

    /// A cgroup of the service came.
    pub fn add_cgroup(&mut self, index: u16) {
        if let Some(Some(service)) = self.slots.get_mut(usize::from(index)) {
            if service.cgroups == 0 {
                service.watched_ns = self.now_ns;
            }
            service.cgroups += 1;
            service.gone_since_ns = None;
            service.is_shown_whole = false;
            service.is_deselected = false;
        }
    }

    /// A cgroup of the service went.
    pub fn remove_cgroup(&mut self, index: u16) {
        if let Some(Some(service)) = self.slots.get_mut(usize::from(index)) {
            service.cgroups = service.cgroups.saturating_sub(1);
        }
    }

    /// Services that may be shown, with their index.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Service)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((u16::try_from(index).ok()?, slot.as_ref()?)))
    }

    /// Services that were refused for want of an index.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes back the indices of services that have been gone for
    /// [`RETENTION_NS`]. `has_process` says whether a watched process is left.
    pub fn expire(&mut self, now_ns: u64, has_process: impl Fn(u16) -> bool) -> Vec<u16> {
        let mut expired = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let (Some(service), Ok(index)) = (slot.as_mut(), u16::try_from(index)) else {
                continue;
            };
            if service.cgroups > 0 || has_process(index) {
                service.gone_since_ns = None;
                continue;
            }
            let since_ns = *service.gone_since_ns.get_or_insert(now_ns);
            if now_ns.saturating_sub(since_ns) >= RETENTION_NS {
                self.by_key.remove(&service.key);
                if let Some(identity) = &service.identity
                    && self.by_name.get(identity) == Some(&index)
                {
                    self.by_name.remove(identity);
                }
                *slot = None;
                expired.push(index);
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> ServiceKey {
        let nothing: std::sync::Arc<str> = "".into();
        ServiceKey::Host(Identity {
            namespace: nothing.clone(),
            pod: nothing.clone(),
            container: nothing,
            workload: name.into(),
        })
    }

    fn add(services: &mut Services, name: &str) -> Option<(u16, bool)> {
        services.get_or_add(&host(name), || (None, None))
    }

    #[test]
    fn one_key_is_one_service() {
        let mut services = Services::default();
        assert_eq!(add(&mut services, "a"), Some((0, true)));
        assert_eq!(add(&mut services, "b"), Some((1, true)));
        assert_eq!(add(&mut services, "a"), Some((0, false)));
    }

    #[test]
    fn a_container_serves_only_once_a_process_of_it_does() {
        let mut services = Services::default();
        let Some(id) = ContainerId::parse(&"a".repeat(64)) else { panic!("not an id") };
        services.get_or_add(&ServiceKey::Container(id), || (None, None));
        let serves = |services: &Services| services.get(0).map(|service| service.serves);
        assert_eq!(serves(&services), Some(false));
        let ServiceKey::Host(identity) = host("a") else { panic!("not a host's") };
        services.identify(0, || Some(identity));
        assert_eq!(serves(&services), Some(true));
    }

    #[test]
    fn an_index_is_given_again_only_after_the_retention() {
        let mut services = Services::default();
        let epoch_of = |services: &Services| services.get(0).map(|service| service.epoch);
        add(&mut services, "a");
        let first = epoch_of(&services);
        assert!(services.expire(5, |_| false).is_empty());
        assert!(services.expire(4 + RETENTION_NS, |_| false).is_empty());
        assert_eq!(services.expire(5 + RETENTION_NS, |_| false), [0]);
        assert_eq!(add(&mut services, "b"), Some((0, true)));
        assert_ne!(epoch_of(&services), first);
    }

    #[test]
    fn what_comes_back_in_time_goes_on() {
        let mut services = Services::default();
        add(&mut services, "a");
        services.add_cgroup(0);
        services.remove_cgroup(0);
        services.expire(1, |_| false);
        services.expire(2, |_| true);
        assert!(services.expire(2 + RETENTION_NS, |_| false).is_empty());
    }

    #[test]
    fn more_than_the_bound_are_counted_and_refused() {
        let mut services = Services::default();
        for i in 0..MAX_SERVICES {
            assert!(add(&mut services, &i.to_string()).is_some());
        }
        assert_eq!((add(&mut services, "more"), services.refused()), (None, 1));
    }
}
