//! The composition root: builds in flow order, spawns, waits, drains. The only
//! file that knows every stage, and the only one that spawns tasks.
//!
//! Building can fail; running cannot. All tasks share one thread: the agent
//! does little, and what it does needs no locks that way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::admin::readiness::Readiness;
use crate::admin::{self, AdminState};
use crate::aggregate::channel::{SnapshotPublisher, SnapshotRequest, snapshot_channel};
use crate::aggregate::worker::{Parts, Worker};
use crate::attribution::attributor::Attributor;
use crate::attribution::hierarchy::{self, Hierarchy};
use crate::attribution::procfs::{self, ProcRoot};
use crate::config::{self, Config, Outcome, Reload, Reloader, Sources};
use crate::decode::decode;
use crate::event::Event;
use crate::export;
use crate::export::scrape::Scraper;
use crate::host::capabilities;
use crate::load::globals::Facts;
use crate::load::policies::Policies;
use crate::load::{self, Options};
use crate::source::counters::Counters;
use crate::source::ring::Ring;
use crate::source::stats::Stats;
use crate::sys::clock;
use crate::telemetry::Own;
use crate::telemetry::starts::Starts;

/// Batches that wait between reader and worker, at most.
const QUEUE_BATCHES: usize = 32;
/// Events of a batch, at most: with the bound above 7 MB.
const BATCH_EVENTS: usize = 1024;
/// An idle reader sleeps up to this long; the ring holds more than that.
const MAX_DRAIN_INTERVAL: Duration = Duration::from_millis(100);
/// How often idle connections are swept and gone services expire.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How often the configuration file is looked at. What is seen twice alike is
/// loaded, so that the kill switch acts a second after it is written.
const CONFIG_INTERVAL: Duration = Duration::from_millis(500);

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
    /// The async runtime or its signals.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

/// What goes from the reader to the worker.
enum Input {
    /// Events, in order.
    Events(Vec<Event>),
    /// Everything that was in the ring when a snapshot was asked for has been
    /// sent.
    Drained,
    /// Another configuration, with what it changes.
    Configured(Box<Config>, Reload),
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, serve(config, sources))
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
    let facts = Facts { cgroup_v1_subsys, hierarchy_id, agent_tgid: std::process::id() };
    Ok((Options { ring_bytes: config.ring.bytes, facts }, hierarchy))
}

async fn serve(config: &Config, sources: Sources) -> Result<(), Error> {
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .map_err(|source| Error::Listen { address: config.listen, source })?;
    let starts = begin(config);
    let is_held = starts.as_ref().is_some_and(Starts::is_held);
    let (ring, worker, own) = match build(config, is_held) {
        Ok(built) => built,
        Err(error) => {
            // It could not start: that is no crash.
            if let Some(starts) = starts {
                starts.stop();
            }
            return Err(error);
        }
    };
    let readiness = Arc::new(Readiness::default());
    readiness.set_lanes_attached();
    let (source, publisher) = snapshot_channel();
    let (stop, stopping) = watch::channel(false);
    let (events, inputs) = mpsc::channel(QUEUE_BATCHES);
    let (ask_drain, drains) = mpsc::channel(4);

    let state = Arc::new(AdminState {
        scraper: Scraper::new(source, detail(config)),
        readiness: readiness.clone(),
    });
    let interval = config.drain.interval;
    let reloader = Reloader::new(sources, config.clone());
    let reload = tokio::task::spawn_local(watch_config(
        reloader,
        events.clone(),
        state.clone(),
        own.clone(),
        stopping.clone(),
    ));
    let reader = tokio::task::spawn_local(read(ring, interval, drains, events, own.clone()));
    let work = tokio::task::spawn_local(work(
        worker,
        inputs,
        ask_drain,
        publisher,
        readiness.clone(),
        starts,
        stopping.clone(),
    ));
    let limits = admin::server::Limits::default();
    let http = tokio::task::spawn_local(admin::server::serve(
        listener,
        state,
        limits,
        until(stopping.clone()),
    ));
    tracing::info!(address = %config.listen, "serving");

    wait_for_signal().await.map_err(Error::Runtime)?;
    tracing::info!("stopping");
    readiness.set_stopping();
    // In flow order: the worker detaches and asks for the last drain; the
    // reader ends when nobody can ask any more.
    let _ = stop.send(true);
    let _ = tokio::time::timeout(Duration::from_secs(3), async {
        let _ = reload.await;
        let _ = work.await;
        let _ = reader.await;
        let _ = http.await;
    })
    .await;
    tracing::info!("stopped");
    Ok(())
}

