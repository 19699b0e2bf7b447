//! Configuration: defaults, then the file, then the environment, then flags.
//!
//! ```text
//! table (every key, once) -+-> raw         YAML file  --> layer -+
//!                          +-> environment STRATA_*   --> layer -+-> overlay -> resolve -> Config
//!                          +-> flags (cli) --x-y      --> layer -+
//!                          +-> reference   docs/config.md, deploy/strata.yaml
//! ```
//!
//! Separate from the stages that it configures: they receive a [`Config`] whose
//! every value is in bounds, and never see where it came from. Which keys may
//! change while the agent runs is decided by [`diff`] alone.

mod environment;
mod error;
mod key;
mod nearest;
mod otel;
mod overlay;
mod raw;
mod reference;
mod reload;
#[cfg(feature = "agent")]
mod reloader;
mod resolve;
mod table;
mod value;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use environment::{CONFIG_VARIABLE, Environment, KUBECTL_VARIABLE};
pub use error::{Error, Problem};
pub use key::{Key, Topic};
pub use otel::Headers;
pub use overlay::{Entry, Layer, Loaded, Origin, Setting};
pub use reference::{reference_markdown, sample_yaml};
pub use reload::{Reload, diff};
#[cfg(feature = "agent")]
pub use reloader::{Outcome, Reloader};
pub use table::KEYS;
pub use value::{Glob, Network, Requirement, Selector, Unfit, duration};

/// Every setting of the agent, typed and in bounds. The defaults are those of
/// [`Config::default`]; what each key means is written in its table.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub listen: SocketAddr,
    /// The unix socket for the other verbs.
    pub socket: PathBuf,
    /// The group besides root that may use the socket.
    pub socket_group: Option<String>,
    /// Which processes are watched.
    pub watch: Watch,
    /// What is done with the paths of requests.
    pub paths: Paths,
    /// How paths become routes.
    pub routes: Routes,
    /// Which lanes are on.
    pub lanes: Lanes,
    /// The kill switch: every lane detached.
    pub off: bool,
    /// The bound on the agent's own cost.
    pub governor: Governor,
    /// How much is exported of each histogram.
    pub detail: Detail,
    /// Bounds on exported series.
    pub series: Series,
    /// The ring buffer of records.
    pub ring: Ring,
    /// How the ring buffer is emptied.
    pub drain: Drain,
    /// The agent's own log.
    pub log: Log,
    /// Where names of pods come from.
    pub kubernetes: Kubernetes,
    /// What is known of the network.
    pub network: Addresses,
    /// Where requests go as spans, and which.
    pub traces: Traces,
    /// Where the cgroup hierarchy is mounted; `None`: found at start.
    pub cgroup_root: Option<PathBuf>,
    /// Where the proc file system is mounted.
    pub proc_root: PathBuf,
}

/// Which processes are watched. Of an `_in` and an `_out` list, what `_in`
/// names is watched (an empty one names everything) unless `_out` names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// API processes outside containers too.
    pub host: bool,
    /// These processes (tgids), wherever they run.
    pub pids: Vec<u32>,
    /// What listens on these TCP ports, wherever it runs.
    pub ports: Vec<u16>,
    /// Processes of these names (`/proc/<pid>/comm`), wherever they run.
    pub comms: Vec<String>,
    /// Only pods of these namespaces.
    pub namespaces_in: Vec<Glob>,
    /// No pods of these namespaces.
    pub namespaces_out: Vec<Glob>,
    /// Only these containers.
    pub containers_in: Vec<Glob>,
    /// None of these containers.
    pub containers_out: Vec<Glob>,
    /// Only pods that one of these selects.
    pub labels_in: Vec<Selector>,
    /// No pods that one of these selects.
    pub labels_out: Vec<Selector>,
    /// Whether an annotation of a pod overrules these lists.
    pub annotations: bool,
}

/// Where names of pods come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubernetes {
    /// The node whose pods are asked for; `None`: nobody is asked.
    pub node_name: Option<String>,
    /// How the API server is reached; `None`: by the pod's service account.
    pub kubeconfig: Option<PathBuf>,
}

/// What is known of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Networks outside of the cluster that have names.
    pub names: Vec<Network>,
    /// URL of `strata peers`, who names peers on other nodes; `None`: nobody
    /// does.
    pub peers: Option<String>,
}

/// Where requests go as spans, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// URL of an OTLP endpoint; `None`: no spans.
    pub endpoint: Option<String>,
    /// How it is spoken to.
    pub protocol: TraceProtocol,
    /// Whether requests to it are compressed.
    pub compression: Compression,
    /// Certificates of those who sign the endpoint's; `None`: the system's.
    pub certificate: Option<PathBuf>,
    /// How long one export may take.
    pub timeout: Duration,
    /// One request in so many is exported of those that neither failed nor were
    /// slow.
    pub one_in: u32,
    /// The most requests that are exported in a second.
    pub per_second: u32,
    /// Whether those of processes that send spans themselves are exported too.
    pub instrumented: bool,
}

