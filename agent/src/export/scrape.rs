//! One scrape: negotiate, get a snapshot, encode it, one at a time.
//!
//! Separate because it is all that `admin` needs to know of the exporter.

use super::{Detail, Error, encode, negotiate};
use crate::{
    aggregate::{
        channel::SnapshotSource,
        labels::LabelSet,
        snapshot::{Snapshot, Value},
    },
    metrics::agent::SNAPSHOT_AGE,
};
use bytes::Bytes;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::sync::Semaphore;

/// How long a scrape waits for others to be encoded. Less than the ten seconds
/// that a scraper waits, far more than an encoding takes.
const TURN_WAIT: Duration = Duration::from_secs(5);

/// Answers scrapes.
#[derive(Debug)]
pub struct Scraper {
    source: SnapshotSource,
    is_full: AtomicBool,
    /// One permit: an encoding holds tens of milliseconds of CPU and, for a
    /// full node, megabytes of buffer. Two at a time would gain nothing.
    turn: Arc<Semaphore>,
}

/// An encoded answer.
#[derive(Debug)]
pub struct Exposition {
    /// For `Content-Type`.
    pub content_type: String,
    /// Whether the body is compressed with gzip.
    pub is_gzip: bool,
    /// The body.
    pub body: Bytes,
}

impl Scraper {
    /// A scraper of the snapshots of `source`.
    #[must_use]
    pub fn new(source: SnapshotSource, detail: Detail) -> Self {
        Self {
            source,
            is_full: AtomicBool::new(detail == Detail::Full),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Exports with this much detail from the next scrape on.
    pub fn set_detail(&self, detail: Detail) {
        self.is_full.store(detail == Detail::Full, Ordering::Relaxed);
    }

    /// Whether there is a worker that makes snapshots.
    #[must_use]
    pub fn is_worker_alive(&self) -> bool {
        self.source.is_worker_alive()
    }

    /// Answers a scrape with these `Accept` and `Accept-Encoding` headers. The
    /// encoding runs on a thread for blocking work: it may take longer than the
    /// reader of the ring can be kept waiting. Not cancelled when the caller
    /// goes away, so that its turn lasts as long as its work.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if other scrapes took five seconds; else those of
    /// [`encode()`].
    pub async fn scrape(&self, accept: &str, accept_encoding: &str) -> Result<Exposition, Error> {
        let content_type = negotiate::content_type(accept);
        let is_gzip = negotiate::is_gzip_wanted(accept_encoding);
        let turn = tokio::time::timeout(TURN_WAIT, Arc::clone(&self.turn).acquire_owned());
        // The inner result is an error only when the semaphore is closed: never.
        let Ok(Ok(turn)) = turn.await else { return Err(Error::Busy) };
        let snapshot = self.source.fresh().await;
        let own = Arc::new(own_metrics(&snapshot));
        let is_full = self.is_full.load(Ordering::Relaxed);
        let detail = if is_full { Detail::Full } else { Detail::Normal };
        let encoded = tokio::task::spawn_blocking(move || {
            let body = encode(&[snapshot, own], content_type.format, detail, is_gzip);
            drop(turn);
            body
        });
        let body = encoded.await.map_err(Error::Stopped)??;
        Ok(Exposition { content_type: content_type.header(), is_gzip, body: body.into() })
    }
}

/// What only the exporter knows: how old the snapshot is by the time of the
/// scrape.
fn own_metrics(snapshot: &Snapshot) -> Snapshot {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // A clock that was set back makes no negative age.
    let age = now.saturating_sub(Duration::from_nanos(snapshot.taken_unix_ns));
    let mut own = Snapshot::new(snapshot.taken_unix_ns);
    let labels = LabelSet::new(&SNAPSHOT_AGE, None, &[]);
    own.family(&SNAPSHOT_AGE).push(labels, Value::Gauge(age.as_secs_f64()));
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::channel::snapshot_channel, export::tests::sample};

    fn age(text: &str) -> f64 {
        let line = text
            .lines()
            .find(|line| line.starts_with("strata_agent_snapshot_age_seconds "))
            .unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn an_answer_has_the_snapshot_and_its_age() {
        let (source, mut publisher) = snapshot_channel();
        let mut snapshot = sample::small();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        snapshot.taken_unix_ns = (now - Duration::from_secs(100)).as_nanos() as u64;
        publisher.publish(Arc::new(snapshot), None);
        let exposition = Scraper::new(source, Detail::Normal).scrape("", "").await.unwrap();
        assert_eq!(exposition.content_type, "text/plain; version=0.0.4; charset=utf-8");
        assert!(!exposition.is_gzip);
        let text = String::from_utf8(exposition.body.to_vec()).unwrap();
        assert!(text.contains("strata_requests_total{"));
        assert!((100.0..160.0).contains(&age(&text)));
    }

    #[tokio::test]
    async fn scrapes_that_overlap_are_all_answered() {
        let (source, mut publisher) = snapshot_channel();
        publisher.publish(Arc::new(sample::small()), None);
        let scraper = Scraper::new(source, Detail::Normal);
        let (a, b, c) = tokio::join!(
            scraper.scrape("", ""),
            scraper.scrape("", "gzip"),
            scraper.scrape("*/*", "gzip")
        );
        assert_eq!([a, b, c].map(|answer| answer.unwrap().is_gzip), [false, true, true]);
    }
}
