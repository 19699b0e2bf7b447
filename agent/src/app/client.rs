//! Where a verb gets its lines from: a running agent, or an engine of its own.
//!
//! Separate from the agent's life because here nobody listens: the engine runs
//! in this process and is asked through a pair of connected sockets, so that a
//! verb sees no difference.

use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::engine::Engine;
use super::{STOP_WAIT, has_privileges};
use crate::admin::socket::client::{self, Client};
use crate::admin::socket::{Request, server};
use crate::attribution::hierarchy::{self, Hierarchy};
use crate::attribution::procfs::{self, ProcRoot};
use crate::attribution::targets::{Shown, Targets};
use crate::config::{Config, Glob, Unfit, Watch};
use crate::export::json::Workload;
use crate::tap::pods::Pods;
use crate::tap::query;

/// Why there are no lines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent, or the way to it.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// Nothing was said in time.
    #[error("the agent does not answer within {} s", wait.as_secs())]
    Silent {
        /// How long it was waited for.
        wait: Duration,
    },
    /// There is no agent, and there can be no engine here.
    #[error(
        "no agent answers on {}, and strata cannot watch by itself: {source}", socket.display()
    )]
    Alone {
        /// Where an agent was looked for.
        socket: PathBuf,
        /// Why there is no engine.
        source: Box<super::Error>,
    },
    /// A pod is named by what can be no name.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The targets cannot be looked for.
    #[error(transparent)]
    Hierarchy(#[from] hierarchy::Error),
    /// The same.
    #[error(transparent)]
    Proc(#[from] procfs::Error),
}

/// Who watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An agent that runs anyway, by its socket.
    Agent(PathBuf),
    /// This process.
    Own,
}

/// Whoever watches: it can be asked more than one thing.
pub struct Watcher {
    origin: Origin,
    own: Option<OwnEngine>,
}

/// An engine of this process.
struct OwnEngine {
    engine: Engine,
    servers: Vec<JoinHandle<()>>,
    stop: watch::Sender<()>,
    stopped: watch::Receiver<()>,
}

impl Watcher {
    /// A running agent, with a first client of it; where none runs, an engine.
    /// Runs inside [`super::block_on`].
    ///
    /// # Errors
    ///
    /// If an agent runs that cannot be asked, or none runs and the engine
    /// cannot start.
    pub async fn find(config: &Config) -> Result<(Self, Client), Error> {
        if let Some(client) = Client::connect(&config.socket).await? {
            return Ok((Self { origin: Origin::Agent(config.socket.clone()), own: None }, client));
        }
        let alone =
            |source| Error::Alone { socket: config.socket.clone(), source: Box::new(source) };
        has_privileges().map_err(alone)?;
        let engine = Engine::start(&alone_config(config), None, None).map_err(alone)?;
        let (stop, stopped) = watch::channel(());
        let own = OwnEngine { engine, servers: Vec::new(), stop, stopped };
        let mut watcher = Self { origin: Origin::Own, own: Some(own) };
        let client = watcher.client().await?;
        Ok((watcher, client))
    }

    /// Who it is.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Another client.
    ///
    /// # Errors
    ///
    /// If the agent has gone, or cannot be asked any more.
    pub async fn client(&mut self) -> Result<Client, Error> {
        let Some(own) = &mut self.own else {
            let Origin::Agent(path) = &self.origin else { return Err(client::Error::Ended.into()) };
            return Ok(Client::connect(path).await?.ok_or(client::Error::Ended)?);
        };
        let (near, far) = UnixStream::pair().map_err(client::Error::Broken)?;
        let sources = own.engine.sources();
        let limits = server::Limits { age: Duration::MAX, ..server::Limits::default() };
        let server = server::connection(far, sources, limits, own.stopped.clone());
        own.servers.push(tokio::task::spawn_local(server));
        Ok(Client::over(near))
    }

    /// Ends an engine of this process; its clients must be gone.
    pub async fn close(self) {
        let Some(own) = self.own else { return };
        drop((own.stop, own.stopped));
        let _ = tokio::time::timeout(STOP_WAIT, async {
            for server in own.servers {
                let _ = server.await;
            }
            own.engine.stop().await;
        })
        .await;
    }
}

/// Lines about workloads, from whoever watches them.
pub struct Connection {
    client: Client,
    watcher: Watcher,
}

