//! Nodes, Services and pods of the whole cluster: the few fields that make a
//! name.
//!
//! Separate from the pods of a node, of which more is kept: here a cluster's
//! pods come by, and nothing else of them may even be built.

use std::borrow::Cow;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::Resource;
use serde::Deserialize;

use super::{Address, OwnerReference, is_name};
use crate::event::holder::{self, Holder, HolderKind};
use crate::event::owner::workload;
use crate::event::pod::{Owner, Pod};

/// Addresses of one object that are kept, at most: a node has one of each family
/// inside and outside.
const MAX_ADDRESSES: usize = 8;
/// The longest zone: a label's value has 63 bytes.
const MAX_ZONE_BYTES: usize = 63;

/// What all kinds have.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: String,
    namespace: String,
    uid: String,
    resource_version: Option<String>,
    deletion_timestamp: Option<String>,
    labels: Option<Labels>,
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Labels {
    #[serde(rename = "pod-template-hash")]
    template_hash: String,
    #[serde(rename = "topology.kubernetes.io/zone")]
    zone: String,
}

/// What is watched: how it is asked for, and what is made of it.
pub(in crate::cluster) trait Wide:
    Resource<DynamicType = ()>
    + serde::de::DeserializeOwned
    + Clone
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// Its kind.
    const KIND: HolderKind;

    /// Its uid, if it is one.
    fn uid(&self) -> Option<u128>;

    /// What is kept of it; `None` if it cannot be told from others.
    fn into_holder(self) -> Option<Holder>;
}

macro_rules! watched {
    ($object:ident, $written:ident, $kind:literal, $plural:literal, $scope:ty) => {
        impl From<$written> for $object {
            fn from(written: $written) -> Self {
                let meta = ObjectMeta {
                    name: Some(written.metadata.name.clone()),
                    namespace: Some(written.metadata.namespace.clone()),
                    resource_version: written.metadata.resource_version.clone(),
                    ..ObjectMeta::default()
                };
                Self { meta, written }
            }
        }

        impl Resource for $object {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> Cow<'_, str> {
                "".into()
            }

            fn version((): &()) -> Cow<'_, str> {
                "v1".into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.meta
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.meta
            }
        }
    };
}

/// A pod.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "WrittenPod")]
pub(in crate::cluster) struct WidePod {
    meta: ObjectMeta,
    written: WrittenPod,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WrittenPod {
    metadata: Meta,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: Option<String>,
    host_network: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<Address>>,
}

watched!(WidePod, WrittenPod, "Pod", "pods", NamespaceResourceScope);

impl Wide for WidePod {
    const KIND: HolderKind = HolderKind::Pod;

    fn uid(&self) -> Option<u128> {
        holder::uid(&self.written.metadata.uid)
    }

    fn into_holder(self) -> Option<Holder> {
        let uid = self.uid()?;
        let WrittenPod { metadata, spec, status } = self.written;
        if !is_name(&metadata.name) || !is_name(&metadata.namespace) {
            return None;
        }
        // One that is ending may lose its address before the API server is told.
        let is_there = metadata.deletion_timestamp.is_none()
            && !["Succeeded", "Failed"].contains(&status.phase.as_str());
        let several = status.pod_ips.iter().flatten().map(|address| address.ip.as_str());
        let addresses = if is_there && !spec.host_network {
            addresses(several.chain(status.pod_ip.as_deref()))
        } else {
            Vec::new()
        };
        let owners = metadata.owner_references.unwrap_or_default();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
        let owner = owner.filter(|owner| is_name(&owner.name) && is_name(&owner.kind));
        let pod = Pod {
            name: metadata.name.into(),
            owner: owner.map(|owner| Owner { kind: owner.kind.into(), name: owner.name.into() }),
            template_hash: metadata.labels.unwrap_or_default().template_hash.into(),
            ..Pod::default()
        };
        Some(Holder {
            kind: Self::KIND,
            uid,
            namespace: metadata.namespace,
            workload: workload(&pod),
            node: spec.node_name.unwrap_or_default(),
            zone: String::new(),
            addresses,
        })
    }
}

/// A Service.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "WrittenService")]
pub(in crate::cluster) struct WideService {
    meta: ObjectMeta,
    written: WrittenService,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WrittenService {
    metadata: Meta,
    spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
}

watched!(WideService, WrittenService, "Service", "services", NamespaceResourceScope);

impl Wide for WideService {
    const KIND: HolderKind = HolderKind::Service;

    fn uid(&self) -> Option<u128> {
        holder::uid(&self.written.metadata.uid)
    }

