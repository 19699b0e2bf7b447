//! Pods as `kubectl get pods -o json` prints them. Pure.
//!
//! Separate from the agent's own idea of pods, which comes by a watch and has
//! other fields.

use serde_json::Value;

use super::Error;
use super::run::CONTAINER;
use crate::event::owner;
use crate::event::pod::{Owner, Pod as Owned};

/// Longest chain of containers that is looked at.
const STATUSES: [&str; 3] =
    ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The node that it is on; empty before it is on one.
    pub node: String,
    /// `Running` and others.
    pub phase: String,
    /// Whether it says that it is ready.
    pub is_ready: bool,
    /// The label that the agent gives to what runs in it.
    pub workload: String,
    /// Ids of its containers, without the runtime's name.
    pub container_ids: Vec<String>,
    /// Of an agent: what it was started with behind its verb.
    pub agent_arguments: Vec<String>,
}

impl Pod {
    /// Whether there is, or may soon be, a process of it on a node.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !self.node.is_empty() && !matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

/// The pods of a list, or the one that was named.
///
/// # Errors
///
/// If it is no JSON. Members that are missing are empty.
pub fn parse(bytes: &[u8]) -> Result<Vec<Pod>, Error> {
    let value: Value = serde_json::from_slice(bytes)?;
    Ok(match value.get("items") {
        Some(items) => items.as_array().into_iter().flatten().map(pod).collect(),
        None => vec![pod(&value)],
    })
}

fn pod(value: &Value) -> Pod {
    let metadata = &value["metadata"];
    let status = &value["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let ids = STATUSES.iter().flat_map(|list| status[list].as_array().into_iter().flatten());
    let ids = ids.filter_map(|status| status["containerID"].as_str()?.split_once("://"));
    Pod {
        namespace: text(&metadata["namespace"]),
        name: text(&metadata["name"]),
        uid: text(&metadata["uid"]),
        node: text(&value["spec"]["nodeName"]),
        phase: text(&status["phase"]),
        is_ready: conditions
            .filter(|condition| condition["type"] == "Ready")
            .any(|condition| condition["status"] == "True"),
        workload: workload(metadata),
        container_ids: ids.map(|(_, id)| id.to_owned()).collect(),
        agent_arguments: agent_arguments(&value["spec"]),
    }
}

fn agent_arguments(spec: &Value) -> Vec<String> {
    let containers = spec["containers"].as_array().into_iter().flatten();
    let mut agents = containers.filter(|container| container["name"] == CONTAINER);
    let arguments = agents.next().and_then(|container| container["args"].as_array());
    let mut arguments = arguments.into_iter().flatten().map(text);
    // Another verb's would be another's.
    if arguments.next().as_deref() == Some("agent") { arguments.collect() } else { Vec::new() }
}

/// By the same rule as the agent's.
fn workload(metadata: &Value) -> String {
    let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    let owner = owners.into_iter().find(|owner| owner["controller"] == true);
    owner::workload(&Owned {
        name: text(&metadata["name"]).into(),
        owner: owner.map(|owner| Owner {
            kind: text(&owner["kind"]).into(),
            name: text(&owner["name"]).into(),
        }),
        template_hash: text(&metadata["labels"]["pod-template-hash"]).into(),
        ..Owned::default()
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn api() -> Value {
        json!({
            "kind": "Pod",
            "metadata": {
                "name": "api-7d9f8b6c5-x2x4z", "namespace": "shop", "uid": "u1",
                "labels": {"pod-template-hash": "7d9f8b6c5"},
                "ownerReferences": [
                    {"kind": "ReplicaSet", "name": "api-7d9f8b6c5", "controller": true}
                ],
            },
            "spec": {"nodeName": "n1"},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"containerID": "containerd://abc"}],
                "initContainerStatuses": [{"containerID": "containerd://def"}, {}],
            },
        })
    }

    #[test]
    fn a_pod_that_was_named_is_one_and_a_list_are_all() {
        let one = parse(api().to_string().as_bytes()).unwrap();
        let expected = Pod {
            namespace: "shop".to_owned(),
            name: "api-7d9f8b6c5-x2x4z".to_owned(),
            uid: "u1".to_owned(),
            node: "n1".to_owned(),
            phase: "Running".to_owned(),
            is_ready: true,
            workload: "deployment/api".to_owned(),
            container_ids: vec!["abc".to_owned(), "def".to_owned()],
            agent_arguments: Vec::new(),
        };
        assert_eq!(one, [expected]);
        let list = json!({"kind": "List", "items": [api(), api()]});
        assert_eq!(parse(list.to_string().as_bytes()).unwrap().len(), 2);
        assert_eq!(parse(br#"{"items": []}"#).unwrap(), []);
        assert!(parse(b"no resources").is_err());
    }

    #[test]
    fn an_agents_arguments_are_those_behind_its_verb() {
        let of = |name: &str, args: Value| {
            agent_arguments(&json!({"containers": [{"name": name, "args": args}]}))
        };
        assert_eq!(of("strata", json!(["agent", "--config", "/c.yaml"])), ["--config", "/c.yaml"]);
        assert_eq!(of("strata", json!(["check", "--config", "/c.yaml"])), [""; 0]);
        assert_eq!(of("proxy", json!(["agent", "--x"])), [""; 0]);
        assert_eq!(agent_arguments(&json!({})), [""; 0]);
    }

    #[test]
    fn a_pod_that_waits_or_has_ended_is_not_there() {
        let with = |phase: &str, node: &str| Pod {
            phase: phase.to_owned(),
            node: node.to_owned(),
            ..Pod::default()
        };
        assert!(with("Running", "n1").is_there() && with("Pending", "n1").is_there());
        assert!(!with("Pending", "").is_there() && !with("Succeeded", "n1").is_there());
    }

    proptest! {
        #[test]
        fn any_bytes_are_pods_or_refused(text in "[\\[\\]{}\":,a-z0-9 ]{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
