//! The composition root: builds in flow order, spawns, waits, drains. The only
//! room that knows every stage, and the only one that spawns tasks.
//!
//! Building can fail; running cannot. All tasks share one thread: the agent
//! does little, and what it does needs no locks that way.

pub mod client;
mod engine;
pub mod examine;
mod names;
pub mod peers;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::admin::socket::{self, bind::Bound};
use crate::admin::{self, AdminState};
use crate::attribution::hierarchy::{self, Hierarchy};
use crate::attribution::procfs::{self, ProcRoot};
use crate::config::{self, Config, Outcome, Reloader, Sources};
use crate::export;
use crate::export::scrape::Scraper;
use crate::host::capabilities;
use crate::load::globals::Facts;
use crate::load::{self, Options};
use crate::sys::{clock, heap};
use crate::telemetry::Own;
use crate::telemetry::starts::Starts;
use engine::{Engine, Input};

/// How long the end may take until what is left is left to the kernel.
const STOP_WAIT: Duration = Duration::from_secs(3);
/// How often the configuration file is looked at. What is seen twice alike is
/// loaded, half a second after it is written; that leaves the kill switch time
/// to detach twenty programs one by one, each of which the kernel waits for.
const CONFIG_INTERVAL: Duration = Duration::from_millis(250);
/// How long the start may take until most of it is over.
const START_TAKES: Duration = Duration::from_secs(5);
/// How often memory is given back after that.
const MEMORY_INTERVAL: Duration = Duration::from_secs(60);

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A privilege is missing.
    #[error(
        "missing {}; run as root, or give exactly these", 
        missing.iter().map(|needed| format!("{} ({})", needed.name, needed.reason)).collect::<Vec<_>>().join(", ")
    )]
    Capabilities {
        /// What is missing.
        missing: Vec<capabilities::Needed>,
    },
    /// The kernel programs.
    #[error(transparent)]
    Load(#[from] load::Error),
    /// The cgroup hierarchy.
    #[error(transparent)]
    Hierarchy(#[from] hierarchy::Error),
    /// `/proc`.
    #[error(transparent)]
    Proc(#[from] procfs::Error),
    /// The HTTP port.
    #[error(
        "cannot listen on {address}: {source}; is another strata running? choose another with --listen"
    )]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The unix socket.
    #[error(transparent)]
    Socket(#[from] socket::bind::Error),
    /// The async runtime or its signals.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

/// Runs the agent until it is told to stop.
///
/// # Errors
///
/// If it cannot start.
pub fn run(config: &Config, sources: Sources) -> Result<(), Error> {
    crate::telemetry::log::start(
        config.log.level.as_str(),
        config.log.format == config::LogFormat::Json,
    );
    block_on(serve(config, sources))?
}

/// Lets only warnings through, for a verb that is not the agent.
pub fn log_warnings() {
    crate::telemetry::log::start(config::LogLevel::Warn.as_str(), false);
}

/// Runs a future, and the tasks that it starts, on this thread.
///
/// # Errors
///
/// If there can be no runtime.
pub fn block_on<F: Future>(future: F) -> Result<F::Output, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, future))
}

/// What to load, on this host.
///
/// # Errors
///
/// If the cgroup hierarchy cannot be found.
pub fn load_options(config: &Config) -> Result<(Options, Hierarchy), Error> {
    let proc = ProcRoot::new(&config.proc_root);
    let hierarchy = Hierarchy::detect(&proc, config.cgroup_root.as_deref())?;
    let (cgroup_v1_subsys, hierarchy_id) = match &hierarchy {
        Hierarchy::V1 { subsys_index, hierarchy_id, .. } => (Some(*subsys_index), *hierarchy_id),
        Hierarchy::V2 { .. } => (None, 0),
    };
    let facts = Facts {
        cgroup_v1_subsys,
        hierarchy_id,
        agent_tgid: std::process::id(),
        tick_ns: clock::tick_ns(),
        has_spans: config.traces.endpoint.is_some(),
    };
    Ok((Options { ring_bytes: config.ring.bytes, facts }, hierarchy))
}