/// How an OTLP endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceProtocol {
    /// gRPC.
    Grpc,
    /// Protobuf in the bodies of HTTP requests.
    HttpProtobuf,
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// They are not.
    None,
    /// By gzip.
    Gzip,
}

/// What is done with the paths of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Paths {
    /// Keep a path's first bytes in records.
    pub keep: bool,
    /// Requests with exactly these paths are counted as filtered.
    pub ignore: Vec<String>,
}

/// How paths become routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Routes as patterns, the first that fits counts.
    pub patterns: Vec<String>,
    /// Whether routes are guessed of paths that no pattern fits.
    pub heuristic: bool,
}

/// Which lanes are on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lanes {
    /// Requests, RTT and jitter.
    pub sockets: bool,
    /// Run queue, off-CPU time, throttling.
    pub cpu: bool,
    /// Identity and lifetime of processes.
    pub process: bool,
    /// Connections, retransmits, resets.
    pub tcp: bool,
    /// Latency and errors of system calls.
    pub syscalls: bool,
    /// Calls that Go programs make.
    pub go: bool,
}

/// The bound on the agent's own cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Governor {
    /// Whether lanes are shed to stay in the budget.
    pub enabled: bool,
    /// The part of all the node's CPU time that the agent may take.
    pub budget: f64,
}

/// How much is exported of each histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Classic buckets only where the catalogue says so.
    Normal,
    /// Classic buckets for every histogram.
    Full,
}

/// Bounds on exported series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Series {
    /// The most series of one container.
    pub per_container: u32,
    /// The most series in all.
    pub per_node: u32,
}

/// The ring buffer of records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ring {
    /// Its size in bytes, a power of two.
    pub bytes: u32,
}

/// How the ring buffer is emptied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drain {
    /// How long the reader sleeps between two rounds.
    pub interval: Duration,
}

/// The agent's own log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Data is being lost, or somebody is needed.
    Error,
    /// Degraded, but coping.
    Warn,
    /// The agent's life cycle.
    Info,
    /// Each batch.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Its name, as filters of log lines spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let ignored = ["/healthz", "/readyz", "/livez", "/metrics"];
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            socket: PathBuf::from("/run/strata/strata.sock"),
            socket_group: None,
            watch: Watch {
                host: false,
                pids: Vec::new(),
                ports: Vec::new(),
                comms: Vec::new(),
                namespaces_in: Vec::new(),
                namespaces_out: vec![Glob::exactly("kube-system")],
                containers_in: Vec::new(),
                containers_out: Vec::new(),
                labels_in: Vec::new(),
                labels_out: Vec::new(),
                annotations: true,
            },
            paths: Paths { keep: false, ignore: ignored.map(str::to_owned).to_vec() },
            routes: Routes::default(),
            lanes: Lanes {
                sockets: true,
                cpu: true,
                process: true,
                tcp: true,
                syscalls: true,
                go: true,
            },
            off: false,
            governor: Governor { enabled: true, budget: 0.01 },
            detail: Detail::Normal,
            series: Series { per_container: 300, per_node: 30_000 },
            ring: Ring { bytes: agent_common::limits::RING_BYTES },
            drain: Drain { interval: Duration::from_millis(10) },
            log: Log { level: LogLevel::Info, format: LogFormat::Text },
            kubernetes: Kubernetes::default(),
            network: Addresses::default(),
            traces: Traces {
                endpoint: None,
                protocol: TraceProtocol::HttpProtobuf,
                compression: Compression::None,
                certificate: None,
                timeout: Duration::from_secs(10),
                one_in: 100,
                per_second: 100,
                instrumented: false,
            },
            cgroup_root: None,
            proc_root: PathBuf::from("/proc"),
        }
    }
}

/// Where a configuration comes from. Kept by an agent, which loads again when
/// its file changes.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
    /// The variables of the process.
    pub environment: Environment,
    /// What the command line sets.
    pub flags: Layer,
}

impl Sources {
    /// The file that is read: the one of `--config`, else the one that the
    /// variable [`CONFIG_VARIABLE`] names, else none.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref().or_else(|| self.environment.config_file())
    }

    /// Reads the file and puts environment and flags over it.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] if the file cannot be read, [`Error::Invalid`]
    /// with everything that is wrong in file, environment and flags together.
    pub fn load(&self) -> Result<Loaded, Error> {
        let file = match self.file() {
            Some(path) => resolve::file_layer(path, &raw::read(path)?),
            None => Layer::default(),
        };
        overlay::overlay([file, self.environment.layer(), self.flags.clone()])
    }
}

#[cfg(test)]
mod tests;
