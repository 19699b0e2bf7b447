//! The composition root: builds in flow order, spawns, waits, drains. The only
//! file that knows every stage, and the only one that spawns tasks.
//!
//! Building can fail; running cannot. All tasks share one thread: the agent
//! does little, and what it does needs no locks that way.

pub mod client;
pub mod examine;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::admin::readiness::Readiness;
use crate::admin::socket::{self, bind::Bound};
use crate::admin::{self, AdminState};
use crate::aggregate::channel::{
    SnapshotPublisher, SnapshotRequest, SnapshotSource, snapshot_channel,
};
use crate::attribution::attributor::Attributor;
use crate::attribution::hierarchy::{self, Hierarchy};
use crate::attribution::procfs::{self, ProcRoot};
use crate::config::{self, Config};
use crate::decode::decode;
use crate::event::Event;
use crate::export;
use crate::export::json::Feed;
use crate::export::scrape::Scraper;
use crate::host::capabilities;
use crate::load::globals::Facts;
use crate::load::policies::Policies;
use crate::load::{self, Options};
use crate::probes::Lane;
use crate::source::counters::Counters;
use crate::source::ring::Ring;
use crate::source::stats::Stats;
use crate::sys::readable::Readable;
use crate::telemetry::{Dropped, Own};
use crate::worker::{Parts, Worker};

/// Batches that wait between reader and worker, at most.
const QUEUE_BATCHES: usize = 32;
/// Events of a batch, at most: with the bound above 7 MB.
const BATCH_EVENTS: usize = 1024;
/// An idle reader sleeps up to this long; the ring holds more than that.
const MAX_DRAIN_INTERVAL: Duration = Duration::from_millis(100);
/// How often idle connections are swept and gone services expire.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long the end may take until what is left is left to the kernel.
const STOP_WAIT: Duration = Duration::from_secs(3);

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

/// What goes from the reader to the worker.
enum Input {
    /// Events, in order.
    Events(Vec<Event>),
    /// Everything that was in the ring when a snapshot was asked for has been
    /// sent.
    Drained,
}

/// Runs the agent until it is told to stop.
///
/// # Errors
///
/// If it cannot start.
pub fn run(config: &Config) -> Result<(), Error> {
    crate::telemetry::log::start(
        config.log.level.as_str(),
        config.log.format == config::LogFormat::Json,
    );
    block_on(serve(config))?
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

/// Lanes that the configuration has on.
#[must_use]
pub fn lanes(config: &Config) -> [bool; Lane::ALL.len()] {
    let on = &config.lanes;
    Lane::ALL.map(|lane| {
        !config.off
            && match lane {
                Lane::Sockets => on.sockets,
                Lane::Cpu => on.cpu,
                Lane::Process => on.process,
                Lane::Tcp => on.tcp,
                Lane::Syscalls => on.syscalls,
            }
    })
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
        ..Facts::default()
    };
    Ok((Options { lanes: lanes(config), ring_bytes: config.ring.bytes, facts }, hierarchy))
}

async fn serve(config: &Config) -> Result<(), Error> {
    // What needs no answer from anybody comes first.
    has_privileges()?;
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .map_err(|source| Error::Listen { address: config.listen, source })?;
    let bound = Bound::new(&config.socket, config.socket_group.as_deref()).await?;
    let engine = Engine::start(config)?;
    let (stop, stopping) = watch::channel(false);

    let detail = match config.detail {
        config::Detail::Normal => export::Detail::Normal,
        config::Detail::Full => export::Detail::Full,
    };
    let state = Arc::new(AdminState {
        scraper: Scraper::new(engine.source.clone(), detail),
        readiness: engine.readiness.clone(),
    });
    let http = tokio::task::spawn_local(admin::server::serve(
        listener,
        state,
        admin::server::Limits::default(),
        until(stopping.clone()),
    ));
    let socket = tokio::task::spawn_local(socket::server::serve(
        bound,
        Feed::new(engine.source.clone()),
        socket::server::Limits::default(),
        until(stopping),
    ));
    tracing::info!(address = %config.listen, socket = %config.socket.display(), "serving");

    wait_for_signal().await.map_err(Error::Runtime)?;
    tracing::info!("stopping");
    let _ = stop.send(true);
    let _ = tokio::time::timeout(STOP_WAIT, async {
        engine.stop().await;
        let _ = http.await;
        let _ = socket.await;
    })
    .await;
    tracing::info!("stopped");
    Ok(())
}

