//! Who is at the other end of a connection: a pure table from addresses to
//! names and distances.
//!
//! Separate from the pods, which are known by uid, and from whoever looks up
//! the peers that are on other nodes (see [`crate::event::peer`]).

pub mod asked;
pub mod cidr;
pub mod local;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::attribution::peers::asked::{Asked, Word};
use crate::attribution::peers::cidr::{Names, is_public};
use crate::event::edge::Remote;
use crate::event::peer::{PeerName, PeersTold, PeersWanted};

/// How far away a peer is. The order is that of the answers: what is nearer is
/// asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Distance {
    /// The same host, by a loopback address or its own.
    Loopback,
    /// This node.
    Node,
    /// Another node of this node's zone.
    Zone,
    /// A node of another zone.
    CrossZone,
    /// Outside of the cluster.
    External,
    /// Not known.
    Unknown,
}

impl Distance {
    /// The value of the `scope` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Node => "node",
            Self::Zone => "zone",
            Self::CrossZone => "cross_zone",
            Self::External => "external",
            Self::Unknown => "unknown",
        }
    }
}

/// A peer as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its names; all empty if there are none.
    pub name: PeerName,
    /// How far away it is.
    pub distance: Distance,
}

/// The `peer_workload` of what has no edge of its own.
pub const OTHER: &str = "_other";

/// A pod of this node, as the table needs it.
#[derive(Clone, Debug)]
pub struct LocalPod {
    /// Namespace.
    pub namespace: Arc<str>,
    /// `workload` label.
    pub workload: Arc<str>,
    /// Its addresses; none if they are the node's.
    pub addresses: Vec<IpAddr>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Peers {
    node: HashSet<IpAddr>,
    node_name: Arc<str>,
    pods: HashMap<IpAddr, PeerName>,
    /// Peers elsewhere, if somebody is asked about them.
    asked: Option<Asked>,
    /// `None`: nobody told it.
    own_zone: Option<Arc<str>>,
    names: Names,
}

impl Peers {
    /// A table that knows this node by name (empty if it has none).
    #[must_use]
    pub fn new(node_name: &str, names: Names) -> Self {
        let node_name = match node_name {
            "" => Arc::from("node"),
            name => Arc::from(format!("node/{name}")),
        };
        Self { node_name, names, ..Self::default() }
    }

    /// From now on somebody is asked about peers elsewhere.
    pub fn expect_answers(&mut self, now_ns: u64) {
        self.asked = Some(Asked::new(now_ns));
    }

    /// Addresses of this node, all of them.
    pub fn set_node(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.node = addresses.into_iter().map(|address| address.to_canonical()).collect();
    }

    /// Pods of this node, all of them. An address that two pods have belongs to
    /// nobody: one of the two has gone, and it is not known which.
    pub fn set_pods(&mut self, pods: impl IntoIterator<Item = LocalPod>) {
        self.pods.clear();
        let mut doubtful = HashSet::new();
        for pod in pods {
            for address in pod.addresses {
                let address = address.to_canonical();
                let name = PeerName {
                    namespace: Arc::clone(&pod.namespace),
                    workload: Arc::clone(&pod.workload),
                    zone: self.own_zone.clone().unwrap_or_default(),
                };
                if self.pods.get(&address).is_some_and(|other| *other != name) {
                    doubtful.insert(address);
                }
                self.pods.insert(address, name);
            }
        }
        self.pods.retain(|address, _| !doubtful.contains(address));
    }

    /// Names that the configuration gives to networks.
    pub fn set_names(&mut self, names: Names) {
        self.names = names;
    }

    /// What is to be asked about peers elsewhere; what holds for less than
    /// `soon_ns` is asked again.
    pub fn wanted(&mut self, now_ns: u64, soon_ns: u64) -> PeersWanted {
        let Some(asked) = &mut self.asked else { return PeersWanted::default() };
        let wanted = asked.wanted(now_ns, soon_ns);
        if wanted == PeersWanted::default() && self.own_zone.is_some() {
            asked.idle(now_ns);
        }
        wanted
    }

    /// Takes up an answer. What was counted before it is to be named now, as
    /// confirmed, and then [`Peers::settle`] to be called.
    pub fn take(&mut self, told: &PeersTold, now_ns: u64) {
        let Some(asked) = &mut self.asked else { return };
        asked.take(told, now_ns);
        if self.own_zone.as_ref() != Some(&told.zone) {
            for name in self.pods.values_mut() {
                name.zone = Arc::clone(&told.zone);
            }
            self.own_zone = Some(Arc::clone(&told.zone));
        }
    }

    /// All that was counted before the answer has been named.
    pub fn settle(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.settle();
        }
    }

    /// Whether an answer would change anything.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| !asked.is_empty() || asked.is_wanting())
    }

    /// What is known of peers elsewhere, if somebody is asked.
    #[must_use]
    pub const fn asked(&self) -> Option<&Asked> {
        self.asked.as_ref()
    }

    /// Who was there up to `now_ns`; `None` if that may be told soon.
    /// `is_confirmed`: an answer was just taken up, and nothing counted since.
    pub fn name(&mut self, remote: Remote, now_ns: u64, is_confirmed: bool) -> Option<Peer> {
        let plain = |name, distance| Some(Peer { name, distance });
        let called = |workload: &Arc<str>| PeerName {
            workload: Arc::clone(workload),
            ..PeerName::default()
        };
        let address = match remote {
            Remote::Loopback => return plain(PeerName::default(), Distance::Loopback),
            Remote::Rest => return plain(called(&Arc::from(OTHER)), Distance::Unknown),
            Remote::Address(address) => address.to_canonical(),
        };
        if address.is_loopback() {
            return plain(PeerName::default(), Distance::Loopback);
        }
        if self.node.contains(&address) || self.pods.contains_key(&address) {
            let awaits_zone = self.own_zone.is_none()
                && self.asked.as_ref().is_some_and(|asked| asked.may_be_told(now_ns));
            if awaits_zone {
                // A peer would be there twice, with its zone and without.
                return None;
            }
            let zone = self.own_zone.clone().unwrap_or_default();
            let of_node = || PeerName { zone, ..called(&self.node_name) };
            let name = match self.pods.get(&address) {
                Some(name) if !self.node.contains(&address) => name.clone(),
                _ => of_node(),
            };
            return plain(name, Distance::Node);
        }
        let word = self.asked.as_mut().map(|asked| asked.find(address, now_ns, is_confirmed));
        match word {
            Some(Word::Wait) => return None,
            Some(Word::Named(name)) => {
                let own = self.own_zone.as_deref().unwrap_or_default();
                let distance = match (&*name.zone, own) {
                    ("", _) | (_, "") => Distance::Unknown,
                    (theirs, own) if theirs == own => Distance::Zone,
                    _ => Distance::CrossZone,
                };
                return plain(name, distance);
            }
            Some(Word::Nobody) | None => {}
        }
        if let Some(name) = self.names.find(address) {
            return plain(called(name), Distance::External);
        }
        let distance = if is_public(address) { Distance::External } else { Distance::Unknown };
        plain(PeerName::default(), distance)
    }
}

#[cfg(test)]
mod tests;