async fn serve(config: &Config, sources: Sources) -> Result<(), Error> {
    // What needs no answer from anybody comes first.
    has_privileges()?;
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .map_err(|source| Error::Listen { address: config.listen, source })?;
    let bound = Bound::new(&config.socket, config.socket_group.as_deref()).await?;
    let headers = sources.environment.otlp_headers();
    let engine = Engine::start(config, begin(config), Some(&headers))?;
    let (stop, stopping) = watch::channel(false);

    let state = Arc::new(AdminState {
        scraper: Scraper::new(engine.source.clone(), detail(config)),
        readiness: engine.readiness.clone(),
    });
    let reload = tokio::task::spawn_local(watch_config(
        Reloader::new(sources, config.clone()),
        engine.inputs.clone(),
        state.clone(),
        engine.own.clone(),
        engine.labels.clone(),
        stopping.clone(),
    ));
    let http = tokio::task::spawn_local(admin::server::serve(
        listener,
        state,
        admin::server::Limits::default(),
        until(stopping.clone()),
    ));
    let socket = tokio::task::spawn_local(socket::server::serve(
        bound,
        engine.sources(),
        socket::server::Limits::default(),
        until(stopping),
    ));
    let heap = tokio::task::spawn_local(give_back_memory());
    tracing::info!(address = %config.listen, socket = %config.socket.display(), "serving");

    wait_for_signal().await.map_err(Error::Runtime)?;
    tracing::info!("stopping");
    let _ = stop.send(true);
    heap.abort();
    let _ = tokio::time::timeout(STOP_WAIT, async {
        // It holds an end of the queue that the engine's end waits for.
        let _ = reload.await;
        engine.stop().await;
        let _ = http.await;
        let _ = socket.await;
    })
    .await;
    tracing::info!("stopped");
    Ok(())
}

/// Gives memory back that is free: first what the start took (the kernel's
/// types are read, the pods listed), then what lanes took that came back.
async fn give_back_memory() {
    tokio::time::sleep(START_TAKES).await;
    let mut ticks = tokio::time::interval(MEMORY_INTERVAL);
    loop {
        // The first one is at once.
        ticks.tick().await;
        heap::give_back();
    }
}

fn has_privileges() -> Result<(), Error> {
    let missing = capabilities::missing();
    if missing.is_empty() { Ok(()) } else { Err(Error::Capabilities { missing }) }
}

/// Looks at the configuration file, and loads it again when it changes or when
/// somebody sends SIGHUP.
async fn watch_config(
    mut reloader: Reloader,
    worker: mpsc::Sender<Input>,
    state: Arc<AdminState>,
    own: Arc<Own>,
    labels: names::LabelKeys,
    mut stopping: watch::Receiver<bool>,
) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return tracing::error!(%error, "cannot watch the configuration"),
    };
    loop {
        let outcome = tokio::select! {
            _ = stopping.changed() => return,
            _ = hangup.recv() => Some(reloader.load()),
            () = tokio::time::sleep(CONFIG_INTERVAL) => reloader.poll(),
        };
        let reload = match outcome {
            None => continue,
            Some(Outcome::Refused(error)) => {
                own.set_config_refused();
                let errors = error.messages().join("; ");
                tracing::error!(errors, "configuration refused; the one before stays");
                continue;
            }
            Some(Outcome::Loaded(reload)) => reload,
        };
        own.set_config_loaded(clock::unix_ns());
        if !reload.need_restart.is_empty() {
            let keys = reload.need_restart.join(", ");
            tracing::warn!(keys, "configuration changed; these keys need a restart");
        }
        if reload.applied.is_empty() {
            continue;
        }
        tracing::info!(keys = reload.applied.join(", "), "configuration changed");
        state.scraper.set_detail(detail(reloader.config()));
        names::set_labels(&labels, &reloader.config().watch);
        let config = Box::new(reloader.config().clone());
        if worker.send(Input::Configured(config, reload)).await.is_err() {
            return;
        }
    }
}

const fn detail(config: &Config) -> export::Detail {
    match config.detail {
        config::Detail::Normal => export::Detail::Normal,
        config::Detail::Full => export::Detail::Full,
    }
}

/// Notes the start, after which a crash is one.
fn begin(config: &Config) -> Option<Starts> {
    let path = Starts::path_of(&config.socket);
    if let Some(directory) = path.parent() {
        // An error shows when the file is written.
        let _ = std::fs::create_dir_all(directory);
    }
    match Starts::begin(path.clone(), clock::monotonic_ns() / 1_000_000_000) {
        Ok(starts) => Some(starts),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "cannot note the start; crashes are not counted");
            None
        }
    }
}

async fn until(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone: stop as well.
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}

async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
