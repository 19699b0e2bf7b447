//! Names of peers on other nodes, as somebody who watches the cluster tells
//! them.
//!
//! Separate from [`super::pod`], which is about this node's own pods. This is
//! the seam for whoever looks names up: the worker says which it wants
//! ([`PeersWanted`]), and takes what was told ([`PeersTold`]).

use std::net::IpAddr;
use std::sync::Arc;

/// Who has an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerName {
    /// Namespace; empty for a node.
    pub namespace: Arc<str>,
    /// `deployment/api`, `service/api`, `node/a`.
    pub workload: Arc<str>,
    /// Zone of its node; empty if it is not known.
    pub zone: Arc<str>,
}

/// What the worker wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeersWanted {
    /// Addresses that nothing is known about, or not for much longer.
    pub unknown: Vec<IpAddr>,
    /// Addresses whose names are in use: to be asked for again if it cannot be
    /// said what has changed since.
    pub known: Vec<IpAddr>,
}

/// Which of the names told before hold no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Those of these addresses; all others still hold.
    These(Vec<IpAddr>),
    /// All that are not told again.
    All,
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersTold {
    /// The zone of this node; empty if it has none.
    pub zone: Arc<str>,
    /// What holds no longer.
    pub changed: Changed,
    /// Who has which address; `None`: nobody that is known. A wrong name is
    /// worse than none.
    pub found: Vec<(IpAddr, Option<PeerName>)>,
}
