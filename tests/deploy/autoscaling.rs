//! The autoscaling examples: objects that Kubernetes, KEDA and
//! prometheus-adapter take.
//!
//! What their queries give under load is a test of the dashboards; that one of
//! them scales is a test of the cluster.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::require;

use crate::manifests::{RELEASES, validate};
use crate::rendered::{VALIDATE, deploy, tool};

fn read(file: &str) -> (String, Value) {
    let text = std::fs::read_to_string(deploy("autoscaling").join(file)).unwrap();
    let value = serde_saphyr::from_str(&text).unwrap();
    (text, value)
}

/// Fails if an object has a member that its reader does not know.
#[track_caller]
fn assert_known(object: &Value, known: &[&str]) {
    let known: BTreeSet<&str> = known.iter().copied().collect();
    let members = object.as_object().unwrap().keys().map(String::as_str);
    let unknown: Vec<_> = members.filter(|member| !known.contains(member)).collect();
    assert_eq!(unknown, [""; 0], "{object:#}");
}

#[test]
fn the_autoscaler_is_valid_and_scales_on_metrics_of_the_adapters_rules() {
    require!(tool(VALIDATE).is_some(), "no kubernetes-validate");
    let (text, autoscaler) = read("hpa.yaml");
    for release in RELEASES {
        let (is_valid, said) = validate(&text, release);
        assert!(is_valid, "{release}: {said}");
        let wrong = text.replacen("maxReplicas", "mostReplicas", 1);
        assert!(!validate(&wrong, release).0, "{release}");
    }
    let (_, adapter) = read("prometheus-adapter.yaml");
    let rules = adapter["rules"]["custom"].as_array().unwrap();
    let made: BTreeSet<_> = rules.iter().map(|rule| rule["name"]["as"].as_str().unwrap()).collect();
    for metric in autoscaler["spec"]["metrics"].as_array().unwrap() {
        let name = metric["pods"]["metric"]["name"].as_str().unwrap();
        assert!(made.contains(name), "{name}: {made:?}");
    }
}

#[test]
fn the_rules_of_the_adapter_have_what_it_reads_and_nothing_else() {
    let (_, adapter) = read("prometheus-adapter.yaml");
    assert_known(&adapter, &["rules"]);
    assert_known(&adapter["rules"], &["custom"]);
    for rule in adapter["rules"]["custom"].as_array().unwrap() {
        assert_known(rule, &["seriesQuery", "resources", "name", "metricsQuery"]);
        assert_known(&rule["name"], &["matches", "as"]);
        assert_known(&rule["resources"], &["overrides"]);
        for resource in rule["resources"]["overrides"].as_object().unwrap().values() {
            assert_known(resource, &["resource"]);
        }
        let query = rule["metricsQuery"].as_str().unwrap();
        for place in ["<<.Series>>", "<<.LabelMatchers>>", "<<.GroupBy>>"] {
            assert!(query.contains(place), "{query}");
        }
    }
}

#[test]
fn the_scaled_object_has_what_keda_reads_and_nothing_else() {
    let (_, object) = read("keda.yaml");
    assert_known(&object, &["apiVersion", "kind", "metadata", "spec"]);
    assert_eq!(object["apiVersion"], "keda.sh/v1alpha1");
    assert_eq!(object["kind"], "ScaledObject");
    let spec = &object["spec"];
    let known = [
        "scaleTargetRef",
        "minReplicaCount",
        "maxReplicaCount",
        "pollingInterval",
        "fallback",
        "advanced",
        "triggers",
    ];
    assert_known(spec, &known);
    assert_known(&spec["fallback"], &["failureThreshold", "replicas", "behavior"]);
    let advanced = &spec["advanced"]["horizontalPodAutoscalerConfig"];
    assert_known(advanced, &["behavior"]);
    for trigger in spec["triggers"].as_array().unwrap() {
        assert_known(trigger, &["type", "metricType", "metadata"]);
        assert_eq!(trigger["type"], "prometheus");
        let metadata = &trigger["metadata"];
        assert_known(metadata, &["serverAddress", "threshold", "ignoreNullValues", "query"]);
        // KEDA reads texts only.
        assert!(metadata.as_object().unwrap().values().all(Value::is_string), "{metadata:#}");
    }
}
