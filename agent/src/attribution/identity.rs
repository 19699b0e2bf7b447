//! The labels that users see on every series of a workload.
//!
//! Separate and pure because these four strings are a promise: what they are
//! where no pod's metadata is known is decided here and nowhere else.

use std::sync::Arc;

use crate::attribution::cgroup_path::{CgroupOwner, Runtime};
use crate::event::ids::{ContainerId, PodUid};

/// Stands for the program of a process that ended before it could be read.
const UNKNOWN_EXECUTABLE: &str = "unknown";

/// Identity labels. Cheap to clone; equal identities are one service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Kubernetes namespace; empty outside Kubernetes or while not known.
    pub namespace: Arc<str>,
    /// Pod; empty outside Kubernetes or while not known.
    pub pod: Arc<str>,
    /// Container's name or the first 12 digits of its id; empty for none.
    pub container: Arc<str>,
    /// `deployment/api`, `pod/<uid>`, `systemd/<unit>`, `process/<executable>`.
    pub workload: Arc<str>,
}

impl Identity {
    /// The identity of processes in a cgroup for which nothing is known from
    /// Kubernetes.
    ///
    /// `executable` is the base name of the program; empty if it could not be
    /// read. `container_name` is the name that the runtime knows the container
    /// by, where it was asked; in a pod it is not used, since there the name
    /// comes with the pod's metadata or not at all.
    #[must_use]
    pub fn without_metadata(
        owner: &CgroupOwner,
        executable: &str,
        container_name: Option<&str>,
    ) -> Self {
        let short_id = owner.container_id.as_ref().map_or("", ContainerId::short);
        let (container, workload) = match &owner.pod_uid {
            Some(uid) => (short_id, format!("pod/{uid}")),
            None => {
                let name =
                    container_name.filter(|name| owner.container_id.is_some() && !name.is_empty());
                (name.unwrap_or(short_id), host_workload(owner, executable))
            }
        };
        let nothing: Arc<str> = Arc::from("");
        Self {
            namespace: Arc::clone(&nothing),
            pod: nothing,
            container: container.into(),
            workload: workload.into(),
        }
    }
}

fn host_workload(owner: &CgroupOwner, executable: &str) -> String {
    match &owner.systemd_unit {
        Some(unit) if names_a_workload(unit) => format!("systemd/{unit}"),
        _ if executable.is_empty() => format!("process/{UNKNOWN_EXECUTABLE}"),
        _ => format!("process/{executable}"),
    }
}

/// A login session and the manager of a user's services hold whatever the user
/// starts: their number says nothing of the program, and is new at each login.
fn names_a_workload(unit: &str) -> bool {
    let is_session = unit.starts_with("session-") && unit.ends_with(".scope");
    let is_user_manager = unit.starts_with("user@") && unit.ends_with(".service");
    !is_session && !is_user_manager
}

/// What `strata_container_info` says of a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerInfo {
    /// Its full id.
    pub container_id: ContainerId,
    /// What runs it, where the path says so.
    pub runtime: Option<Runtime>,
    /// The pod that it is in.
    pub pod_uid: Option<PodUid>,
}

impl ContainerInfo {
    /// What is known of the owner's container; `None` if it has none.
    #[must_use]
    pub fn of(owner: &CgroupOwner) -> Option<Self> {
        Some(Self {
            container_id: owner.container_id.clone()?,
            runtime: owner.runtime,
            pod_uid: owner.pod_uid.clone(),
        })
    }

    /// The runtime's name as a label value; empty if not known.
    #[must_use]
    pub fn runtime_label(&self) -> &'static str {
        self.runtime.map_or("", Runtime::as_str)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::{ContainerInfo, Identity};
    use crate::attribution::cgroup_path::{Runtime, parse};

    const ID: &str = "e283478ec142b8a343262523dcfbef316b8f0244ac0be4cbe68e7bba2fdd9035";
    const UID: &str = "cb2635a6-d721-417d-9ff1-46f740323043";

    fn check(path: &str, executable: &str, name: Option<&str>, container: &str, workload: &str) {
        let identity = Identity::without_metadata(&parse(path), executable, name);
        let labels = [&identity.namespace, &identity.pod, &identity.container, &identity.workload];
        assert_eq!(labels.map(|label| &**label), ["", "", container, workload], "{path}");
    }

    #[test]
    fn outside_kubernetes_the_unit_or_else_the_program_names_the_workload() {
        check("/system.slice/nginx.service", "nginx", None, "", "systemd/nginx.service");
        check(
            "/system.slice/system-api.slice/api@2.service",
            "api",
            None,
            "",
            "systemd/api@2.service",
        );
        check("/process_api/80ba33e8", "api", None, "", "process/api");
        check("/", "api", None, "", "process/api");
        check("/", "", None, "", "process/unknown");
        check("/user.slice/user-0.slice/session-3.scope", "api", None, "", "process/api");
        check("/user.slice/user-1000.slice/user@1000.service", "api", None, "", "process/api");
        check(
            "/user.slice/user-1000.slice/user@1000.service/app.slice/api.scope",
            "api",
            None,
            "",
            "systemd/api.scope",
        );
    }

    #[test]
    fn a_container_outside_kubernetes_has_its_name_or_else_its_short_id() {
        let path = format!("/docker/{ID}");
        check(&path, "redis-server", Some("cache"), "cache", "process/redis-server");
        check(&path, "redis-server", Some(""), "e283478ec142", "process/redis-server");
        check(&path, "redis-server", None, "e283478ec142", "process/redis-server");
        check("/system.slice/x.service", "x", Some("stray"), "", "systemd/x.service");
        check(
            &format!("/system.slice/web.service/libpod-payload-{ID}"),
            "nginx",
            None,
            "e283478ec142",
            "systemd/web.service",
        );
    }

    #[test]
    fn in_a_pod_without_metadata_the_uid_names_the_workload() {
        let path = format!("/kubepods/burstable/pod{UID}/{ID}");
        check(&path, "api", None, "e283478ec142", &format!("pod/{UID}"));
        check(&path, "api", Some("k8s_api_api-7f_default"), "e283478ec142", &format!("pod/{UID}"));
        check(&format!("/kubepods/burstable/pod{UID}"), "pause", None, "", &format!("pod/{UID}"));
    }

    #[test]
    fn container_info_is_there_for_containers_only() {
        let path = format!(
            "/kubepods.slice/kubepods-pod{}.slice/cri-containerd-{ID}.scope",
            UID.replace('-', "_")
        );
        let info = ContainerInfo::of(&parse(&path)).unwrap();
        assert_eq!(info.container_id.as_str(), ID);
        assert_eq!(info.runtime, Some(Runtime::Containerd));
        assert_eq!(info.runtime_label(), "containerd");
        assert_eq!(info.pod_uid.unwrap().as_str(), UID);
        assert_eq!(
            ContainerInfo::of(&parse(&format!("/default/{ID}"))).unwrap().runtime_label(),
            ""
        );
        assert_eq!(ContainerInfo::of(&parse("/system.slice/nginx.service")), None);
    }

    proptest! {
        #[test]
        fn every_process_has_a_workload_of_a_known_kind(path in "\\PC{0,80}", executable in "\\PC{0,20}") {
            let identity = Identity::without_metadata(&parse(&path), &executable, None);
            let (kind, name) = identity.workload.split_once('/').unwrap();
            prop_assert!(["pod", "systemd", "process"].contains(&kind));
            prop_assert!(!name.is_empty());
            prop_assert_eq!(&*identity.namespace, "");
        }
    }
}
