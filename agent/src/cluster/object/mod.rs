//! A pod as the API server writes it: the few fields that are kept.
//!
//! Separate because the rest (specs, environments, managed fields: tens of
//! kilobytes a pod) must not even be built: what is not a field here is skipped
//! by the parser.

pub(super) mod wide;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use crate::event::ids::{ContainerId, PodUid};
use crate::event::pod::{Container, Owner, Pod};

/// A Deployment's ReplicaSets differ by this label.
const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";

/// Containers of one pod that are kept, at most: people write up to some tens.
const MAX_CONTAINERS: usize = 128;
/// Addresses of one pod that are kept: one of each family.
const MAX_IPS: usize = 2;
/// The longest name in Kubernetes, bytes.
const MAX_NAME_BYTES: usize = 253;

/// A pod, as it comes.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Written")]
pub(super) struct PodObject {
    /// What the watch itself asks for: name and version.
    meta: ObjectMeta,
    written: Written,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Written {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: String,
    namespace: String,
    uid: String,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Annotations,
    owner_references: Option<Vec<OwnerReference>>,
}

/// Two of the annotations; the others may be hundreds of kilobytes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Option<WrittenAnnotations>")]
struct Annotations {
    watch: Option<String>,
    hash: Option<String>,
}

#[derive(Deserialize)]
struct WrittenAnnotations {
    /// Pods opt in or out by it: `true` or `false`.
    #[serde(rename = "strata.dev/watch")]
    watch: Option<String>,
    /// The hash of a static pod's manifest, by the kubelet.
    #[serde(rename = "kubernetes.io/config.hash")]
    hash: Option<String>,
}

impl From<Option<WrittenAnnotations>> for Annotations {
    fn from(written: Option<WrittenAnnotations>) -> Self {
        written
            .map_or_else(Self::default, |written| Self { watch: written.watch, hash: written.hash })
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct OwnerReference {
    kind: String,
    name: String,
    controller: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    host_network: bool,
    init_containers: Option<Vec<Named>>,
    containers: Option<Vec<Named>>,
    ephemeral_containers: Option<Vec<Named>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<Address>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    ip: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    last_state: LastState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LastState {
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Terminated {
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

impl From<Written> for PodObject {
    fn from(written: Written) -> Self {
        let meta = ObjectMeta {
            name: Some(written.metadata.name.clone()),
            namespace: Some(written.metadata.namespace.clone()),
            resource_version: written.metadata.resource_version.clone(),
            ..ObjectMeta::default()
        };
        Self { meta, written }
    }
}

impl Resource for PodObject {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl PodObject {
    /// Its uid, if it is one.
    pub(super) fn uid(&self) -> Option<PodUid> {
        PodUid::parse(&self.written.metadata.uid)
    }

    /// What is kept of it, with those of its labels that are looked for; `None`
    /// if it is no pod of this node, or not one that could be told from others.
    pub(super) fn into_pod(self, node_name: &str, label_keys: &[String]) -> Option<Pod> {
        let Written { metadata, spec, status } = self.written;
        let is_here = spec.node_name.as_deref().is_none_or(|name| name == node_name);
        let uid = PodUid::parse(&metadata.uid).filter(|_| is_here)?;
        if !is_name(&metadata.name) || !is_name(&metadata.namespace) {
            return None;
        }
        let labels = metadata.labels.unwrap_or_default();
        let wanted = label_keys
            .iter()
            .filter_map(|key| Some((key.as_str().into(), labels.get(key)?.as_str().into())));
        let owners = metadata.owner_references.unwrap_or_default();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
        let owner = owner.filter(|owner| is_name(&owner.name) && is_name(&owner.kind));
        Some(Pod {
            config_hash: metadata.annotations.hash.as_deref().and_then(PodUid::parse),
            owner: owner.map(|owner| Owner { kind: owner.kind.into(), name: owner.name.into() }),
            template_hash: labels.get(TEMPLATE_HASH_LABEL).map_or("", String::as_str).into(),
            is_host_network: spec.host_network,
            ips: addresses(&status),
            containers: containers(&spec, &status),
            labels: wanted.collect(),
            is_opted_in: metadata.annotations.watch.as_deref().and_then(|text| text.parse().ok()),
            uid: Some(uid),
            namespace: metadata.namespace.into(),
            name: metadata.name.into(),
        })
    }
}

/// Whether a text can be a name in Kubernetes; labels of metrics take others
/// too, but what is no name tells of garbage.
fn is_name(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_fit)
}

fn addresses(status: &Status) -> Vec<IpAddr> {
    let several = status.pod_ips.iter().flatten().map(|address| address.ip.as_str());
    let mut addresses: Vec<IpAddr> = Vec::new();
    for text in several.chain(status.pod_ip.as_deref()) {
        if let Ok(address) = text.parse()
            && !addresses.contains(&address)
            && addresses.len() < MAX_IPS
        {
            addresses.push(address);
        }
    }
    addresses
}

fn containers(spec: &Spec, status: &Status) -> Vec<Container> {
    let named = [&spec.init_containers, &spec.containers, &spec.ephemeral_containers];
    let statuses = [
        &status.init_container_statuses,
        &status.container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let statuses: Vec<&ContainerStatus> = statuses.into_iter().flatten().flatten().collect();
    let names = named.into_iter().flatten().flatten().map(|named| named.name.as_str());
    let names = names.filter(|name| is_name(name)).take(MAX_CONTAINERS);
    let container = |name: &str| {
        let status = statuses.iter().find(|status| status.name == name);
        let ids = status.into_iter().flat_map(|status| {
            let before = status.last_state.terminated.as_ref();
            let before = before.and_then(|terminated| terminated.container_id.as_deref());
            status.container_id.as_deref().into_iter().chain(before)
        });
        let mut ids: Vec<ContainerId> = ids.filter_map(container_id).collect();
        ids.dedup();
        Container { name: name.into(), ids }
    };
    names.map(container).collect()
}

/// The id in `containerd://<id>`.
fn container_id(text: &str) -> Option<ContainerId> {
    ContainerId::parse(text.rsplit_once("://")?.1)
}

#[cfg(test)]
mod tests;
