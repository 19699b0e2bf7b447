//! The pipeline: programs, reader and worker, without anybody who asks them.
//!
//! Separate from the agent's life because `strata top` runs it too, where no
//! agent does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::peers::Asking;
use super::{Error, load_options, names, peers, traces};
use crate::admin::readiness::Readiness;
use crate::admin::socket::server::Sources;
use crate::aggregate::channel::{
    SnapshotPublisher, SnapshotRequest, SnapshotSource, snapshot_channel,
};
use crate::attribution::attributor::Attributor;
use crate::attribution::procfs::ProcRoot;
use crate::config::{Config, Headers, Reload};
use crate::decode::decode;
use crate::event::Event;
use crate::event::peer::{PeersTold, PeersWanted};
use crate::event::pod::PodUpdate;
use crate::export::json::Feed;
use crate::load;
use crate::load::policies::Policies;
use crate::source::counters::Counters;
use crate::source::edges::Edges;
use crate::source::ring::Ring;
use crate::source::stats::Stats;
use crate::sys::clock;
use crate::sys::readable::Readable;
use crate::tap::{Orders, TapSource};
use crate::telemetry::Own;
use crate::telemetry::starts::Starts;
use crate::worker::{Parts, Worker};

/// Batches that wait between reader and worker, at most.
const QUEUE_BATCHES: usize = 32;
/// Events of a batch, at most: with the bound above 7 MB.
const BATCH_EVENTS: usize = 1024;
/// An idle reader sleeps up to this long; a ring that is half full wakes it.
const MAX_DRAIN_INTERVAL: Duration = Duration::from_millis(250);
/// How often idle connections are swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Sweeps from one look for services and processes that are gone to the next:
/// it reads a file of each watched process.
const EXPIRE_SWEEPS: u32 = 10;
/// Sweeps from one look at the edges to the next: it copies all of them.
const EDGE_SWEEPS: u32 = 5;
/// Records of one drain that make the reader come back soon: a sixteenth of
/// the default ring.
const BUSY_RECORDS: usize = 2_048;

/// How often what waits for late calls is looked at, while somebody traces.
const TAP_INTERVAL: Duration = Duration::from_millis(100);

/// What goes to the worker.
pub(super) enum Input {
    /// Events, in order.
    Events(Vec<Event>),
    /// What the API server said of pods.
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(dead_code, reason = "without the feature nobody asks it")
    )]
    Pods(PodUpdate),
    /// Somebody can ask about peers on other nodes.
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(dead_code, reason = "without the feature nobody asks")
    )]
    PeersWanted(oneshot::Sender<PeersWanted>),
    /// What was told of them.
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(dead_code, reason = "without the feature nobody asks")
    )]
    PeersTold(PeersTold),
    /// Another configuration, and what of it is to be taken up.
    Configured(Box<Config>, Reload),
    /// Everything that was in the ring when a snapshot was asked for has been
    /// sent.
    Drained,
}

/// What is asked of the worker from outside of the flow.
struct Asked {
    /// Snapshots.
    publisher: SnapshotPublisher,
    /// Requests as they finish.
    orders: Orders,
    /// Who asks about peers, before a snapshot.
    prompt: Arc<Notify>,
}

/// See the module.
pub(super) struct Engine {
    /// For who asks.
    pub(super) source: SnapshotSource,
    /// For who traces.
    taps: TapSource,
    /// Whether it has begun.
    pub(super) readiness: Arc<Readiness>,
    /// The worker's queue.
    pub(super) inputs: mpsc::Sender<Input>,
    /// Its counters.
    pub(super) own: Arc<Own>,
    /// Labels that pods are told with.
    pub(super) labels: names::LabelKeys,
    naming: Option<JoinHandle<()>>,
    asking: Option<JoinHandle<()>>,
    sending: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
    reader: JoinHandle<()>,
}

