//! Who has an address in the cluster. Pure: told of objects, asked for
//! addresses.
//!
//! Separate from whoever watches and from whoever asks. A wrong name is worse
//! than none, so an address has a name only if all that have it agree on it, and
//! none for a while after another had it.

mod changes;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::event::holder::{Holder, HolderKind, HolderUpdate};
use crate::event::peer::PeerName;
use changes::Changes;

/// Objects of each kind that are kept, at most, in the order of
/// [`HolderKind::ALL`]: twice what Kubernetes is tested with. Some 300 bytes each.
pub const MAX_HOLDERS: [usize; HolderKind::ALL.len()] = [10_000, 20_000, 300_000];
/// How long an address names nobody after another had it. The API server learns
/// of a pod's address a second or two after the pod has it, and what an agent has
/// counted waits up to 15 s for an answer: none of it may be the other's.
pub const QUARANTINE_NS: u64 = 30_000_000_000;
/// Addresses that are remembered to have been another's, at most: 4 000 a second.
const MAX_LEFT: usize = 131_072;

/// What is kept of a holder.
#[derive(Debug)]
struct Held {
    kind: HolderKind,
    /// Number of the list that told of it last.
    list: u32,
    name: Arc<Name>,
    node: Arc<str>,
    addresses: Box<[IpAddr]>,
}

/// Namespace and workload, which many pods share.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Name {
    namespace: Arc<str>,
    workload: Arc<str>,
}

/// The zone of a node.
#[derive(Debug)]
struct Zone {
    name: Arc<str>,
    /// Uid of the node that said so.
    of: u128,
}

/// Who left an address.
#[derive(Debug)]
struct Left {
    /// `None`: several did.
    name: Option<PeerName>,
    until_ns: u64,
}

/// See the module. Times are `CLOCK_MONOTONIC` nanoseconds.
#[derive(Debug, Default)]
pub struct Directory {
    holders: HashMap<u128, Held>,
    by_address: HashMap<IpAddr, Vec<u128>>,
    /// Zones of nodes by their names.
    zones: HashMap<Arc<str>, Zone>,
    names: HashSet<Arc<Name>>,
    left: HashMap<IpAddr, Left>,
    /// Those of `left`, the first to be forgotten first.
    leaving: VecDeque<(u64, IpAddr)>,
    changes: Changes,
    /// Kinds that have been listed.
    listed: [bool; HolderKind::ALL.len()],
    lists: [u32; HolderKind::ALL.len()],
    counts: [usize; HolderKind::ALL.len()],
    left_out: u64,
}

impl Directory {
    /// Takes up what the API server told.
    pub fn update(&mut self, update: HolderUpdate, now_ns: u64) {
        self.forget(now_ns);
        match update {
            HolderUpdate::Begin(kind) => {
                if let Some(list) = self.lists.get_mut(kind as usize) {
                    *list = list.wrapping_add(1);
                }
            }
            HolderUpdate::Is(holder) => self.put(holder, now_ns),
            HolderUpdate::Gone(uid) => self.remove(uid, now_ns),
            HolderUpdate::End(kind) => {
                let list = self.list(kind);
                let gone =
                    self.holders.iter().filter(|(_, held)| held.kind == kind && held.list != list);
                let gone: Vec<u128> = gone.map(|(uid, _)| *uid).collect();
                gone.into_iter().for_each(|uid| self.remove(uid, now_ns));
                self.names.retain(|name| Arc::strong_count(name) > 1);
                if let Some(listed) = self.listed.get_mut(kind as usize) {
                    *listed = true;
                }
            }
        }
    }

