//! What the manifest installs, as the cluster has it.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::cluster::{self, NAMESPACE, Strata, daemon_set, kubectl, kubectl_json};
use tests::require;

/// All that the agent may have beyond an ordinary container.
const CAPABILITIES: [&str; 4] = ["BPF", "DAC_READ_SEARCH", "PERFMON", "SYS_PTRACE"];

fn nodes() -> BTreeSet<String> {
    let list = kubectl_json(&["get", "nodes"]).unwrap();
    let nodes = list["items"].as_array().unwrap().iter();
    nodes.map(|node| node["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_agent_is_ready_on_every_node_with_every_lane_and_no_privilege() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let agents: BTreeSet<_> = strata.agents().map(|agent| agent.node.clone()).collect();
    assert_eq!(agents, nodes());

    for agent in strata.agents() {
        let pod = kubectl_json(&["get", "pod", &agent.pod, "-n", NAMESPACE]).unwrap();
        let spec = &pod["spec"];
        assert!(!spec["hostNetwork"].as_bool().unwrap_or(false), "{}", agent.node);
        let [container] = &spec["containers"].as_array().unwrap()[..] else { panic!("{spec}") };
        let security = &container["securityContext"];
        assert!(!security["privileged"].as_bool().unwrap_or(false), "{security}");
        assert_eq!(security["allowPrivilegeEscalation"], false, "{security}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{security}");
        assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
        let added = security["capabilities"]["add"].as_array().unwrap().iter();
        let added: BTreeSet<_> = added.map(|name| name.as_str().unwrap()).collect();
        assert_eq!(added, BTreeSet::from(CAPABILITIES));

        let metrics = strata.scrape(&agent.node).unwrap();
        let lanes: Vec<_> = metrics.select("strata_agent_lane_state", &[]).collect();
        assert!(!lanes.is_empty());
        let not_working = lanes
            .iter()
            .filter(|sample| (sample.label("state") == "works") != (sample.value == 1.0));
        let not_working: Vec<_> = not_working.collect();
        assert!(not_working.is_empty(), "{}: {not_working:#?}", agent.node);
    }
}

#[test]
fn the_agents_account_may_read_pods_and_nothing_else() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let _strata = Strata::installed().unwrap();
    let account = &daemon_set(NAMESPACE).unwrap()["spec"]["template"]["spec"]["serviceAccountName"];
    let account = format!("system:serviceaccount:{NAMESPACE}:{}", account.as_str().unwrap());
    let review = serde_json::json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": "default"},
    });
    // The account may not read the schemas that kubectl would check against.
    let as_account = ["create", "--validate=false", "--as", &account, "-f", "-", "-o", "json"];
    let answer = kubectl(&as_account, Some(&review.to_string())).unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let rules = answer["status"]["resourceRules"].as_array().unwrap();
    let texts = |value: &Value| -> BTreeSet<String> {
        let list = value.as_array().into_iter().flatten();
        list.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let given: Vec<_> = rules
        .iter()
        .map(|rule| (texts(&rule["resources"]), texts(&rule["verbs"])))
        // What every account may: ask about itself.
        .filter(|(resources, _)| !resources.iter().all(|name| name.starts_with("self")))
        .collect();
    let set = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(given, [(set(&["pods"]), set(&["list", "watch"]))], "{answer:#}");
}
