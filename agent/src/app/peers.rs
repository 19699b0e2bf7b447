//! Starts who asks about peers on other nodes; and `strata peers`, whom they ask.
//!
//! Separate so that an agent that is built without the feature `kubernetes`
//! differs in this file and in `names` alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::engine::Input;
use crate::config::Config;
use crate::telemetry::Own;
use crate::worker::Worker;

/// How long a snapshot waits for an answer. The server is asked by way of the
/// cluster's network, and has little to do: a few milliseconds.
const ANSWER_WAIT: Duration = Duration::from_millis(30);

/// Whoever asks, as the worker's loop knows it.
pub(super) struct Asking {
    prompt: Arc<Notify>,
    /// The task that asks; `None`: nobody is asked.
    pub(super) task: Option<JoinHandle<()>>,
}

impl Asking {
    /// Asks now, if an answer may change anything, and says until when to wait
    /// for it.
    pub(super) fn prompt(prompt: &Notify, worker: &Worker) -> Option<Instant> {
        worker.awaits_peers().then(|| {
            prompt.notify_one();
            Instant::now() + ANSWER_WAIT
        })
    }

    /// For the worker's loop.
    pub(super) fn prompter(&self) -> Arc<Notify> {
        Arc::clone(&self.prompt)
    }
}

/// Asks from now on, and sends the worker what it hears.
#[cfg(feature = "kubernetes")]
pub(super) fn ask(
    config: &Config,
    worker: &mut Worker,
    own: &Arc<Own>,
    inputs: &mpsc::Sender<Input>,
) -> Asking {
    use tokio::sync::oneshot;
    let prompt = Arc::new(Notify::new());
    let task = config.network.peers.clone().map(|url| {
        own.peers.set_on();
        worker.expect_peers();
        let node = config.kubernetes.node_name.clone().unwrap_or_default();
        let place = crate::peers::client::Place { url, node };
        let (telling, wanting) = (inputs.clone(), inputs.clone());
        tokio::task::spawn_local(crate::peers::client::run(
            place,
            Arc::clone(own),
            Arc::clone(&prompt),
            async move || {
                let (answer, answered) = oneshot::channel();
                wanting.send(Input::PeersWanted(answer)).await.ok()?;
                answered.await.ok()
            },
            async move |told| telling.send(Input::PeersTold(told)).await.is_ok(),
        ))
    });
    Asking { prompt, task }
}

/// Nobody is asked.
#[cfg(not(feature = "kubernetes"))]
pub(super) fn ask(
    config: &Config,
    _worker: &mut Worker,
    _own: &Arc<Own>,
    _inputs: &mpsc::Sender<Input>,
) -> Asking {
    if config.network.peers.is_some() {
        tracing::warn!(
            "built without the feature `kubernetes`: peers on other nodes go without names"
        );
    }
    Asking { prompt: Arc::default(), task: None }
}

/// Connections at a time: those of a round last milliseconds, and five thousand
/// agents begin a thousand of them a second.
#[cfg(feature = "kubernetes")]
const CONNECTIONS: usize = 256;
/// How often memory is given back.
#[cfg(feature = "kubernetes")]
const MEMORY_INTERVAL: Duration = Duration::from_secs(30);

/// Runs `strata peers` until it is told to stop.
///
/// # Errors
///
/// If it cannot start.
#[cfg(feature = "kubernetes")]
pub fn serve(config: &Config) -> Result<(), super::Error> {
    crate::telemetry::log::start(
        config.log.level.as_str(),
        config.log.format == crate::config::LogFormat::Json,
    );
    super::block_on(answer(config))?
}

#[cfg(feature = "kubernetes")]
async fn answer(config: &Config) -> Result<(), super::Error> {
    use crate::admin::server::{Limits, serve_with};
    use crate::peers::server::{State, Touch};
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .map_err(|source| super::Error::Listen { address: config.listen, source })?;
    let touch = Touch::default();
    let state = Arc::new(State::new(touch.clone()));
    let (kubeconfig, telling) = (config.kubernetes.kubeconfig.clone(), Arc::clone(&state));
    // A pod's name: no other replica has it.
    let who = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let watch = tokio::task::spawn_local(async move {
        let Touch { watches, probe } = touch;
        let told = |update| telling.update(update);
        crate::cluster::watch_all(kubeconfig, who.trim(), &watches, &probe, told).await;
    });
    let heap = tokio::task::spawn_local(async {
        loop {
            tokio::time::sleep(MEMORY_INTERVAL).await;
            crate::sys::heap::give_back();
        }
    });
    let answer = move |request| {
        let state = Arc::clone(&state);
        async move { state.answer(request).await }
    };
    tracing::info!(address = %config.listen, "serving");
    let stopping = async {
        if let Err(error) = super::wait_for_signal().await {
            tracing::error!(%error, "cannot wait for a signal");
        }
    };
    let limits = Limits { connections: CONNECTIONS, ..Limits::default() };
    serve_with(listener, answer, limits, stopping).await;
    watch.abort();
    heap.abort();
    tracing::info!("stopped");
    Ok(())
}
