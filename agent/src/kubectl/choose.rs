//! Which agents are asked, and what each is asked for. Pure, but for the two
//! questions to the cluster.
//!
//! Separate because it is what can be wrong without anybody noticing: an agent
//! that is not asked is a pod that is not shown.

use std::collections::BTreeMap;

use super::Error;
use super::pods::{self, Pod};
use super::run::Kubectl;
use crate::tap::query::Targets;

/// The labels of agents, as the manifests set them.
pub const AGENT_LABEL: &str = "app.kubernetes.io/name=strata,app.kubernetes.io/component=agent";
/// Nodes in a message, at most.
const MAX_NODES: usize = 8;

/// What is meant, in the words of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Names of pods.
    pub pods: Vec<String>,
    /// Labels of workloads, `deployment/api`.
    pub workloads: Vec<String>,
    /// The namespace; `None`: that of the context.
    pub namespace: Option<String>,
    /// Every namespace.
    pub is_everywhere: bool,
    /// With every namespace: what runs outside of pods too.
    pub has_hosts: bool,
    /// Only pods with these labels.
    pub selector: Option<String>,
    /// Only these nodes.
    pub nodes: Vec<String>,
}

impl Scope {
    /// Whether every pod of the nodes is meant, so that none is looked for.
    const fn is_all(&self) -> bool {
        self.is_everywhere && self.selector.is_none()
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["pods".to_owned()];
        if self.workloads.is_empty() {
            arguments.extend(self.pods.iter().cloned());
        }
        match &self.namespace {
            _ if self.is_everywhere => arguments.push("--all-namespaces".to_owned()),
            Some(namespace) => arguments.push(format!("--namespace={namespace}")),
            None => {}
        }
        arguments.extend(self.selector.iter().map(|labels| format!("--selector={labels}")));
        arguments.push("--output=json".to_owned());
        arguments
    }

    fn has(&self, pod: &Pod) -> bool {
        let is_every = self.pods.is_empty() && self.workloads.is_empty();
        let is_named = self.pods.contains(&pod.name) || self.workloads.contains(&pod.workload);
        let is_on_node = self.nodes.is_empty() || self.nodes.contains(&pod.node);
        pod.is_there() && is_on_node && (is_every || is_named)
    }

    fn words(&self) -> String {
        let pods = self.pods.iter().map(|name| format!("pod/{name}"));
        let mut words: Vec<String> = pods.chain(self.workloads.iter().cloned()).collect();
        if words.is_empty() {
            words.push("there".to_owned());
        }
        let mut text = words.join(" or ");
        if let Some(labels) = &self.selector {
            text.push_str(&format!(" with {labels}"));
        }
        if let Some(namespace) = &self.namespace {
            text.push_str(&format!(" in namespace {namespace}"));
        }
        if !self.nodes.is_empty() {
            text.push_str(&format!(" on {}", self.nodes.join(" or ")));
        }
        text
    }
}

/// The pod of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// What it was started with behind the verb: where its configuration is.
    pub arguments: Vec<String>,
}

/// One agent and what it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whom.
    pub agent: AgentPod,
    /// Whose requests; empty for all of its node.
    pub targets: Targets,
    /// The containers of the pods that are meant, by which rows are recognized
    /// that have no names.
    pub container_ids: Vec<String>,
}

/// Everyone who is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By node.
    pub asked: Vec<Asked>,
    /// Nodes that have pods which are meant, and no agent.
    pub without_agent: Vec<String>,
    /// Pods that are meant; `None`: all of the nodes.
    pub pods: Option<usize>,
}

/// Asks the cluster, and plans.
///
/// # Errors
///
/// If the cluster cannot be asked, nothing is meant, or no agent can be asked.
pub async fn plan(kubectl: &Kubectl, scope: &Scope, agent_namespace: &str) -> Result<Plan, Error> {
    let found = if scope.is_all() {
        None
    } else {
        let pods = pods::parse(&kubectl.get(&scope.arguments()).await?)?;
        Some(pods.into_iter().filter(|pod| scope.has(pod)).collect::<Vec<_>>())
    };
    if found.as_ref().is_some_and(Vec::is_empty) {
        return Err(Error::NoPod { wanted: scope.words() });
    }
    let arguments = [
        "pods".to_owned(),
        format!("--namespace={agent_namespace}"),
        format!("--selector={AGENT_LABEL}"),
        "--output=json".to_owned(),
    ];
    let agents = agents(&pods::parse(&kubectl.get(&arguments).await?)?);
    planned(scope, found.as_deref(), agents, agent_namespace)
}

