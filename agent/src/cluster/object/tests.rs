//! What is kept of a pod, whatever stands in it.

use proptest::prelude::{Strategy, any, prop_assert, proptest};
use serde_json::{Value, json};

use super::*;

const UID: &str = "cb2635a6-d721-417d-9ff1-46f740323043";

fn id(digit: &str) -> String {
    digit.repeat(64)
}

/// A pod as an API server writes it, with much that is not kept.
fn written() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "api-7d9f8b6c5-x2x4z", "namespace": "shop", "uid": UID,
            "resourceVersion": "853", "generateName": "api-7d9f8b6c5-",
            "creationTimestamp": "2026-11-25T11:00:00Z",
            "labels": {"app": "api", "pod-template-hash": "7d9f8b6c5", "secret": "s"},
            "annotations": {"strata.dev/watch": "true", "big": "x".repeat(10_000)},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Other", "name": "not-the-controller", "uid": UID},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api-7d9f8b6c5", "uid": UID,
                 "controller": true, "blockOwnerDeletion": true},
            ],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {"f:x": {}}}}],
        },
        "spec": {
            "nodeName": "n1", "hostNetwork": true,
            "initContainers": [{"name": "migrate"}, {"name": "proxy", "restartPolicy": "Always"}],
            "containers": [{"name": "api", "env": [{"name": "PASSWORD", "value": "hunter2"}]}],
            "ephemeralContainers": [{"name": "debugger"}],
        },
        "status": {
            "phase": "Running", "podIP": "10.244.1.7",
            "podIPs": [{"ip": "10.244.1.7"}, {"ip": "fd00::7"}, {"ip": "no address"}],
            "initContainerStatuses": [
                {"name": "migrate", "containerID": format!("containerd://{}", id("a")), "state": {}},
                {"name": "proxy", "containerID": format!("containerd://{}", id("b"))},
            ],
            "containerStatuses": [{
                "name": "api", "containerID": format!("cri-o://{}", id("c")), "restartCount": 1,
                "lastState": {"terminated": {"containerID": format!("cri-o://{}", id("d")), "exitCode": 1}},
            }],
            "ephemeralContainerStatuses": [{"name": "debugger", "containerID": "", "lastState": {}}],
        },
    })
}

fn read(written: Value) -> Option<Pod> {
    let object: PodObject = serde_json::from_value(written).unwrap();
    object.into_pod("n1", &["app".to_owned(), "absent".to_owned()])
}

#[test]
fn a_pod_is_read_with_its_containers_of_every_kind() {
    let pod = read(written()).unwrap();
    assert_eq!((&*pod.namespace, &*pod.name), ("shop", "api-7d9f8b6c5-x2x4z"));
    assert_eq!(pod.uid, PodUid::parse(UID));
    let owner = pod.owner.unwrap();
    assert_eq!((&*owner.kind, &*owner.name), ("ReplicaSet", "api-7d9f8b6c5"));
    assert_eq!(&*pod.template_hash, "7d9f8b6c5");
    assert!(pod.is_host_network && pod.is_opted_in == Some(true));
    assert_eq!(pod.ips, ["10.244.1.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
    let containers: Vec<_> = pod
        .containers
        .iter()
        .map(|of| (&*of.name, of.ids.iter().map(|id| &id.as_str()[..1]).collect::<String>()))
        .collect();
    let expected = [("migrate", "a"), ("proxy", "b"), ("api", "cd"), ("debugger", "")];
    assert_eq!(containers, expected.map(|(name, ids)| (name, ids.to_owned())));
}

#[test]
fn only_labels_that_are_looked_for_are_kept() {
    let labels = read(written()).unwrap().labels;
    assert_eq!(labels, [("app".into(), "api".into())].into());
}

#[test]
fn a_pod_of_another_node_or_without_a_usable_name_is_none() {
    for (pointer, value) in [
        ("/spec/nodeName", json!("n2")),
        ("/metadata/uid", json!("not a uid")),
        ("/metadata/name", json!("a\nb")),
        ("/metadata/namespace", json!("")),
    ] {
        let mut changed = written();
        *changed.pointer_mut(pointer).unwrap() = value;
        assert_eq!(read(changed), None, "{pointer}");
    }
}

#[test]
fn an_annotation_that_says_neither_says_nothing() {
    for (text, expected) in
        [("true", Some(true)), ("false", Some(false)), ("yes", None), ("", None)]
    {
        let mut changed = written();
        *changed.pointer_mut("/metadata/annotations/strata.dev~1watch").unwrap() = json!(text);
        assert_eq!(read(changed).unwrap().is_opted_in, expected, "{text}");
    }
}

#[test]
fn a_static_pods_mirror_tells_the_hash() {
    let mut changed = written();
    *changed.pointer_mut("/metadata/annotations").unwrap() =
        json!({"kubernetes.io/config.hash": "8d2c".repeat(8), "kubernetes.io/config.mirror": "x"});
    assert_eq!(read(changed).unwrap().config_hash, PodUid::parse(&"8d2c".repeat(8)));
}

#[test]
fn what_is_missing_or_null_is_as_if_it_were_empty() {
    let bare = json!({"metadata": {"name": "a", "namespace": "b", "uid": UID, "labels": null}});
    let pod = read(bare).unwrap();
    assert_eq!((pod.containers.len(), pod.ips.len(), pod.owner), (0, 0, None));
}

/// JSON of any shape, with our keys in it.
fn any_json() -> impl Strategy<Value = Value> {
    let keys = proptest::sample::select(vec![
        "metadata",
        "spec",
        "status",
        "name",
        "uid",
        "containers",
        "containerStatuses",
        "labels",
    ]);
    let leaf = proptest::prop_oneof![
        proptest::strategy::Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        proptest::prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((keys.clone(), inner), 0..5).prop_map(|pairs| pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_panics_and_no_name_breaks_the_rules(json in any_json()) {
        if let Ok(object) = serde_json::from_value::<PodObject>(json)
            && let Some(pod) = object.into_pod("n1", &[])
        {
            prop_assert!(is_name(&pod.name) && is_name(&pod.namespace));
        }
    }

    #[test]
    fn any_name_and_id_is_taken_or_left(name in "\\PC{0,300}", id in "\\PC{0,90}") {
        let mut changed = written();
        *changed.pointer_mut("/spec/containers/0/name").unwrap() = json!(name);
        *changed.pointer_mut("/status/containerStatuses/0/name").unwrap() = json!(name);
        *changed.pointer_mut("/status/containerStatuses/0/containerID").unwrap() = json!(id);
        let pod = read(changed).unwrap();
        prop_assert!(pod.containers.iter().all(|container| is_name(&container.name)));
    }
}
