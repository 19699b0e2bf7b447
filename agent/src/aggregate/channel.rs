//! How a scrape gets a fresh snapshot from the worker, and what it gets when
//! the worker is late.
//!
//! Separate because it is the one arrow that points upstream: the exporter asks,
//! the worker answers when it can, nobody waits without a bound.

use super::snapshot::Snapshot;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};

/// How long a scrape waits for the worker.
const FRESH_WAIT: Duration = Duration::from_millis(50);

/// Requests that may wait. Scrapes are made one at a time, and one that gave up
/// leaves its request behind; a worker that is several behind answers all of
/// them with one snapshot.
const MAX_REQUESTS: usize = 4;

/// Both ends. The last snapshot is an empty one until the first is published.
#[must_use]
pub fn snapshot_channel() -> (SnapshotSource, SnapshotPublisher) {
    let (ask, asked) = mpsc::channel(MAX_REQUESTS);
    let (publish, last) = watch::channel(Arc::new(Snapshot::default()));
    (SnapshotSource { ask, last }, SnapshotPublisher { asked, publish })
}

/// The exporter's end.
#[derive(Clone, Debug)]
pub struct SnapshotSource {
    ask: mpsc::Sender<oneshot::Sender<()>>,
    last: watch::Receiver<Arc<Snapshot>>,
}

impl SnapshotSource {
    /// A snapshot taken now, or the last one if the worker does not make one
    /// within 50 ms.
    pub async fn fresh(&self) -> Arc<Snapshot> {
        let (answer, answered) = oneshot::channel();
        if self.ask.try_send(answer).is_ok() {
            // An error here, late or gone, is answered by the last snapshot.
            let _ = tokio::time::timeout(FRESH_WAIT, answered).await;
        }
        self.last()
    }

    /// The last snapshot.
    #[must_use]
    pub fn last(&self) -> Arc<Snapshot> {
        Arc::clone(&self.last.borrow())
    }

    /// Whether there is a worker that could answer.
    #[must_use]
    pub fn is_worker_alive(&self) -> bool {
        !self.ask.is_closed()
    }
}

/// The worker's end.
#[derive(Debug)]
pub struct SnapshotPublisher {
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    publish: watch::Sender<Arc<Snapshot>>,
}

impl SnapshotPublisher {
    /// Waits until somebody wants a snapshot; to be selected on. Never returns
    /// again when all sources are gone. Safe to cancel.
    pub async fn asked(&mut self) -> SnapshotRequest {
        match self.asked.recv().await {
            Some(answer) => SnapshotRequest(answer),
            None => std::future::pending().await,
        }
    }

    /// Publishes a snapshot, and answers `request` and all that wait with it.
    pub fn publish(&mut self, snapshot: Arc<Snapshot>, request: Option<SnapshotRequest>) {
        self.publish.send_replace(snapshot);
        let waiting = std::iter::from_fn(|| self.asked.try_recv().ok().map(SnapshotRequest));
        for SnapshotRequest(answer) in request.into_iter().chain(waiting) {
            // A scrape that gave up does not listen any more.
            let _ = answer.send(());
        }
    }
}

/// Somebody waits for a snapshot.
#[derive(Debug)]
pub struct SnapshotRequest(oneshot::Sender<()>);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scrape_gets_what_the_worker_makes_for_it() {
        let (source, mut publisher) = snapshot_channel();
        let worker = async {
            let request = publisher.asked().await;
            publisher.publish(Arc::new(Snapshot::new(7)), Some(request));
        };
        let (snapshot, ()) = tokio::join!(source.fresh(), worker);
        assert_eq!(snapshot.taken_unix_ns, 7);
    }

    #[tokio::test]
    async fn a_scrape_gets_the_last_snapshot_when_the_worker_is_late() {
        let (source, mut publisher) = snapshot_channel();
        publisher.publish(Arc::new(Snapshot::new(1)), None);
        for _ in 0..2 * MAX_REQUESTS {
            assert_eq!(source.fresh().await.taken_unix_ns, 1);
        }
        let request = publisher.asked().await;
        publisher.publish(Arc::new(Snapshot::new(2)), Some(request));
        assert_eq!(source.last().taken_unix_ns, 2);
    }

    #[tokio::test]
    async fn a_scrape_does_not_wait_for_a_worker_that_is_gone() {
        let (source, mut publisher) = snapshot_channel();
        publisher.publish(Arc::new(Snapshot::new(9)), None);
        assert!(source.is_worker_alive());
        drop(publisher);
        assert!(!source.is_worker_alive());
        assert_eq!(source.fresh().await.taken_unix_ns, 9);
    }
}
