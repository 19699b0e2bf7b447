//! Paths of every runtime and driver, as they are on machines.

use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{CgroupOwner, Runtime, parse};
use crate::event::ids::{ContainerId, PodUid};

const ID: &str = "e283478ec142b8a343262523dcfbef316b8f0244ac0be4cbe68e7bba2fdd9035";
const OUTER: &str = "0d8f1b6a7c2e4f5061728394a5b6c7d8e9f00112233445566778899aabbccdde";
const UID: &str = "cb2635a6-d721-417d-9ff1-46f740323043";
const HASH: &str = "8d2c5f2e6d0a4b1f9e3c7a5b1d4f6e80";

/// `{id}`, `{outer}`, `{uid}`, `{uid_}` and `{hash}` stand for the above.
fn check(
    template: &str,
    runtime: Option<Runtime>,
    container: Option<&str>,
    pod: Option<&str>,
    unit: Option<&str>,
) {
    let path = template
        .replace("{id}", ID)
        .replace("{outer}", OUTER)
        .replace("{uid}", UID)
        .replace("{uid_}", &UID.replace('-', "_"))
        .replace("{hash}", HASH);
    let expected = CgroupOwner {
        container_id: container.map(|id| ContainerId::parse(id).unwrap()),
        runtime,
        pod_uid: pod.map(|uid| PodUid::parse(uid).unwrap()),
        systemd_unit: unit.map(str::to_owned),
    };
    assert_eq!(parse(&path), expected, "{path}");
}

#[test]
fn containers_of_pods_are_known_in_every_spelling() {
    use Runtime::{Containerd, CriO, Docker};
    let table = [
        // systemd driver: each quality of service, each runtime.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/cri-containerd-{id}.scope",
            Some(Containerd),
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid_}.slice/crio-{id}.scope",
            Some(CriO),
        ),
        ("/kubepods.slice/kubepods-pod{uid_}.slice/docker-{id}.scope", Some(Docker)),
        ("/kubepods.slice/kubepods-pod{uid_}.slice/isulad-{id}.scope", None),
        // cgroupfs driver: only CRI-O says who it is.
        ("/kubepods/burstable/pod{uid}/{id}", None),
        ("/kubepods/besteffort/pod{uid}/{id}", None),
        ("/kubepods/pod{uid}/{id}", None),
        ("/kubepods/burstable/pod{uid}/crio-{id}", Some(CriO)),
        // systemd names under the cgroupfs driver.
        ("/kubepods-burstable-pod{uid_}.slice:cri-containerd:{id}", Some(Containerd)),
        (
            "/system.slice/containerd.service/kubepods-besteffort-pod{uid_}.slice:cri-containerd:{id}",
            Some(Containerd),
        ),
        ("/kubepods-pod{uid_}.slice:crio:{id}", Some(CriO)),
        // A kubelet with a root of its own.
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{uid_}.slice/cri-containerd-{id}.scope",
            Some(Containerd),
        ),
        ("/node2/kubepods/burstable/pod{uid}/{id}", None),
        ("/../../../kubepods/burstable/pod{uid}/{id}", None),
        ("kubepods/burstable/pod{uid}/{id}/", None),
        // A node that is a container, and one in a pod.
        ("/docker/{outer}/kubelet/kubepods/burstable/pod{uid}/{id}", None),
        (
            "/system.slice/docker-{outer}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{uid_}.slice/cri-containerd-{id}.scope",
            Some(Containerd),
        ),
        (
            "/kubepods/pod694be739-9752-4b7f-8dcc-59b9979884a5/{outer}/docker/{outer}/kubelet/kubepods/pod{uid}/{id}",
            None,
        ),
        // Docker in a pod: the pod is still around it.
        ("/kubepods/burstable/pod{uid}/{outer}/docker/{id}", Some(Docker)),
        // Nested in a container.
        ("/kubepods/burstable/pod{uid}/{id}/init.scope", None),
        ("/kubepods.slice/kubepods-pod{uid_}.slice/crio-{id}.scope/container", Some(CriO)),
        (
            "/kubepods.slice/kubepods-pod{uid_}.slice/cri-containerd-{id}.scope/system.slice/nginx.service",
            Some(Containerd),
        ),
    ];
    for (path, runtime) in table {
        check(path, runtime, Some(ID), Some(UID), None);
    }
}