/// The agent of each node: one that is ready, if there is one. While a new one
/// is started there are two.
#[must_use]
pub fn agents(pods: &[Pod]) -> BTreeMap<String, AgentPod> {
    let mut running: Vec<&Pod> =
        pods.iter().filter(|pod| pod.phase == "Running" && !pod.node.is_empty()).collect();
    // The last one of a node stays.
    running.sort_by_key(|pod| pod.is_ready);
    let agent = |pod: &Pod| AgentPod {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        node: pod.node.clone(),
        arguments: pod.agent_arguments.clone(),
    };
    running.into_iter().map(|pod| (pod.node.clone(), agent(pod))).collect()
}

/// Who is asked for what; `found` are the pods that are meant, `None` all.
///
/// # Errors
///
/// If no agent can be asked.
pub fn planned(
    scope: &Scope,
    found: Option<&[Pod]>,
    agents: BTreeMap<String, AgentPod>,
    agent_namespace: &str,
) -> Result<Plan, Error> {
    if let Some(node) = scope.nodes.iter().find(|node| !agents.contains_key(*node)) {
        let there = some(agents.keys());
        return Err(Error::NoNode { node: node.clone(), there });
    }
    let is_asked = |node: &String| match found {
        None => scope.nodes.is_empty() || scope.nodes.contains(node),
        Some(pods) => pods.iter().any(|pod| pod.node == *node),
    };
    let mut without_agent: Vec<String> = found
        .into_iter()
        .flatten()
        .map(|pod| pod.node.clone())
        .filter(|node| !agents.contains_key(node))
        .collect();
    without_agent.sort();
    without_agent.dedup();
    let asked: Vec<Asked> = agents
        .into_iter()
        .filter(|(node, _)| is_asked(node))
        .map(|(node, agent)| asked(scope, found, &node, agent))
        .collect();
    if asked.is_empty() {
        let nodes =
            if found.is_none() { "any node".to_owned() } else { some(without_agent.iter()) };
        let namespace = agent_namespace.to_owned();
        return Err(Error::NoAgent { nodes, namespace, label: AGENT_LABEL });
    }
    Ok(Plan { asked, without_agent, pods: found.map(<[Pod]>::len) })
}

