//! Strata as it is installed: applied, awaited, scraped node by node.
//!
//! Separate because every test of the cluster begins with it.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::forward::Forward;
use super::kubectl::{kubectl, kubectl_json};
use crate::metrics_text::Metrics;
use crate::{eventually, http};

/// The namespace that the manifest makes.
pub const NAMESPACE: &str = "strata";
/// Where the manifest puts the agents.
pub const MANIFEST: Place = Place { namespace: NAMESPACE, port: 9464 };
/// Selects the agent's pods.
const AGENTS: &str = "app.kubernetes.io/name=strata,app.kubernetes.io/component=agent";
/// How long a roll-out may take.
const READY: &str = "--timeout=120s";

/// Where agents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Their namespace.
    pub namespace: &'static str,
    /// Their port in the pod.
    pub port: u16,
}

/// An agent's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPod {
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// The node that it runs on.
    pub node: String,
    /// When it became ready, as the API server writes times: to the second.
    /// Empty while it is not.
    pub ready_since: String,
}

/// Strata, installed and ready on every node.
#[derive(Debug)]
pub struct Strata {
    place: Place,
    agents: Vec<(AgentPod, Forward)>,
}

impl Strata {
    /// Applies the manifest, whatever is there, and waits until an agent is
    /// ready on every node.
    ///
    /// # Errors
    /// When the manifest is refused, or an agent does not get ready in time.
    pub fn installed() -> anyhow::Result<Self> {
        kubectl(&["apply", "-f", &manifest()?], None)?;
        Self::at(MANIFEST)
    }

    /// Waits until an agent is ready on every node, whoever installed them.
    ///
    /// # Errors
    /// When one does not get ready in time.
    pub fn at(place: Place) -> anyhow::Result<Self> {
        let mut strata = Self { place, agents: Vec::new() };
        strata.find_agents()?;
        Ok(strata)
    }

    /// Deletes what the manifest makes, and waits until it is gone.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub fn uninstalled() -> anyhow::Result<()> {
        let delete = ["delete", "--ignore-not-found", "--timeout=120s", "-f", &manifest()?];
        // Without the limit of one request: it waits for the pods' end.
        kubectl(&[&["--request-timeout=0"], &delete[..]].concat(), None).map(drop)
    }

    /// Waits until the DaemonSet is rolled out and looks its pods up again.
    ///
    /// # Errors
    /// When they do not get ready in time.
    pub fn find_agents(&mut self) -> anyhow::Result<()> {
        rolled_out(self.place.namespace)?;
        self.agents.clear();
        for agent in agents(self.place.namespace)? {
            let forward = Forward::start(self.place.namespace, &agent.pod, self.place.port)?;
            self.agents.push((agent, forward));
        }
        ensure!(!self.agents.is_empty(), "no agent's pod is there");
        Ok(())
    }

    /// The agents, in the order of their nodes' names.
    pub fn agents(&self) -> impl Iterator<Item = &AgentPod> {
        self.agents.iter().map(|(agent, _)| agent)
    }

    /// Where the agents' metrics are to be had on this machine.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.agents.iter().map(|(_, forward)| forward.addr).collect()
    }

    /// The metrics of a node's agent.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    pub fn scrape(&self, node: &str) -> anyhow::Result<Metrics> {
        let agent = self.agents.iter().find(|(agent, _)| agent.node == node);
        let (_, forward) = agent.with_context(|| format!("no agent on {node}"))?;
        let response = http::get(forward.addr, "/metrics")?;
        ensure!(response.status == 200, "{}: {}", response.status, response.text());
        Metrics::parse(&response.text())
    }
}

fn manifest() -> anyhow::Result<String> {
    std::env::var("STRATA_MANIFEST").context("STRATA_MANIFEST is not set")
}

/// When the configuration that an agent has now reached its pod: the kubelet
/// puts a link in place. `None` if the agent does not run on this machine.
///
/// # Errors
/// When the link cannot be looked at.
pub fn config_reached(agent: &AgentPod) -> anyhow::Result<Option<SystemTime>> {
    let Some(pid) = process_of(agent) else { return Ok(None) };
    let link = format!("/proc/{pid}/root/etc/strata/..data");
    let link = std::fs::symlink_metadata(&link).with_context(|| format!("looking at {link}"))?;
    Ok(Some(link.modified()?))
}

/// The process of an agent. `None` if it does not run, or not on this machine.
#[must_use]
pub fn process_of(agent: &AgentPod) -> Option<u32> {
    let uids = [agent.uid.clone(), agent.uid.replace('-', "_")];
    let is_agents = |pid: &u32| {
        let of = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        of("comm").trim_end() == "strata" && uids.iter().any(|uid| of("cgroup").contains(uid))
    };
    let entries = std::fs::read_dir("/proc").ok()?.flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_agents)
}

fn rolled_out(namespace: &str) -> anyhow::Result<()> {
    let daemon_set = daemon_set(namespace)?;
    let name = daemon_set["metadata"]["name"].as_str().unwrap_or_default();
    let status = ["rollout", "status", "-n", namespace, &format!("daemonset/{name}"), READY];
    let Err(error) = kubectl(&status, None) else { return Ok(()) };
    let pods = kubectl(&["describe", "pods", "-n", namespace, "-l", AGENTS], None)?;
    let logs = kubectl(&["logs", "-n", namespace, "-l", AGENTS, "--tail=20"], None);
    Err(error.context(format!("{pods}\n{}", logs.unwrap_or_else(|error| error.to_string()))))
}

/// The agents' DaemonSet as the API server has it.
///
/// # Errors
/// When there is not exactly one.
pub fn daemon_set(namespace: &str) -> anyhow::Result<Value> {
    let list = kubectl_json(&["get", "daemonsets", "-n", namespace, "-l", AGENTS])?;
    let items = list["items"].as_array().context("a list without items")?;
    let [daemon_set] = &items[..] else { anyhow::bail!("{} DaemonSets", items.len()) };
    Ok(daemon_set.clone())
}

fn agents(namespace: &str) -> anyhow::Result<Vec<AgentPod>> {
    let running = |list: &Value| -> Option<Vec<AgentPod>> {
        let pods = list["items"].as_array()?.iter();
        // One that is being replaced counts no longer.
        let pods = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let text = |value: &Value| value.as_str().map(str::to_owned);
        pods.map(|pod| {
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            let mut is_ready = conditions
                .filter(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            Some(AgentPod {
                pod: text(&pod["metadata"]["name"])?,
                uid: text(&pod["metadata"]["uid"])?,
                node: text(&pod["spec"]["nodeName"])?,
                ready_since: is_ready
                    .find_map(|condition| text(&condition["lastTransitionTime"]))
                    .unwrap_or_default(),
            })
        })
        .collect()
    };
    let found = eventually::until(Duration::from_secs(10), || {
        running(&kubectl_json(&["get", "pods", "-n", namespace, "-l", AGENTS]).ok()?)
    });
    let mut agents = found.context("an agent's pod has no node")?;
    agents.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(agents)
}