/// Loads, takes everything apart for its owners, and attaches, unless lanes are
/// held off because of crashes.
fn build(config: &Config, is_held: bool) -> Result<(Ring, Worker, Arc<Own>), Error> {
    let (options, hierarchy) = load_options(config)?;
    let missing = capabilities::missing();
    if !missing.is_empty() {
        return Err(Error::Capabilities { missing });
    }
    let mut loaded = load::load(&options)?;
    let ring = Ring::new(&mut loaded)?;
    let mut policies = Policies::new(&mut loaded)?;
    let counters = Counters::new(&mut loaded)?;
    let stats = Stats::new(&mut loaded)?;
    policies.set_paths(config.paths.keep, &config.paths.ignore);
    let proc = ProcRoot::new(&config.proc_root);
    let attributor =
        Attributor::new(hierarchy, proc.clone(), config.watch.clone(), std::process::id());
    let own = Arc::new(Own::default());
    own.set_config_loaded(clock::unix_ns());
    let kernel = proc.read_text("sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let parts = Parts { loaded, policies, counters, stats, attributor, own: own.clone() };
    let mut worker = Worker::new(parts, config, kernel);
    if is_held {
        worker.hold(true);
        tracing::error!(
            file = %Starts::path_of(&config.socket).display(),
            "crashed three times in ten minutes: lanes are held off for ten minutes, or until the file is deleted"
        );
    }
    worker.start()?;
    Ok((ring, worker, own))
}

/// The reader: drains the ring, never waits for the worker.
async fn read(
    mut ring: Ring,
    interval: Duration,
    mut drains: mpsc::Receiver<()>,
    events: mpsc::Sender<Input>,
    own: Arc<Own>,
) {
    let mut pause = interval;
    loop {
        let asked = tokio::select! {
            asked = drains.recv() => match asked {
                Some(()) => true,
                None => return,
            },
            () = tokio::time::sleep(pause) => false,
        };
        let mut total = 0;
        loop {
            let mut batch = Vec::new();
            let count = ring.drain(BATCH_EVENTS, |bytes| match decode(bytes) {
                Ok(event) => batch.push(event),
                Err(reason) => own.count_malformed(reason),
            });
            total += count;
            if !batch.is_empty()
                && let Err(error) = events.try_send(Input::Events(batch))
            {
                let (mpsc::error::TrySendError::Full(input)
                | mpsc::error::TrySendError::Closed(input)) = error;
                if let Input::Events(events) = input {
                    own.count_queue_full(&events);
                }
            }
            if count < BATCH_EVENTS {
                break;
            }
            // The worker runs on this thread: let it catch up.
            tokio::task::yield_now().await;
        }
        own.set_queue_depth(QUEUE_BATCHES - events.capacity());
        if asked && events.send(Input::Drained).await.is_err() {
            return;
        }
        pause = if total > 0 { interval } else { (pause * 2).min(MAX_DRAIN_INTERVAL) };
    }
}

/// Looks at the configuration file, and loads it again when it changes or when
/// somebody sends SIGHUP.
async fn watch_config(
    mut reloader: Reloader,
    worker: mpsc::Sender<Input>,
    state: Arc<AdminState>,
    own: Arc<Own>,
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

/// The worker's loop.
async fn work(
    mut worker: Worker,
    mut inputs: mpsc::Receiver<Input>,
    ask_drain: mpsc::Sender<()>,
    mut publisher: SnapshotPublisher,
    readiness: Arc<Readiness>,
    mut starts: Option<Starts>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut tick = tokio::time::interval(SWEEP_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pending: Option<SnapshotRequest> = None;
    loop {
        tokio::select! {
            biased;
            input = inputs.recv() => match input {
                Some(Input::Events(events)) => worker.take(&events),
                Some(Input::Configured(config, reload)) => worker.configure(&config, &reload),
                Some(Input::Drained) => {
                    publisher.publish(Arc::new(worker.snapshot()), pending.take());
                    readiness.set_first_sweep_done();
                }
                None => return,
            },
            request = publisher.asked(), if pending.is_none() => {
                pending = Some(request);
                worker.sweep();
                let _ = ask_drain.try_send(());
            }
            _ = tick.tick() => {
                worker.sweep();
                worker.expire();
                worker.govern();
                let now_s = clock::monotonic_ns() / 1_000_000_000;
                if let Some(released) = starts.as_mut().and_then(|starts| starts.tick(now_s)) {
                    tracing::warn!(why = released.as_str(), "lanes are not held off any more");
                    worker.hold(false);
                }
                if pending.is_none() && readiness.missing().is_some() {
                    let _ = ask_drain.try_send(());
                }
            }
            _ = stopping.changed() => break,
        }
    }
    // The last words: detach, drain, publish.
    worker.detach();
    let _ = ask_drain.send(()).await;
    while let Some(input) = inputs.recv().await {
        match input {
            Input::Events(events) => worker.take(&events),
            Input::Configured(..) => {}
            Input::Drained => break,
        }
    }
    if let Some(starts) = starts {
        starts.stop();
    }
    publisher.publish(Arc::new(worker.snapshot()), pending.take());
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