fn asked(scope: &Scope, found: Option<&[Pod]>, node: &str, agent: AgentPod) -> Asked {
    let Some(found) = found else {
        let targets = Targets { in_pods: !scope.has_hosts, ..Targets::default() };
        return Asked { agent, targets, ..Asked::default() };
    };
    let here = || found.iter().filter(|pod| pod.node == node);
    let mut targets = Targets {
        // An agent without names, and a static pod, are found by one of them.
        pod_uids: here().map(|pod| pod.uid.clone()).collect(),
        ..Targets::default()
    };
    let is_whole_namespace =
        scope.pods.is_empty() && scope.workloads.is_empty() && scope.selector.is_none();
    for pod in here() {
        let name = if is_whole_namespace { "*" } else { &pod.name };
        let is_by_workload = scope.workloads.contains(&pod.workload);
        // By its workload a pod that comes later is meant too.
        let (list, entry) = if is_by_workload {
            (&mut targets.pod_workloads, format!("{}/{}", pod.namespace, pod.workload))
        } else {
            (&mut targets.pods, format!("{}/{name}", pod.namespace))
        };
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
    let container_ids = here().flat_map(|pod| pod.container_ids.iter().cloned()).collect();
    Asked { agent, targets, container_ids }
}

/// The first few, and how many more there are.
fn some<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let all: Vec<&str> = names.map(String::as_str).collect();
    match all.len() {
        0 => "no node".to_owned(),
        count if count > MAX_NODES => {
            let named: Vec<&str> = all.into_iter().take(MAX_NODES).collect();
            format!("{} and {} more", named.join(", "), count - MAX_NODES)
        }
        _ => all.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, workload: &str) -> Pod {
        Pod {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            node: node.to_owned(),
            phase: "Running".to_owned(),
            is_ready: true,
            workload: workload.to_owned(),
            container_ids: vec![format!("id-{name}")],
            agent_arguments: Vec::new(),
        }
    }

    fn some_agents() -> BTreeMap<String, AgentPod> {
        agents(&[pod("strata-1", "n1", ""), pod("strata-2", "n2", "")])
    }

    fn nodes(plan: &Plan) -> Vec<&str> {
        plan.asked.iter().map(|asked| asked.agent.node.as_str()).collect()
    }

    #[test]
    fn each_node_of_a_target_is_asked_for_its_own_pods_only() {
        let scope = Scope { workloads: vec!["deployment/api".to_owned()], ..Scope::default() };
        let found = [
            pod("api-1", "n1", "deployment/api"),
            pod("api-2", "n2", "deployment/api"),
            pod("api-3", "n3", "deployment/api"),
        ];
        let plan = planned(&scope, Some(&found), some_agents(), "strata").unwrap();
        assert_eq!(nodes(&plan), ["n1", "n2"]);
        assert_eq!(plan.without_agent, ["n3"]);
        let first = &plan.asked[0];
        assert_eq!(first.targets.pod_workloads, ["shop/deployment/api"]);
        assert_eq!(first.targets.pod_uids, ["uid-api-1"]);
        assert_eq!(first.targets.pods, [""; 0]);
        assert_eq!(first.container_ids, ["id-api-1"]);
    }

    #[test]
    fn a_namespace_is_asked_for_as_a_whole_and_a_selection_pod_by_pod() {
        let found = [pod("api-1", "n1", "deployment/api"), pod("web-1", "n1", "deployment/web")];
        let whole = planned(&Scope::default(), Some(&found), some_agents(), "strata").unwrap();
        assert_eq!(whole.asked[0].targets.pods, ["shop/*"]);
        let scope = Scope { selector: Some("tier=front".to_owned()), ..Scope::default() };
        let selected = planned(&scope, Some(&found), some_agents(), "strata").unwrap();
        assert_eq!(selected.asked[0].targets.pods, ["shop/api-1", "shop/web-1"]);
    }

    #[test]
    fn everywhere_every_agent_is_asked_for_everything() {
        let plan = planned(&Scope::default(), None, some_agents(), "strata").unwrap();
        assert_eq!(nodes(&plan), ["n1", "n2"]);
        let every_pod = Targets { in_pods: true, ..Targets::default() };
        assert!(plan.asked.iter().all(|asked| asked.targets == every_pod));
        let scope = Scope { has_hosts: true, ..Scope::default() };
        let plan = planned(&scope, None, some_agents(), "strata").unwrap();
        assert!(plan.asked.iter().all(|asked| asked.targets == Targets::default()));
        let scope = Scope { nodes: vec!["n2".to_owned()], ..Scope::default() };
        assert_eq!(nodes(&planned(&scope, None, some_agents(), "strata").unwrap()), ["n2"]);
    }

    #[test]
    fn where_no_agent_is_that_is_said() {
        let found = [pod("api-3", "n3", "deployment/api")];
        let error = planned(&Scope::default(), Some(&found), some_agents(), "strata").unwrap_err();
        assert!(matches!(&error, Error::NoAgent { nodes, .. } if nodes == "n3"), "{error}");
        let scope = Scope { nodes: vec!["n9".to_owned()], ..Scope::default() };
        let error = planned(&scope, None, some_agents(), "strata").unwrap_err();
        assert!(matches!(&error, Error::NoNode { there, .. } if there == "n1, n2"), "{error}");
    }

    #[test]
    fn of_two_agents_of_a_node_the_ready_one_is_asked() {
        let old = Pod { is_ready: false, ..pod("strata-old", "n1", "") };
        let gone = Pod { phase: "Failed".to_owned(), ..pod("strata-gone", "n1", "") };
        for pods in [
            [pod("strata-new", "n1", ""), old.clone(), gone.clone()],
            [gone, old, pod("strata-new", "n1", "")],
        ] {
            assert_eq!(agents(&pods)["n1"].name, "strata-new");
        }
    }

    #[test]
    fn a_name_and_a_workload_are_looked_for_differently() {
        let scope = Scope {
            pods: vec!["api-1".to_owned()],
            namespace: Some("shop".to_owned()),
            ..Scope::default()
        };
        let wanted = ["pods", "api-1", "--namespace=shop", "--output=json"];
        assert_eq!(scope.arguments(), wanted);
        let scope = Scope { workloads: vec!["deployment/api".to_owned()], ..scope };
        assert_eq!(scope.arguments(), ["pods", "--namespace=shop", "--output=json"]);
        assert!(scope.has(&pod("api-1", "n1", "deployment/x")));
        assert!(scope.has(&pod("x", "n1", "deployment/api")));
        assert!(!scope.has(&pod("x", "n1", "deployment/x")));
        assert!(!scope.has(&pod("api-1", "", "deployment/x")), "it is on no node");
    }
}
