//! Pods of this node, as far as anybody here needs to know them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::ids::{ContainerId, PodUid};

/// Pods that are kept, at most. A kubelet takes 110 unless it is told
/// otherwise, and 500 is the most that is run in earnest; pods that ended are
/// listed too. Some 1 KB each.
pub const MAX_PODS: usize = 2_048;

/// What the API server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodUpdate {
    /// These are all pods of this node: who is not among them is gone.
    All {
        /// The pods.
        pods: Vec<Pod>,
        /// Pods that were left out for want of room.
        left_out: u64,
        /// Labels that were looked for; the pods have no others.
        label_keys: Arc<[String]>,
    },
    /// A pod came or changed.
    Applied(Box<Pod>),
    /// A pod is gone.
    Gone(PodUid),
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Uid that the API server knows it by; `None` for one that has no usable
    /// one, which is not kept.
    pub uid: Option<PodUid>,
    /// Of a static pod: the hash of its manifest, which is what the kubelet
    /// names its cgroup by.
    pub config_hash: Option<PodUid>,
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// What controls it; `None` for a bare pod.
    pub owner: Option<Owner>,
    /// Value of its label `pod-template-hash`; empty without one.
    pub template_hash: Box<str>,
    /// Whether it lives in the network namespace of the node.
    pub is_host_network: bool,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Its containers, those of every kind.
    pub containers: Vec<Container>,
    /// Labels that were looked for, as far as it has them.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// What its annotation says of being watched; `None` if it says nothing.
    pub is_opted_in: Option<bool>,
}

/// What controls a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Kind, as in `ReplicaSet`.
    pub kind: Box<str>,
    /// Name.
    pub name: Box<str>,
}

/// A container of a pod: one that runs to its end before the others, one beside
/// them, or one that was added to look around, all alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Name, unique in its pod.
    pub name: Arc<str>,
    /// Ids that it has and had, the newest first; empty before it has started.
    pub ids: Vec<ContainerId>,
}