impl Connection {
    /// Asks a running agent for a line each `interval`; where none runs, starts
    /// an engine. Runs inside [`super::block_on`].
    ///
    /// # Errors
    ///
    /// If an agent runs that cannot be asked, or none runs and the engine
    /// cannot start.
    pub async fn open(config: &Config, interval: Duration) -> Result<Self, Error> {
        let (watcher, mut client) = Watcher::find(config).await?;
        client.ask(&Request::workloads(Some(interval))).await?;
        Ok(Self { client, watcher })
    }

    /// Asks a running agent; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If one runs that cannot be asked.
    pub async fn to_agent(config: &Config, interval: Duration) -> Result<Option<Self>, Error> {
        let Some(mut client) = Client::connect(&config.socket).await? else { return Ok(None) };
        client.ask(&Request::workloads(Some(interval))).await?;
        let watcher = Watcher { origin: Origin::Agent(config.socket.clone()), own: None };
        Ok(Some(Self { client, watcher }))
    }

    /// Who watches.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        self.watcher.origin()
    }

    /// The lines.
    pub const fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Ends it, and the engine with it.
    pub async fn close(self) {
        drop(self.client);
        self.watcher.close().await;
    }
}

/// The workloads that the configuration's targets mean.
#[derive(Debug)]
pub struct Selection {
    targets: Targets,
    pods: Pods,
}

impl Selection {
    /// Looks for the targets, of which the pods are `named`; takes milliseconds
    /// where there are many processes.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read, or a pod's name is none.
    pub fn find(config: &Config, named: &query::Targets) -> Result<Self, Error> {
        let pods = Pods::new(named)?;
        Ok(Self { targets: Self::processes(config)?, pods })
    }

    fn processes(config: &Config) -> Result<Targets, Error> {
        let proc = ProcRoot::new(&config.proc_root);
        let hierarchy = Hierarchy::detect(&proc, config.cgroup_root.as_deref())?;
        Ok(Targets::find(&config.watch, &proc, &hierarchy)?)
    }

    /// The same for requests, of which a process and a port are known: those
    /// are compared themselves, not the workloads that they belong to. A process
    /// stands for those that it has started, too.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub fn of_requests(config: &Config, named: query::Targets) -> Result<query::Targets, Error> {
        let mut by_name = config.clone();
        let (pids, ports) = {
            let watch = &mut by_name.watch;
            (std::mem::take(&mut watch.pids), std::mem::take(&mut watch.ports))
        };
        let texts = |globs: &[Glob]| globs.iter().map(|glob| glob.as_str().to_owned()).collect();
        let (container_ids, workloads) = Self::processes(&by_name)?.found();
        Ok(query::Targets {
            namespaces: texts(&config.watch.namespaces_in),
            containers: texts(&config.watch.containers_in),
            container_ids,
            workloads,
            pids: ProcRoot::new(&config.proc_root).with_descendants(&pids)?,
            ports,
            ..named
        })
    }

    /// Whether there is no target: everything is meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.targets.is_all() && self.pods.is_all()
    }

    /// Whether a workload is meant.
    #[must_use]
    pub fn has(&self, workload: &Workload) -> bool {
        let Workload { namespace, pod, workload: label, .. } = workload;
        // Rows have no uid.
        self.pods.has(namespace, pod, label, "")
            && self.targets.has(Shown {
                namespace: &workload.namespace,
                container: &workload.container,
                workload: &workload.workload,
                container_id: &workload.container_id,
            })
    }

    /// Ports that are listened on, with the program, ascending; empty unless
    /// ports are among the targets.
    pub fn listening(&self) -> impl Iterator<Item = (u16, &str)> {
        self.targets.listening()
    }
}

/// Without an agent and without a target, whatever listens is shown: an empty
/// screen would tell nobody anything.
fn alone_config(config: &Config) -> Config {
    let Watch { pids, ports, comms, containers_in, .. } = &config.watch;
    let has_targets =
        !(pids.is_empty() && ports.is_empty() && comms.is_empty() && containers_in.is_empty());
    let mut config = config.clone();
    config.watch.host |= !has_targets;
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_targets_everything_that_listens_is_shown() {
        let mut config = Config::default();
        assert!(alone_config(&config).watch.host);
        config.watch.ports.push(80);
        assert!(!alone_config(&config).watch.host);
    }
}
