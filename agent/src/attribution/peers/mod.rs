//! Who is at the other end of a connection: a pure table from addresses to
//! names and distances.
//!
//! Separate from the pods, which are known by uid, and from whoever looks up
//! the peers that are on other nodes (see [`crate::event::peer`]).

pub mod cidr;
pub mod local;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::attribution::peers::cidr::{Names, is_public};
use crate::event::edge::Remote;
use crate::event::peer::{PeerName, PeerUpdate};

/// Names of peers elsewhere, kept at one time: 100 bytes each.
const MAX_FOUND: usize = 4_096;

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

#[derive(Debug)]
struct Found {
    name: Option<PeerName>,
    until_ns: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Peers {
    node: HashSet<IpAddr>,
    node_name: Arc<str>,
    pods: HashMap<IpAddr, PeerName>,
    found: HashMap<IpAddr, Found>,
    own_zone: Arc<str>,
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
                    zone: Arc::clone(&self.own_zone),
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

    /// Takes up what was found out about peers elsewhere.
    pub fn update(&mut self, update: PeerUpdate, now_ns: u64) {
        match update {
            PeerUpdate::OwnZone(zone) => {
                for name in self.pods.values_mut() {
                    name.zone = Arc::clone(&zone);
                }
                self.own_zone = zone;
            }
            PeerUpdate::Found { address, name, until_ns } => {
                let address = address.to_canonical();
                if self.found.len() >= MAX_FOUND && !self.found.contains_key(&address) {
                    self.found.retain(|_, found| found.until_ns > now_ns);
                    // What is known longest is asked for again soonest.
                    let first = self.found.iter().min_by_key(|(_, found)| found.until_ns);
                    if self.found.len() >= MAX_FOUND
                        && let Some(first) = first.map(|(address, _)| *address)
                    {
                        self.found.remove(&first);
                    }
                }
                self.found.insert(address, Found { name, until_ns });
            }
        }
    }

    /// Who is there.
    #[must_use]
    pub fn name(&self, remote: Remote, now_ns: u64) -> Peer {
        let plain = |name, distance| Peer { name, distance };
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
        if self.node.contains(&address) {
            let zone = Arc::clone(&self.own_zone);
            return plain(PeerName { zone, ..called(&self.node_name) }, Distance::Node);
        }
        if let Some(name) = self.pods.get(&address) {
            return plain(name.clone(), Distance::Node);
        }
        let found = self.found.get(&address).filter(|found| found.until_ns > now_ns);
        if let Some(name) = found.and_then(|found| found.name.clone()) {
            let distance = match (&*name.zone, &*self.own_zone) {
                ("", _) | (_, "") => Distance::Unknown,
                (theirs, own) if theirs == own => Distance::Zone,
                _ => Distance::CrossZone,
            };
            return plain(name, distance);
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