/// Programs, reader and worker, without anybody who asks them.
struct Engine {
    source: SnapshotSource,
    readiness: Arc<Readiness>,
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
    reader: JoinHandle<()>,
}

impl Engine {
    /// Loads, attaches, looks at what is there, and starts the tasks.
    fn start(config: &Config) -> Result<Self, Error> {
        let (ring, mut worker, own) = build(config)?;
        let readiness = Arc::new(Readiness::default());
        readiness.set_lanes_attached();
        let (source, publisher) = snapshot_channel();
        let (stop, stopping) = watch::channel(false);
        let (events, inputs) = mpsc::channel(QUEUE_BATCHES);
        let (ask_drain, drains) = mpsc::channel(4);
        worker.start()?;
        let interval = config.drain.interval;
        let wake_ups = ring.wake_ups().and_then(Readable::new).map_err(Error::Runtime)?;
        let reader = tokio::task::spawn_local(read(ring, wake_ups, interval, drains, events, own));
        let work = tokio::task::spawn_local(work(
            worker,
            inputs,
            ask_drain,
            publisher,
            readiness.clone(),
            stopping,
        ));
        Ok(Self { source, readiness, stop, work, reader })
    }

    /// Ends in flow order: the worker detaches and asks for the last drain; the
    /// reader ends when nobody can ask any more.
    async fn stop(self) {
        self.readiness.set_stopping();
        let _ = self.stop.send(true);
        let _ = self.work.await;
        let _ = self.reader.await;
    }
}

fn has_privileges() -> Result<(), Error> {
    let missing = capabilities::missing();
    if missing.is_empty() { Ok(()) } else { Err(Error::Capabilities { missing }) }
}

/// Loads, attaches, and takes everything apart for its owners.
fn build(config: &Config) -> Result<(Ring, Worker, Arc<Own>), Error> {
    let (options, hierarchy) = load_options(config)?;
    let mut loaded = load::load(&options)?;
    let ring = Ring::new(&mut loaded)?;
    let mut policies = Policies::new(&mut loaded)?;
    let counters = Counters::new(&mut loaded)?;
    let stats = Stats::new(&mut loaded)?;
    policies.set_paths(config.paths.keep, &config.paths.ignore);
    loaded.attach();
    for lane in Lane::ALL {
        let status = load::status::lane_status(lane, loaded.statuses(), true);
        tracing::info!(
            lane = lane.as_str(),
            state = status.state.as_str(),
            why = status.why,
            "lane"
        );
    }
    let proc = ProcRoot::new(&config.proc_root);
    let attributor =
        Attributor::new(hierarchy, proc.clone(), config.watch.clone(), std::process::id());
    let own = Arc::new(Own::default());
    let kernel = proc.read_text("sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let parts = Parts { loaded, policies, counters, stats, attributor, own: own.clone() };
    Ok((ring, Worker::new(parts, kernel), own))
}

/// The reader: drains the ring, never waits for the worker.
async fn read(
    mut ring: Ring,
    mut wake_ups: Readable,
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
            _ = wake_ups.wait() => false,
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
                drop_events(&own, input);
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

fn drop_events(own: &Own, input: Input) {
    let Input::Events(events) = input else { return };
    for event in events {
        match event {
            Event::Request(request) => {
                own.count_dropped(Dropped::QueueFull, 1);
                own.count_dropped_request(request.service);
            }
            Event::Process(_) | Event::Cgroup(_) => own.count_dropped(Dropped::QueueFullChange, 1),
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
            Input::Drained => break,
        }
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
