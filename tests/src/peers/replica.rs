//! The released binary as `strata peers`: started, asked, ended.
//!
//! Separate from the agent's process, which is another verb and needs root.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::agent_process::{free_port, strata};
use crate::metrics_text::Metrics;
use crate::process::Process;
use crate::{eventually, http};

/// How long it may take until it listens.
const LISTENS: Duration = Duration::from_secs(20);

/// A running replica.
#[derive(Debug)]
pub struct Replica {
    process: Process,
    addr: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Replica {
    /// Starts one that finds the API server by this file, and waits until it
    /// listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(kubeconfig: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("strata-peers").tempdir()?;
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = strata();
        command.args(["peers", "--listen", &addr.to_string(), "--kubernetes-kubeconfig"]);
        let process = Process::spawn(command.arg(kubeconfig), dir.path(), "peers")?;
        let replica = Self { process, addr, _dir: dir };
        let listens = eventually::until(LISTENS, || {
            http::get(addr, "/healthz").is_ok_and(|answer| answer.status == 200).then_some(())
        });
        listens.with_context(|| format!("strata peers does not listen: {}", replica.log()))?;
        Ok(replica)
    }

    /// Where it answers.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Everything it has written.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stdout() + &self.process.stderr()
    }

    /// Whether it says that it may be asked.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        http::get(self.addr, "/readyz").is_ok_and(|answer| answer.status == 200)
    }

    /// Who has these addresses, as `deployment/api`; `None` if it tells nobody
    /// anything.
    ///
    /// # Errors
    /// When there is no answer, or one that is none.
    pub fn names(
        &self,
        addresses: &[Ipv4Addr],
    ) -> anyhow::Result<Option<BTreeMap<Ipv4Addr, String>>> {
        let mut names = BTreeMap::new();
        for some in addresses.chunks(512) {
            let question = json!({"node": "n1", "addresses": some});
            let answer = http::post(self.addr, "/v1/peers", &question.to_string())?;
            if answer.status == 503 {
                return Ok(None);
            }
            anyhow::ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            let answer: Value = serde_json::from_slice(&answer.body)?;
            for peer in answer["peers"].as_array().context("no peers")? {
                let address = peer["address"].as_str().context("no address")?.parse()?;
                let workload = peer["workload"].as_str().context("no workload")?;
                names.insert(address, workload.to_owned());
            }
        }
        Ok(Some(names))
    }

    /// `/metrics`, parsed.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn scrape(&self) -> anyhow::Result<Metrics> {
        Metrics::parse(&http::get(self.addr, "/metrics")?.text())
    }
}