#[test]
fn static_pods_are_known_by_the_hash_of_their_manifest() {
    check("/kubepods/burstable/pod{hash}/{id}", None, Some(ID), Some(HASH), None);
    let path = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice/cri-containerd-{id}.scope";
    check(path, Some(Runtime::Containerd), Some(ID), Some(HASH), None);
}

#[test]
fn a_pods_own_cgroup_and_a_monitor_in_it_belong_to_no_container() {
    for path in [
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice",
        "/kubepods/besteffort/pod{uid}",
        "/kubepods.slice/kubepods-pod{uid_}.slice/crio-conmon-{id}.scope",
        "/kubepods/burstable/pod{uid}/crio-conmon-{id}",
        "/kubepods-pod{uid_}.slice:crio-conmon:{id}",
        "/docker/{outer}/kubelet/kubepods/burstable/pod{uid}",
        "/docker/{outer}/kubelet/kubepods/burstable/pod{uid}/crio-conmon-{id}",
    ] {
        check(path, None, None, Some(UID), None);
    }
}

#[test]
fn containers_outside_kubernetes_are_known() {
    use Runtime::{Containerd, Docker, Podman};
    for (path, runtime) in [
        ("/docker/{id}", Some(Docker)),
        ("/system.slice/docker-{id}.scope", Some(Docker)),
        ("/system.slice/docker-{id}.scope/init.scope", Some(Docker)),
        ("/docker/{outer}/docker/{id}", Some(Docker)),
        ("/system.slice:docker:{id}", Some(Docker)),
        ("/system.slice/nerdctl-{id}.scope", Some(Containerd)),
        ("/machine.slice/libpod-{id}.scope/container", Some(Podman)),
        ("/libpod_parent/libpod-{id}", Some(Podman)),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope/container",
            Some(Podman),
        ),
        ("/user.slice/user-1000.slice/user@1000.service/libpod-payload-{id}", Some(Podman)),
        ("/default/{id}", None),
        ("/ecs/cluster/task/{id}", None),
    ] {
        check(path, runtime, Some(ID), None, None);
    }
    check(
        "/system.slice/web.service/libpod-payload-{id}",
        Some(Podman),
        Some(ID),
        None,
        Some("web.service"),
    );
}

#[test]
fn host_units_are_services_and_scopes_but_not_slices() {
    for (path, unit) in [
        ("/system.slice/nginx.service", Some("nginx.service")),
        ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
        ("/system.slice/nginx.service/workers/3", Some("nginx.service")),
        ("/system.slice/a\\x2db.service", Some("a\\x2db.service")),
        ("/system.slice/_memory.service", Some("memory.service")),
        ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/api.service",
            Some("api.service"),
        ),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", Some("init.scope")),
        ("/machine.slice/libpod-conmon-{id}.scope", Some("libpod-conmon-{id}.scope")),
        ("/init.scope", Some("init.scope")),
        ("/user.slice/user-1000.slice", None),
        ("/process_api/80ba33e88d5c63f018a8dac83cc75679", None),
        ("/lxc/web", None),
        ("/", None),
        ("", None),
    ] {
        check(path, None, None, None, unit.map(|unit| unit.replace("{id}", ID)).as_deref());
    }
}

#[test]
fn what_resembles_a_container_or_a_pod_is_not_one() {
    for path in [
        "/kubepods/burstable/podman/{id}0",
        "/docker/E283478EC142B8A343262523DCFBEF316B8F0244AC0BE4CBE68E7BBA2FDD9035",
        "/kubepods.slice/kubepods-podnot_a_uid.slice",
        "/machine.slice/machine-libpod_pod_{id}.slice",
        "/system.slice/docker-{id}.mount",
        "/docker-{id}-x",
        "/:conmon:{id}",
        "/kubepods.slice/kubepods-burstable.slice",
    ] {
        check(path, None, None, None, None);
    }
}

/// Drivers of a kubelet and of its runtime.
#[derive(Clone, Copy, Debug)]
enum Driver {
    Cgroupfs,
    Systemd,
    Colon,
}