    /// Whether every kind has been listed: before that a name may be missing that
    /// contradicts another.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed.iter().all(|listed| *listed)
    }

    /// Who has an address, if all that have it agree, and nobody else had it a
    /// moment ago.
    #[must_use]
    pub fn find(&self, address: IpAddr, now_ns: u64) -> Option<PeerName> {
        let name = self.name(address)?;
        let left = self.left.get(&address).filter(|left| left.until_ns > now_ns);
        left.is_none_or(|left| left.name.as_ref() == Some(&name)).then_some(name)
    }

    /// Whether an address is on this node, or its own.
    #[must_use]
    pub fn is_on(&self, address: IpAddr, node: &str) -> bool {
        let uids = self.by_address.get(&address).into_iter().flatten();
        let mut held = uids.filter_map(|uid| self.holders.get(uid));
        held.any(|held| !node.is_empty() && *held.node == *node)
    }

    /// The zone of a node.
    #[must_use]
    pub fn zone(&self, node: &str) -> Arc<str> {
        self.zones.get(node).map(|zone| Arc::clone(&zone.name)).unwrap_or_default()
    }

    /// Number of the last change of a name.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.changes.revision()
    }

    /// Addresses whose names changed since a revision, if these are known and no
    /// more than `most`.
    #[must_use]
    pub fn changed_since(&self, revision: u64, most: usize) -> Option<Vec<IpAddr>> {
        self.changes.since(revision, most)
    }

    /// Objects of a kind that have addresses.
    #[must_use]
    pub fn count(&self, kind: HolderKind) -> usize {
        self.counts.get(kind as usize).copied().unwrap_or_default()
    }

    /// Addresses that somebody has.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.by_address.len()
    }

    /// Addresses that another had a moment ago.
    #[must_use]
    pub fn quarantined(&self) -> usize {
        self.left.len()
    }

    /// Objects that there was no room for, so far.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    fn list(&self, kind: HolderKind) -> u32 {
        self.lists.get(kind as usize).copied().unwrap_or_default()
    }

    /// The name on which all that have an address agree.
    fn name(&self, address: IpAddr) -> Option<PeerName> {
        let mut names = self.by_address.get(&address)?.iter().filter_map(|uid| {
            let held = self.holders.get(uid)?;
            let zone = self.zone(&held.node);
            let Name { namespace, workload } = &*held.name;
            let (namespace, workload) = (Arc::clone(namespace), Arc::clone(workload));
            Some(PeerName { namespace, workload, zone })
        });
        let first = names.next()?;
        names.all(|name| name == first).then_some(first)
    }

    fn put(&mut self, holder: Holder, now_ns: u64) {
        let (kind, uid, list) = (holder.kind, holder.uid, self.list(holder.kind));
        let node = self.node(&holder);
        let addresses: Box<[IpAddr]> =
            holder.addresses.iter().map(|address| address.to_canonical()).collect();
        if kind == HolderKind::Node {
            self.set_zone(&node, &holder.zone, uid);
        }
        let same = self.holders.get_mut(&uid).filter(|held| {
            held.addresses == addresses
                && held.node == node
                && *held.name.namespace == *holder.namespace
                && *held.name.workload == *holder.workload
        });
        if let Some(held) = same {
            held.list = list;
            return;
        }
        self.release(uid, now_ns);
        if addresses.is_empty() && kind != HolderKind::Node {
            return;
        }
        let bound = MAX_HOLDERS.get(kind as usize).copied().unwrap_or_default();
        let Some(count) = self.counts.get_mut(kind as usize).filter(|count| **count < bound) else {
            self.left_out += 1;
            return;
        };
        *count += 1;
        let name = self.intern(holder.namespace, holder.workload);
        let held = Held { kind, list, name, node, addresses: addresses.clone() };
        self.holders.insert(uid, held);
        for address in addresses {
            self.renamed(address, now_ns, |all| {
                all.by_address.entry(address).or_default().push(uid);
            });
        }
    }

    fn remove(&mut self, uid: u128, now_ns: u64) {
        let Some(held) = self.release(uid, now_ns) else { return };
        // One of the same name may have come before it went.
        let zone = self.zones.get(&held.node).filter(|zone| zone.of == uid);
        if held.kind == HolderKind::Node && zone.is_some() {
            self.set_zone(&held.node, "", uid);
            self.zones.remove(&held.node);
        }
    }

    /// Takes a holder out, but for a node's zone.
    fn release(&mut self, uid: u128, now_ns: u64) -> Option<Held> {
        let addresses = self.holders.get(&uid)?.addresses.clone();
        for address in addresses {
            self.renamed(address, now_ns, |all| {
                if let Some(uids) = all.by_address.get_mut(&address) {
                    uids.retain(|of| *of != uid);
                    if uids.is_empty() {
                        all.by_address.remove(&address);
                    }
                }
            });
        }
        let held = self.holders.remove(&uid)?;
        if let Some(count) = self.counts.get_mut(held.kind as usize) {
            *count = count.saturating_sub(1);
        }
        Some(held)
    }

    /// Does something to an address, and notes it if its name is another now.
    fn renamed(&mut self, address: IpAddr, now_ns: u64, change: impl FnOnce(&mut Self)) {
        let (before, was_held) = (self.name(address), self.by_address.contains_key(&address));
        change(self);
        if self.name(address) == before {
            return;
        }
        self.changes.push(address);
        if !was_held {
            return;
        }
        while self.leaving.len() >= MAX_LEFT {
            let Some((until_ns, first)) = self.leaving.pop_front() else { break };
            if self.left.get(&first).is_some_and(|left| left.until_ns <= until_ns) {
                self.left.remove(&first);
            }
        }
        let until_ns = now_ns.saturating_add(QUARANTINE_NS);
        // Whoever comes after two within that time is not told from the second, nor
        // is who stays of two that had it together.
        let name = match self.left.get(&address).filter(|left| left.until_ns > now_ns) {
            Some(left) if left.name != before => None,
            _ => before,
        };
        self.left.insert(address, Left { name, until_ns });
        self.leaving.push_back((until_ns, address));
    }

    /// A node is told of: pods on it have its zone. Nobody gets another's address
    /// by that.
    fn set_zone(&mut self, node: &Arc<str>, zone: &str, of: u128) {
        let is_known = self.zones.get(node).map(|known| *known.name == *zone);
        let same = self.zones.values().find(|known| *known.name == *zone);
        let name = same.map_or_else(|| zone.into(), |known| Arc::clone(&known.name));
        self.zones.insert(Arc::clone(node), Zone { name, of });
        if is_known.unwrap_or(zone.is_empty()) {
            return;
        }
        let on_it = self.holders.values().filter(|held| held.node == *node);
        let addresses: Vec<IpAddr> = on_it.flat_map(|held| held.addresses.to_vec()).collect();
        for address in addresses {
            self.left.remove(&address);
            self.changes.push(address);
        }
    }

    fn node(&self, holder: &Holder) -> Arc<str> {
        let known = self.zones.get_key_value(holder.node.as_str());
        known.map_or_else(|| holder.node.as_str().into(), |(node, _)| Arc::clone(node))
    }

    fn intern(&mut self, namespace: String, workload: String) -> Arc<Name> {
        let name = Name { namespace: namespace.into(), workload: workload.into() };
        if let Some(known) = self.names.get(&name) {
            return Arc::clone(known);
        }
        let name = Arc::new(name);
        self.names.insert(Arc::clone(&name));
        name
    }

    fn forget(&mut self, now_ns: u64) {
        while let Some((until_ns, address)) = self.leaving.front().copied()
            && until_ns <= now_ns
        {
            self.leaving.pop_front();
            if self.left.get(&address).is_some_and(|left| left.until_ns <= now_ns) {
                self.left.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