impl Engine {
    /// Loads, attaches, looks at what is there, and starts the tasks. `starts`
    /// counts crashes, for an agent that is started again and again; `headers`
    /// are for the endpoint of spans, for one that sends any.
    pub(super) fn start(
        config: &Config,
        starts: Option<Starts>,
        headers: Option<&Headers>,
    ) -> Result<Self, Error> {
        let is_held = starts.as_ref().is_some_and(Starts::is_held);
        let (ring, mut worker, own) = match build(config, is_held) {
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
        let (taps, orders) = crate::tap::channel();
        let (stop, stopping) = watch::channel(false);
        let (events, inputs) = mpsc::channel(QUEUE_BATCHES);
        let (ask_drain, drains) = mpsc::channel(4);
        let sending = headers.and_then(|headers| {
            traces::begin(config, headers, &mut worker, &own, stopping.clone())
        });
        let (labels, naming) = names::ask(config, &own, &events);
        let asking = peers::ask(config, &mut worker, &own, &events);
        let interval = config.drain.interval;
        let wake_ups = ring.wake_ups().and_then(Readable::new).map_err(Error::Runtime)?;
        let reader = tokio::task::spawn_local(read(
            ring,
            wake_ups,
            interval,
            drains,
            events.clone(),
            own.clone(),
        ));
        let work = tokio::task::spawn_local(work(
            worker,
            inputs,
            ask_drain,
            Asked { publisher, orders, prompt: asking.prompter() },
            readiness.clone(),
            starts,
            stopping,
        ));
        Ok(Self {
            source,
            taps,
            readiness,
            inputs: events,
            own,
            labels,
            naming,
            asking: asking.task,
            sending,
            stop,
            work,
            reader,
        })
    }

    /// What its socket's connections are answered from.
    pub(super) fn sources(&self) -> Sources {
        Sources { feed: Feed::new(self.source.clone()), taps: self.taps.clone() }
    }

    /// Ends in flow order: the worker detaches and asks for the last drain; the
    /// reader ends when nobody can ask any more.
    pub(super) async fn stop(self) {
        self.readiness.set_stopping();
        let _ = self.stop.send(true);
        for task in [self.naming, self.asking].into_iter().flatten() {
            task.abort();
        }
        drop(self.inputs);
        let _ = self.work.await;
        let _ = self.reader.await;
        if let Some(sending) = self.sending {
            let _ = sending.await;
        }
    }
}

/// Loads, takes everything apart for its owners, and attaches, unless lanes are
/// held off because of crashes.
fn build(config: &Config, is_held: bool) -> Result<(Ring, Worker, Arc<Own>), Error> {
    let (options, hierarchy) = load_options(config)?;
    let mut loaded = load::load(&options)?;
    let ring = Ring::new(&mut loaded)?;
    let mut policies = Policies::new(&mut loaded)?;
    let counters = Counters::new(&mut loaded)?;
    let edges = Edges::new(&mut loaded)?;
    let stats = Stats::new(&mut loaded)?;
    policies.set_paths(config.paths.keep, &config.paths.ignore);
    let proc = ProcRoot::new(&config.proc_root);
    let mut attributor =
        Attributor::new(hierarchy, proc.clone(), config.watch.clone(), std::process::id());
    let own = Arc::new(Own::default());
    own.set_config_loaded(clock::unix_ns());
    if names::are_asked(config) {
        attributor.expect_pods();
        own.metadata.set_on();
    }
    let kernel = proc.read_text("sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let own_parts = own.clone();
    let parts =
        Parts { loaded, policies, counters, edges, stats, attributor, proc, own: own_parts };
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
            let (mut batch, mut points) = (Vec::new(), Vec::new());
            let count = ring.drain(BATCH_EVENTS, |bytes| match decode(bytes) {
                Ok(point @ Event::Point(_)) => points.push(point),
                Ok(event) => batch.push(event),
                Err(reason) => own.count_malformed(reason),
            });
            total += count;
            hand_over(batch, &events, &own);
            // Points leave half of the queue to requests.
            if events.capacity() > QUEUE_BATCHES / 2 {
                hand_over(points, &events, &own);
            } else {
                own.count_queue_full(&points);
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
        // A scrape drains first, and what must be acted on wakes the reader, so
        // nothing waits for this but room in the ring.
        pause = if total >= BUSY_RECORDS { interval } else { (pause * 2).min(MAX_DRAIN_INTERVAL) };
    }
}

/// Gives a batch to the worker, or counts it as dropped.
fn hand_over(batch: Vec<Event>, events: &mpsc::Sender<Input>, own: &Own) {
    if batch.is_empty() {
        return;
    }
    if let Err(mpsc::error::TrySendError::Full(input) | mpsc::error::TrySendError::Closed(input)) =
        events.try_send(Input::Events(batch))
        && let Input::Events(events) = input
    {
        own.count_queue_full(&events);
    }
}

/// The worker's loop.
async fn work(
    mut worker: Worker,
    mut inputs: mpsc::Receiver<Input>,
    ask_drain: mpsc::Sender<()>,
    asked: Asked,
    readiness: Arc<Readiness>,
    mut starts: Option<Starts>,
    mut stopping: watch::Receiver<bool>,
) {
    let Asked { mut publisher, mut orders, prompt } = asked;
    let mut tick = tokio::time::interval(SWEEP_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tap_tick = tokio::time::interval(TAP_INTERVAL);
    tap_tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pending: Option<SnapshotRequest> = None;
    // What is drained is not shown before peers have been asked about.
    let mut is_drained = false;
    let mut peers_until: Option<Instant> = None;
    let mut sweeps = 0u32;
    loop {
        tokio::select! {
            biased;
            input = inputs.recv() => match input {
                Some(Input::Events(mut events)) => worker.take(&mut events),
                Some(Input::Pods(update)) => worker.take_pods(update),
                Some(Input::Configured(config, reload)) => worker.configure(&config, &reload),
                Some(Input::PeersWanted(answer)) => {
                    // An error: who asked has ended.
                    let _ = answer.send(worker.wanted_peers());
                }
                Some(Input::PeersTold(told)) => {
                    worker.take_peers(&told);
                    peers_until = None;
                }
                Some(Input::Drained) => is_drained = true,
                None => return,
            },
            () = until(peers_until), if peers_until.is_some() => peers_until = None,
            request = publisher.asked(), if pending.is_none() => {
                pending = Some(request);
                worker.sweep();
                peers_until = Asking::prompt(&prompt, &worker);
                let _ = ask_drain.try_send(());
            }
            order = orders.next() => worker.follow(order),
            _ = tap_tick.tick(), if worker.is_tapped() || worker.has_spans() => {
                worker.tick_tap();
                worker.tick_spans();
            }
            _ = tick.tick() => {
                worker.sweep();
                worker.tick_pods();
                sweeps = sweeps.wrapping_add(1);
                if sweeps.is_multiple_of(EDGE_SWEEPS) {
                    worker.sweep_edges();
                }
                if sweeps.is_multiple_of(EXPIRE_SWEEPS) {
                    worker.expire();
                }
                worker.measure_steal();
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
        if is_drained && peers_until.is_none() {
            is_drained = false;
            publisher.publish(Arc::new(worker.snapshot()), pending.take());
            readiness.set_first_sweep_done();
        }
    }
    // The last words: detach, drain, publish.
    worker.detach();
    let _ = ask_drain.send(()).await;
    while let Some(input) = inputs.recv().await {
        match input {
            Input::Events(mut events) => worker.take(&mut events),
            Input::Configured(..)
            | Input::Pods(_)
            | Input::PeersWanted(_)
            | Input::PeersTold(_) => {}
            Input::Drained => break,
        }
    }
    worker.end_spans();
    if let Some(starts) = starts {
        starts.stop();
    }
    publisher.publish(Arc::new(worker.snapshot()), pending.take());
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