/// How a path of a pod's container is spelled, and what must come back.
fn pod_path() -> impl Strategy<Value = (String, CgroupOwner)> {
    let driver = prop_oneof![Just(Driver::Cgroupfs), Just(Driver::Systemd), Just(Driver::Colon)];
    let runtime =
        prop_oneof![Just(Runtime::Containerd), Just(Runtime::CriO), Just(Runtime::Docker)];
    let uid =
        prop_oneof!["[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[0-9a-f]{32}"];
    let class = prop_oneof![Just(""), Just("burstable"), Just("besteffort")];
    (driver, runtime, uid, "[0-9a-f]{64}", class).prop_map(|(driver, runtime, uid, id, class)| {
        let escaped = uid.replace('-', "_");
        let dash_class = if class.is_empty() { String::new() } else { format!("-{class}") };
        let slice = format!("kubepods{dash_class}-pod{escaped}.slice");
        let prefix = match runtime {
            Runtime::Containerd => "cri-containerd",
            Runtime::CriO => "crio",
            Runtime::Docker | Runtime::Podman => "docker",
        };
        let (path, told) = match driver {
            Driver::Cgroupfs if runtime == Runtime::CriO => {
                (format!("/kubepods/{class}/pod{uid}/crio-{id}"), Some(runtime))
            }
            Driver::Cgroupfs => (format!("/kubepods/{class}/pod{uid}/{id}"), None),
            Driver::Systemd => (
                format!("/kubepods.slice/kubepods{dash_class}.slice/{slice}/{prefix}-{id}.scope"),
                Some(runtime),
            ),
            Driver::Colon => (format!("/{slice}:{prefix}:{id}"), Some(runtime)),
        };
        let owner = CgroupOwner {
            container_id: ContainerId::parse(&id),
            runtime: told,
            pod_uid: PodUid::parse(&uid),
            systemd_unit: None,
        };
        (path, owner)
    })
}

/// Whatever may stand around a pod's cgroup: roots, units, other containers.
fn prefix() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        "[a-zA-Z0-9_.@:-]{1,40}",
        "[0-9a-f]{64}",
        "docker-[0-9a-f]{64}\\.scope",
        "[a-z]{1,8}\\.(service|slice|scope)",
        Just("..".to_owned()),
        Just("docker".to_owned()),
        Just("kubepods".to_owned()),
        Just(format!("pod{HASH}")),
        "\\PC{0,12}",
    ];
    proptest::collection::vec(component, 0..5).prop_map(|parts| format!("/{}", parts.join("/")))
}

/// Whatever a container may make inside of its own cgroup, short of what looks
/// like another container or pod.
fn suffix() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        "[a-z]{1,8}(@[0-9]{1,3})?\\.(service|slice|scope)",
        Just("init.scope".to_owned()),
        Just("container".to_owned()),
        "[0-9a-f]{1,31}",
        "[\\PC&&[^/]]{0,20}",
    ];
    proptest::collection::vec(component, 0..5).prop_map(|parts| format!("/{}", parts.join("/")))
}

proptest! {
    #[test]
    fn any_text_is_read_and_what_is_found_stands_in_it(path in "\\PC*") {
        let owner = parse(&path);
        prop_assert!(owner.container_id.is_none_or(|id| path.contains(id.as_str())));
        prop_assert!(owner.systemd_unit.is_none_or(|unit| path.contains(&unit)));
    }

    #[test]
    fn a_cut_path_gives_no_wrong_container((path, owner) in pod_path(), length in 0..300_usize) {
        let cut = parse(path.get(..length).unwrap_or(&path));
        prop_assert!(cut.container_id.is_none() || cut.container_id == owner.container_id);
        prop_assert!(cut.pod_uid.is_none() || cut.pod_uid == owner.pod_uid);
    }

    #[test]
    fn what_went_into_a_path_comes_out_whatever_stands_around_it(
        (path, owner) in pod_path(), prefix in prefix(), suffix in suffix(),
    ) {
        prop_assert_eq!(parse(&path), owner.clone());
        prop_assert_eq!(parse(&format!("{prefix}{path}{suffix}")), owner);
    }
}
