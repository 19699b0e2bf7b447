//! Starts who sends requests as spans.
//!
//! Separate so that an agent that is built without the feature `traces` differs
//! in this file alone.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Config, Headers};
use crate::telemetry::Own;
use crate::worker::Worker;

/// Has the worker choose requests, and sends them. `None`: there is no endpoint.
#[cfg(feature = "traces")]
pub(super) fn begin(
    config: &Config,
    headers: &Headers,
    worker: &mut Worker,
    own: &Arc<Own>,
    stopping: watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    use crate::export::otlp::{self, Settings};
    use crate::spans::{Choice, Spans, channel};
    let node = config.kubernetes.node_name.as_deref();
    let settings = match Settings::new(&config.traces, headers, node) {
        Ok(settings) => settings?,
        Err(error) => {
            tracing::error!(error, "spans are not sent");
            return None;
        }
    };
    tracing::info!(endpoint = %settings.uri(), "sending spans");
    let (queue, received) = channel(Arc::clone(own));
    let choice = Choice {
        one_in: config.traces.one_in,
        per_second: config.traces.per_second,
        takes_instrumented: config.traces.instrumented,
    };
    worker.set_spans(Spans::new(choice, queue, Arc::clone(own)));
    Some(tokio::task::spawn_local(otlp::run(settings, received, Arc::clone(own), stopping)))
}

/// Nobody sends any.
#[cfg(not(feature = "traces"))]
pub(super) fn begin(
    config: &Config,
    _headers: &Headers,
    _worker: &mut Worker,
    _own: &Arc<Own>,
    _stopping: watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    if config.traces.endpoint.is_some() {
        tracing::warn!("built without the feature `traces`: no spans are sent");
    }
    None
}