    fn into_holder(self) -> Option<Holder> {
        let uid = self.uid()?;
        let WrittenService { metadata, spec } = self.written;
        if !is_name(&metadata.name) || !is_name(&metadata.namespace) {
            return None;
        }
        // A headless one has `None` there, which is no address.
        let several = spec.cluster_ips.iter().flatten().map(String::as_str);
        Some(Holder {
            kind: Self::KIND,
            uid,
            namespace: metadata.namespace,
            workload: format!("service/{}", metadata.name),
            node: String::new(),
            zone: String::new(),
            addresses: addresses(several.chain(spec.cluster_ip.as_deref())),
        })
    }
}

/// A node.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "WrittenNode")]
pub(in crate::cluster) struct WideNode {
    meta: ObjectMeta,
    written: WrittenNode,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WrittenNode {
    metadata: Meta,
    status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    addresses: Option<Vec<NodeAddress>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeAddress {
    /// An IP address, or a name.
    address: String,
}

watched!(WideNode, WrittenNode, "Node", "nodes", ClusterResourceScope);

impl Wide for WideNode {
    const KIND: HolderKind = HolderKind::Node;

    fn uid(&self) -> Option<u128> {
        holder::uid(&self.written.metadata.uid)
    }

    fn into_holder(self) -> Option<Holder> {
        let uid = self.uid()?;
        let WrittenNode { metadata, status } = self.written;
        if !is_name(&metadata.name) {
            return None;
        }
        let zone = metadata.labels.unwrap_or_default().zone;
        let zone = Some(zone).filter(|zone| is_name(zone) && zone.len() <= MAX_ZONE_BYTES);
        let all = status.addresses.iter().flatten().map(|address| address.address.as_str());
        Some(Holder {
            kind: Self::KIND,
            uid,
            namespace: String::new(),
            workload: format!("node/{}", metadata.name),
            zone: zone.unwrap_or_default(),
            addresses: addresses(all),
            node: metadata.name,
        })
    }
}

fn addresses<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in texts.filter_map(|text| text.parse().ok()) {
        if !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
            addresses.push(address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const UID: &str = "cb2635a6-d721-417d-9ff1-46f740323043";

    fn pod() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "api-7d9f8b6c5-x2x4z", "namespace": "shop", "uid": UID,
                "resourceVersion": "853",
                "labels": {"app": "api", "pod-template-hash": "7d9f8b6c5"},
                "annotations": {"big": "x".repeat(10_000)},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "api-7d9f8b6c5", "uid": UID,
                    "controller": true}],
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "api", "env": [{"value": "hunter2"}]}]},
            "status": {"phase": "Running", "podIP": "10.1.0.7",
                "podIPs": [{"ip": "10.1.0.7"}, {"ip": "fd00::7"}]},
        })
    }

    fn read<T: Wide>(written: Value) -> Option<Holder> {
        let object: T = serde_json::from_value(written).unwrap();
        assert!(!format!("{object:?}").contains("hunter2"));
        object.into_holder()
    }

    #[test]
    fn a_pod_has_its_addresses_while_they_are_its_alone() {
        let holder = read::<WidePod>(pod()).unwrap();
        assert_eq!(
            (holder.namespace.as_str(), holder.workload.as_str()),
            ("shop", "deployment/api")
        );
        assert_eq!((holder.node.as_str(), holder.addresses.len()), ("n1", 2));
        for (path, value) in [
            ("/metadata/deletionTimestamp", json!("2026-11-25T11:00:00Z")),
            ("/spec/hostNetwork", json!(true)),
            ("/status/phase", json!("Succeeded")),
            ("/status/phase", json!("Failed")),
        ] {
            let mut written = pod();
            let (parent, name) = path.rsplit_once('/').unwrap();
            written.pointer_mut(parent).unwrap()[name] = value;
            assert_eq!(read::<WidePod>(written).unwrap().addresses, [] as [IpAddr; 0], "{path}");
        }
        let mut nameless = pod();
        nameless["metadata"]["name"] = json!("");
        assert_eq!(read::<WidePod>(nameless), None);
        assert_eq!(read::<WidePod>(json!({})), None);
    }

    #[test]
    fn a_service_has_its_cluster_addresses_and_a_headless_one_none() {
        let service = |spec: Value| {
            read::<WideService>(json!({
                "metadata": {"name": "api", "namespace": "shop", "uid": UID}, "spec": spec,
            }))
            .unwrap()
        };
        let holder =
            service(json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"]}));
        assert_eq!((holder.workload.as_str(), holder.addresses.len()), ("service/api", 2));
        let headless = service(json!({"clusterIP": "None", "clusterIPs": ["None"]}));
        assert_eq!(headless.addresses, [] as [IpAddr; 0]);
    }

    #[test]
    fn a_node_has_its_zone_and_its_addresses_but_not_its_names() {
        let holder = read::<WideNode>(json!({
            "metadata": {"name": "n1", "uid": UID, "labels": {"topology.kubernetes.io/zone": "a"}},
            "status": {"addresses": [
                {"type": "InternalIP", "address": "192.168.0.1"},
                {"type": "Hostname", "address": "n1"},
            ]},
        }))
        .unwrap();
        assert_eq!((holder.workload.as_str(), holder.node.as_str()), ("node/n1", "n1"));
        assert_eq!(holder.zone, "a");
        assert_eq!(holder.addresses, ["192.168.0.1".parse::<IpAddr>().unwrap()]);
    }
}
