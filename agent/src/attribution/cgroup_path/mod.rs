//! Whose cgroup it is, from its path alone.
//!
//! Separate and pure because the path is all that there is when a cgroup is
//! made, and because every runtime and driver spells it differently: the
//! spellings stand in one table here and in one table of tests.
//!
//! A path is read from its innermost component outwards and is never anchored
//! at its root: a kubelet's own root may be nested (`/kubelet.slice/...`,
//! `/node2/kubepods/...`), a node may itself be a container (kind), and inside
//! a container anything may follow (`.../init.scope`).
//!
//! Containers whose ids are not 64 hexadecimal digits (LXC, hand-named ones)
//! are not recognised: nothing in a path would tell them from other cgroups.

use crate::event::ids::{ContainerId, PodUid};

/// What runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// containerd, by its Kubernetes plug-in or nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

impl Runtime {
    /// Its name as Kubernetes and OpenTelemetry spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// Who owns a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CgroupOwner {
    /// The innermost container, if any.
    pub container_id: Option<ContainerId>,
    /// What runs it, where the path says so; the cgroupfs driver does not.
    pub runtime: Option<Runtime>,
    /// The pod around it, or whose own cgroup it is.
    pub pod_uid: Option<PodUid>,
    /// The host's systemd service or scope. Never a unit of a systemd inside a
    /// container, and none in a pod. A container has one only if its cgroup
    /// stands directly in a service's (podman's `--cgroups=split`).
    pub systemd_unit: Option<String>,
}

/// Prefixes before `-<id>` (or between colons), and who writes them.
const PREFIXES: [(&str, Runtime); 6] = [
    ("cri-containerd", Runtime::Containerd),
    ("nerdctl", Runtime::Containerd),
    ("crio", Runtime::CriO),
    ("docker", Runtime::Docker),
    ("libpod", Runtime::Podman),
    ("libpod-payload", Runtime::Podman),
];

/// What one component of a path is.
enum Component {
    /// A container, with the pod where the same component names it (the colon
    /// form does).
    Container(ContainerId, Option<Runtime>, Option<PodUid>),
    /// A pod's own cgroup.
    Pod(PodUid),
    /// Anything else.
    Other,
}

/// Reads `path`, as `/proc/<pid>/cgroup` or a cgroup event gives it. Relative
/// and cut paths are fine: what cannot be recognised is `None`.
#[must_use]
pub fn parse(path: &str) -> CgroupOwner {
    // The components that are still outside of what has been looked at.
    let mut outer = path;
    while let Some((parent, name)) = split_last(outer) {
        outer = parent;
        let docker_parent = split_last(parent).is_some_and(|(_, name)| name == "docker");
        match component(name, docker_parent) {
            Component::Container(id, runtime, own_pod) => {
                let pod_uid = own_pod.or_else(|| enclosing_pod(outer));
                let systemd_unit = if pod_uid.is_none() { enclosing_service(outer) } else { None };
                return CgroupOwner { container_id: Some(id), runtime, pod_uid, systemd_unit };
            }
            Component::Pod(uid) => {
                return CgroupOwner { pod_uid: Some(uid), ..CgroupOwner::default() };
            }
            Component::Other => {}
        }
    }
    CgroupOwner { systemd_unit: innermost_unit(path), ..CgroupOwner::default() }
}

/// Splits off the last component that is not empty.
fn split_last(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return None;
    }
    Some(path.rsplit_once('/').unwrap_or(("", path)))
}

fn component(name: &str, docker_parent: bool) -> Component {
    if let Some(id) = ContainerId::parse(name) {
        return Component::Container(id, docker_parent.then_some(Runtime::Docker), None);
    }
    if let Some((slice, prefix, id)) = split_colons(name)
        && let Some(id) = ContainerId::parse(id)
    {
        return match pod_uid(slice) {
            Some(uid) if is_monitor(prefix) => Component::Pod(uid),
            None if is_monitor(prefix) => Component::Other,
            uid => Component::Container(id, runtime(prefix), uid),
        };
    }
    if let Some(uid) = pod_uid(name) {
        return Component::Pod(uid);
    }
    let (stem, is_scope) = name.strip_suffix(".scope").map_or((name, false), |stem| (stem, true));
    if let Some((prefix, id)) = stem.rsplit_once('-')
        && let Some(id) = ContainerId::parse(id)
    {
        let runtime = runtime(prefix);
        // A scope by a runtime that is not known is a container all the same.
        if runtime.is_some() || (is_scope && !is_monitor(prefix)) {
            return Component::Container(id, runtime, None);
        }
    }
    Component::Other
}

/// conmon watches a container from a cgroup that bears its id, and is not it.
fn is_monitor(prefix: &str) -> bool {
    prefix.ends_with("conmon")
}

/// `<slice>:<prefix>:<id>`: what containerd and runc make of a systemd name
/// when they are not told to use systemd.
fn split_colons(name: &str) -> Option<(&str, &str, &str)> {
    let (rest, id) = name.rsplit_once(':')?;
    let (slice, prefix) = rest.rsplit_once(':')?;
    Some((slice, prefix, id))
}

fn runtime(prefix: &str) -> Option<Runtime> {
    PREFIXES.iter().find(|(known, _)| *known == prefix).map(|(_, runtime)| *runtime)
}

/// The uid in `pod<uid>` or `...-pod<uid>.slice`.
fn pod_uid(name: &str) -> Option<PodUid> {
    match name.strip_suffix(".slice") {
        Some(slice) => PodUid::parse(slice.rsplit_once("-pod")?.1),
        None => PodUid::parse(name.strip_prefix("pod")?),
    }
}

fn enclosing_pod(mut path: &str) -> Option<PodUid> {
    while let Some((parent, name)) = split_last(path) {
        if let Some(uid) = pod_uid(name) {
            return Some(uid);
        }
        path = parent;
    }
    None
}

/// The service whose cgroup holds a container's directly. The manager of a
/// user's services is not taken: it holds whatever the user runs.
fn enclosing_service(path: &str) -> Option<String> {
    let (_, name) = split_last(path)?;
    (name.ends_with(".service") && !name.starts_with("user@")).then(|| unescape(name))
}

/// The innermost service or scope. Slices hold units, not processes.
fn innermost_unit(mut path: &str) -> Option<String> {
    while let Some((parent, name)) = split_last(path) {
        if name.ends_with(".service") || name.ends_with(".scope") {
            return Some(unescape(name));
        }
        path = parent;
    }
    None
}

/// Takes away the `_` that systemd puts before unit names that would clash
/// with the kernel's own files (`_memory.service`).
fn unescape(name: &str) -> String {
    name.strip_prefix('_').unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests;
