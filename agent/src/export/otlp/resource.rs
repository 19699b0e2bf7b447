//! Who served a request, as an OTLP resource. Pure.
//!
//! Separate because these names are OpenTelemetry's: users find a workload by
//! them beside what its own SDK sends.

use opentelemetry_proto::tonic::resource::v1::Resource;

use super::attributes::Attributes;
use crate::event::ids::PodUid;
use crate::spans::Origin;

/// What a service is called of which nothing is known.
const UNKNOWN_SERVICE: &str = "unknown_service";
/// Kinds of a workload that have an attribute for their name.
const KINDS: [&str; 6] = ["deployment", "replicaset", "statefulset", "daemonset", "job", "cronjob"];

/// The resource of a workload. `node` is the Kubernetes node, empty for none.
pub(super) fn resource(origin: &Origin, node: &str) -> Resource {
    let mut to = Attributes::default();
    let nothing = ("", "", "", "");
    let (namespace, pod, container, workload) =
        origin.identity.as_ref().map_or(nothing, |identity| {
            (&*identity.namespace, &*identity.pod, &*identity.container, &*identity.workload)
        });
    let (kind, name) = workload.split_once('/').unwrap_or_default();
    to.text("service.name", service_name(kind, name, container));
    to.text("service.namespace", namespace);
    if !pod.is_empty() {
        to.text("service.instance.id", &format!("{namespace}.{pod}.{container}"));
        to.text("k8s.node.name", node);
        to.text("k8s.namespace.name", namespace);
        to.text("k8s.pod.name", pod);
        to.text("k8s.container.name", container);
        if KINDS.contains(&kind) {
            to.text(&format!("k8s.{kind}.name"), name);
        }
    }
    if let Some(info) = &origin.container {
        to.text("k8s.pod.uid", info.pod_uid.as_ref().map_or("", PodUid::as_str));
        to.text("container.id", info.container_id.as_str());
        to.text("container.runtime", info.runtime_label());
        if pod.is_empty() && !info.container_id.as_str().starts_with(container) {
            to.text("container.name", container);
        }
    }
    if kind == "process" {
        to.text("process.executable.name", name);
    }
    to.text("telemetry.distro.name", "strata");
    to.text("telemetry.distro.version", env!("CARGO_PKG_VERSION"));
    Resource { attributes: to.into_vec(), ..Resource::default() }
}

/// The owner's name, else the container's, else the program's. A pod whose name
/// is not known has none of them: a uid is no name.
fn service_name<'a>(kind: &str, name: &'a str, container: &'a str) -> &'a str {
    match kind {
        "" => UNKNOWN_SERVICE,
        "systemd" => name.strip_suffix(".service").unwrap_or(name),
        "process" if !container.is_empty() => container,
        "pod" if is_uid(name) => UNKNOWN_SERVICE,
        _ => name,
    }
}

fn is_uid(name: &str) -> bool {
    PodUid::parse(name).is_some()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use super::*;
    use crate::attribution::cgroup_path::parse;
    use crate::attribution::identity::{ContainerInfo, Identity};

    const ID: &str = "e283478ec142b8a343262523dcfbef316b8f0244ac0be4cbe68e7bba2fdd9035";
    const UID: &str = "cb2635a6-d721-417d-9ff1-46f740323043";

    fn said(origin: &Origin) -> Vec<String> {
        let attributes = resource(origin, "node-1").attributes.into_iter();
        let texts = attributes.map(|one| match one.value.and_then(|any| any.value) {
            Some(Value::StringValue(text)) => format!("{}={text}", one.key),
            other => panic!("{other:?}"),
        });
        texts.filter(|text| !text.starts_with("telemetry.")).collect()
    }

    fn named(namespace: &str, pod: &str, container: &str, workload: &str) -> Identity {
        let [namespace, pod, container, workload] =
            [namespace, pod, container, workload].map(Into::into);
        Identity { namespace, pod, container, workload }
    }

    #[test]
    fn a_pod_is_called_as_its_deployment() {
        let owner = parse(&format!("/kubepods/burstable/pod{UID}/{ID}"));
        let identity = Some(named("shop", "api-7f-x", "api", "deployment/api"));
        let origin = Origin { identity, container: ContainerInfo::of(&owner) };
        let wanted = [
            "service.name=api",
            "service.namespace=shop",
            "service.instance.id=shop.api-7f-x.api",
            "k8s.node.name=node-1",
            "k8s.namespace.name=shop",
            "k8s.pod.name=api-7f-x",
            "k8s.container.name=api",
            "k8s.deployment.name=api",
            &format!("k8s.pod.uid={UID}"),
            &format!("container.id={ID}"),
        ];
        assert_eq!(said(&origin), wanted);
    }

    #[test]
    fn a_pod_whose_name_is_not_known_yet_is_known_by_its_ids() {
        let owner = parse(&format!("/kubepods/burstable/pod{UID}/{ID}"));
        let ids = [format!("k8s.pod.uid={UID}"), format!("container.id={ID}")];
        let wanted = [vec!["service.name=unknown_service".to_owned()], ids.to_vec()].concat();
        let container = ContainerInfo::of(&owner);
        assert_eq!(said(&Origin { identity: None, container: container.clone() }), wanted);
        let identity = Some(Identity::without_metadata(&owner, "api", None));
        assert_eq!(said(&Origin { identity, container }), wanted);
    }

    #[test]
    fn outside_kubernetes_the_container_the_unit_or_the_program_names_the_service() {
        let of = |path: &str, name| {
            let owner = parse(path);
            let identity = Some(Identity::without_metadata(&owner, "goapi", name));
            said(&Origin { identity, container: ContainerInfo::of(&owner) })
        };
        let program = ["service.name=goapi", "process.executable.name=goapi"];
        assert_eq!(of("/", None), program);
        assert_eq!(of("/system.slice/nginx.service", None), ["service.name=nginx"]);
        let said = of(&format!("/docker/{ID}"), Some("cache"));
        assert_eq!(said[0], "service.name=cache");
        assert!(said.contains(&"container.name=cache".to_owned()), "{said:?}");
        assert_eq!(super::resource(&Origin::default(), "").attributes.len(), 3);
    }
}
