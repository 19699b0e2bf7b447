//! Strata as it is installed: applied, awaited, scraped node by node.
//!
//! Separate because every test of the cluster begins with it.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::forward::Forward;
use super::kubectl::{kubectl, kubectl_json};
use crate::metrics_text::Metrics;
use crate::{eventually, http};

/// The namespace that the manifest makes.
pub const NAMESPACE: &str = "strata";
/// Selects the agent's pods.
const AGENTS: &str = "app.kubernetes.io/name=strata,app.kubernetes.io/component=agent";
/// The agent's port in the pod.
const PORT: u16 = 9464;
/// How long a roll-out may take.
const READY: &str = "--timeout=120s";

/// An agent's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPod {
    /// Its name.
    pub pod: String,
    /// The node that it runs on.
    pub node: String,
}

/// Strata, installed and ready on every node.
#[derive(Debug)]
pub struct Strata {
    agents: Vec<(AgentPod, Forward)>,
}

impl Strata {
    /// Applies the manifest, whatever is there, and waits until an agent is
    /// ready on every node.
    ///
    /// # Errors
    /// When the manifest is refused, or an agent does not get ready in time.
    pub fn installed() -> anyhow::Result<Self> {
        let manifest = std::env::var("STRATA_MANIFEST").context("STRATA_MANIFEST is not set")?;
        kubectl(&["apply", "-f", &manifest], None)?;
        rolled_out()?;
        let mut strata = Self { agents: Vec::new() };
        strata.find_agents()?;
        Ok(strata)
    }

    /// Waits until the DaemonSet is rolled out and looks its pods up again.
    ///
    /// # Errors
    /// When they do not get ready in time.
    pub fn find_agents(&mut self) -> anyhow::Result<()> {
        rolled_out()?;
        self.agents.clear();
        for agent in agents()? {
            let forward = Forward::start(NAMESPACE, &agent.pod, PORT)?;
            self.agents.push((agent, forward));
        }
        ensure!(!self.agents.is_empty(), "no agent's pod is there");
        Ok(())
    }

    /// The agents, in the order of their nodes' names.
    pub fn agents(&self) -> impl Iterator<Item = &AgentPod> {
        self.agents.iter().map(|(agent, _)| agent)
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

/// When the configuration that an agent has now reached its pod: the kubelet
/// puts a link in place. `None` if the agent does not run on this machine.
///
/// # Errors
/// When the pod cannot be looked up.
pub fn config_reached(agent: &AgentPod) -> anyhow::Result<Option<SystemTime>> {
    let pod = kubectl_json(&["get", "pod", &agent.pod, "-n", NAMESPACE])?;
    let uid = pod["metadata"]["uid"].as_str().context("a pod without a uid")?;
    let uids = [uid.to_owned(), uid.replace('-', "_")];
    for entry in std::fs::read_dir("/proc").context("reading /proc")?.flatten() {
        let is_agents = std::fs::read_to_string(entry.path().join("comm"))
            .is_ok_and(|comm| comm.trim_end() == "strata");
        let cgroup = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if is_agents && uids.iter().any(|uid| cgroup.contains(uid)) {
            let link = entry.path().join("root/etc/strata/..data");
            let link = std::fs::symlink_metadata(&link)
                .with_context(|| format!("looking at {}", link.display()))?;
            return Ok(Some(link.modified()?));
        }
    }
    Ok(None)
}

fn rolled_out() -> anyhow::Result<()> {
    let daemon_set = daemon_set()?;
    let name = daemon_set["metadata"]["name"].as_str().unwrap_or_default();
    let status = ["rollout", "status", "-n", NAMESPACE, &format!("daemonset/{name}"), READY];
    let Err(error) = kubectl(&status, None) else { return Ok(()) };
    let pods = kubectl(&["describe", "pods", "-n", NAMESPACE, "-l", AGENTS], None)?;
    let logs = kubectl(&["logs", "-n", NAMESPACE, "-l", AGENTS, "--tail=20"], None);
    Err(error.context(format!("{pods}\n{}", logs.unwrap_or_else(|error| error.to_string()))))
}

/// The agents' DaemonSet as the API server has it.
///
/// # Errors
/// When there is not exactly one.
pub fn daemon_set() -> anyhow::Result<Value> {
    let list = kubectl_json(&["get", "daemonsets", "-n", NAMESPACE, "-l", AGENTS])?;
    let items = list["items"].as_array().context("a list without items")?;
    let [daemon_set] = &items[..] else { anyhow::bail!("{} DaemonSets", items.len()) };
    Ok(daemon_set.clone())
}

fn agents() -> anyhow::Result<Vec<AgentPod>> {
    let running = |list: &Value| -> Option<Vec<AgentPod>> {
        let pods = list["items"].as_array()?.iter();
        // One that is being replaced counts no longer.
        let pods = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let text = |value: &Value| value.as_str().map(str::to_owned);
        pods.map(|pod| {
            let (pod, node) = (text(&pod["metadata"]["name"])?, text(&pod["spec"]["nodeName"])?);
            Some(AgentPod { pod, node })
        })
        .collect()
    };
    let found = eventually::until(Duration::from_secs(10), || {
        running(&kubectl_json(&["get", "pods", "-n", NAMESPACE, "-l", AGENTS]).ok()?)
    });
    let mut agents = found.context("an agent's pod has no node")?;
    agents.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(agents)
}
