//! The manifests of `deploy/kubernetes` and the chart: valid objects, and the
//! same ones.

use std::process::Command;

use serde_json::Value;
use tests::require;

use crate::rendered::{
    HELM, KUBECTL, SETS, VALIDATE, chart, kustomized, objects, only, only_of_peers, tool, values,
};

/// The oldest release that the chart admits and still has schemas, and the newest.
pub(crate) const RELEASES: [&str; 2] = ["1.30", "1.37"];

#[test]
fn every_object_is_valid_in_the_oldest_and_the_newest_kubernetes() {
    require!(tool(VALIDATE).is_some(), "no kubernetes-validate");
    require!(tool(HELM).is_some(), "no Helm");
    require!(tool(KUBECTL).is_some(), "no kubectl");
    let mut renders = vec![("kustomize", kustomized("kubernetes"))];
    renders.extend(SETS.map(|set| (set, chart(&values(set)))));
    for release in RELEASES {
        for (name, yaml) in &renders {
            let (is_valid, said) = validate(yaml, release);
            assert!(is_valid, "{name} in {release}: {said}");
        }
        // A field that nothing knows is found, and so is a wrong type.
        let (_, base) = renders.first().unwrap();
        for (field, wrong) in [("hostPID:", "hostPid:"), ("privileged: false", "privileged: none")]
        {
            assert!(base.contains(field));
            assert!(!validate(&base.replacen(field, wrong, 1), release).0, "{wrong}");
        }
    }
}

#[test]
fn the_chart_installs_by_default_what_the_manifests_do() {
    require!(tool(HELM).is_some(), "no Helm");
    require!(tool(KUBECTL).is_some(), "no kubectl");
    let (chart, base) = (chart(&values("default")), kustomized("kubernetes"));
    let kinds = |yaml: &str| {
        let mut kinds: Vec<String> =
            objects(yaml).iter().map(|object| object["kind"].to_string()).collect();
        kinds.sort();
        // Helm makes a namespace by an option, not from the chart.
        kinds.retain(|kind| kind != "\"Namespace\"");
        kinds
    };
    assert_eq!(kinds(&chart), kinds(&base));
    for (kind, path) in [
        ("DaemonSet", "/spec/template/spec"),
        ("DaemonSet", "/spec/template/metadata/annotations"),
        ("DaemonSet", "/spec/updateStrategy"),
        ("DaemonSet", "/metadata/namespace"),
        ("ClusterRole", "/rules"),
        ("ClusterRole", "/metadata/name"),
        ("ClusterRoleBinding", "/subjects"),
        ("ClusterRoleBinding", "/roleRef"),
        ("NetworkPolicy", "/spec/ingress"),
        // To whom names are asked of is told by a label more in the chart.
        ("NetworkPolicy", "/spec/egress/0"),
        ("NetworkPolicy", "/spec/egress/1/ports"),
    ] {
        assert_same(kind, path, &only(&chart, kind), &only(&base, kind));
    }
    for (kind, path) in [
        ("Deployment", "/spec/replicas"),
        ("Deployment", "/spec/template/spec/containers"),
        ("Deployment", "/spec/template/spec/securityContext"),
        ("Deployment", "/spec/template/spec/serviceAccountName"),
        ("ClusterRole", "/rules"),
        ("ClusterRoleBinding", "/subjects"),
        ("Service", "/spec/ports"),
        ("PodDisruptionBudget", "/spec/maxUnavailable"),
        ("NetworkPolicy", "/spec/egress"),
        ("NetworkPolicy", "/spec/ingress/0/ports"),
    ] {
        let (chart, base) = (only_of_peers(&chart, kind), only_of_peers(&base, kind));
        assert_same(kind, path, &chart, &base);
    }
    let config = |yaml: &str| -> Value {
        let map = only(yaml, "ConfigMap");
        assert_eq!(map["data"].as_object().unwrap().len(), 1);
        serde_saphyr::from_str(map["data"]["strata.yaml"].as_str().unwrap()).unwrap()
    };
    assert_eq!(config(&chart), config(&base));
}

#[test]
fn both_make_the_same_pod_monitor() {
    require!(tool(HELM).is_some(), "no Helm");
    require!(tool(KUBECTL).is_some(), "no kubectl");
    let enabled = crate::rendered::template(&["--set", "podMonitor.enabled=true"]);
    let chart = only(&crate::rendered::succeed(enabled), "PodMonitor");
    let component = only(&kustomized("kubernetes/podmonitor"), "PodMonitor");
    for path in ["/spec/podMetricsEndpoints", "/spec/attachMetadata", "/spec/namespaceSelector"] {
        assert_same("PodMonitor", path, &chart, &component);
    }
    assert_eq!(chart["spec"]["podMetricsEndpoints"][0]["honorLabels"], true);
    // It selects the pods that the manifests make.
    let pods = only(&kustomized("kubernetes"), "DaemonSet");
    let labels = pods["spec"]["template"]["metadata"]["labels"].as_object().unwrap();
    for (label, value) in component["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(labels.get(label), Some(value), "{label}");
    }
}

/// Fails unless both objects have the same, and something, at a path.
fn assert_same(kind: &str, path: &str, chart: &Value, base: &Value) {
    let (chart, base) = (chart.pointer(path), base.pointer(path));
    assert!(base.is_some(), "{kind}: no {path}");
    assert_eq!(chart, base, "{kind} {path}");
}

/// What kubernetes-validate has to say of the objects that are Kubernetes' own.
pub(crate) fn validate(yaml: &str, release: &str) -> (bool, String) {
    let mut own = objects(yaml);
    own.retain(|object| object["kind"] != "PodMonitor");
    let texts: Vec<String> = own.iter().map(Value::to_string).collect();
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    // JSON is YAML.
    std::fs::write(file.path(), texts.join("\n---\n")).unwrap();
    let output = Command::new(tool(VALIDATE).unwrap())
        .args(["--strict", "--kubernetes-version", release])
        .arg(file.path())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}
