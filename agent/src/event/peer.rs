//! Names of peers on other nodes, as somebody who watches the cluster tells
//! them.
//!
//! Separate from [`super::pod`], which is about this node's own pods. This is
//! the seam for whoever looks names up: it sends [`PeerUpdate`]s to the worker,
//! which keeps them for as long as they say.

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

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerUpdate {
    /// The zone of this node.
    OwnZone(Arc<str>),
    /// Who has an address, `None` for nobody that is known, and until when that
    /// holds, `CLOCK_MONOTONIC` nanoseconds. A wrong name is worse than none.
    Found {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        name: Option<PeerName>,
        /// When it is to be forgotten.
        until_ns: u64,
    },
}
