//! The queue between the worker and who exports spans: bounded in bytes.
//!
//! Separate because its bound is what an endpoint that hangs can cost the agent.
//! The worker never waits for room: what does not fit is dropped.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Finished;
use crate::telemetry::Own;

/// Bytes of requests that wait, those that are being sent among them.
pub const MAX_QUEUED_BYTES: u64 = 8 << 20;
/// Requests that wait, at most: more than the bytes allow.
const MAX_QUEUED: usize = 32_768;

/// The worker's end.
#[derive(Debug)]
pub struct Queue {
    requests: mpsc::Sender<Finished>,
    own: Arc<Own>,
}

/// The exporter's end.
#[derive(Debug)]
pub struct Received {
    requests: mpsc::Receiver<Finished>,
}

/// Both ends.
#[must_use]
pub fn channel(own: Arc<Own>) -> (Queue, Received) {
    let (sender, requests) = mpsc::channel(MAX_QUEUED);
    (Queue { requests: sender, own }, Received { requests })
}

impl Queue {
    /// Hands a request over; `false` if there is no room for it.
    pub fn send(&self, finished: Finished) -> bool {
        let bytes = finished.bytes();
        if !self.own.traces.reserve(bytes, MAX_QUEUED_BYTES) {
            return false;
        }
        let is_sent = self.requests.try_send(finished).is_ok();
        if !is_sent {
            self.own.traces.release(bytes);
        }
        is_sent
    }
}

impl Received {
    /// The next request; `None` if there will be no more. Its bytes count until
    /// they are released. Safe to cancel.
    pub async fn next(&mut self) -> Option<Finished> {
        self.requests.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::request::Request;
    use crate::telemetry::traces::Decision;

    pub(crate) fn finished() -> Finished {
        Finished {
            request: Request::sample(1_000),
            origin: Arc::default(),
            calls: Vec::new(),
            route: None,
            missing: 0,
            decision: Decision::Ratio,
            trace_id: 1,
            span_id: 2,
            parent: None,
            offset_ns: 0,
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_until_there_is_room() {
        let own = Arc::new(Own::default());
        let (queue, mut received) = channel(own.clone());
        let taken = (0..MAX_QUEUED).take_while(|_| queue.send(finished())).count();
        let bytes = finished().bytes();
        assert_eq!(taken as u64, MAX_QUEUED_BYTES / bytes);
        assert!(!queue.send(finished()));
        assert!(own.traces.queue_bytes() <= MAX_QUEUED_BYTES);
        let first = received.next().await.unwrap();
        own.traces.release(first.bytes());
        assert!(queue.send(finished()));
        drop(queue);
        let mut rest = 0;
        while let Some(one) = received.next().await {
            own.traces.release(one.bytes());
            rest += 1;
        }
        assert_eq!((rest, own.traces.queue_bytes()), (taken, 0));
    }

    #[test]
    fn a_queue_whose_other_end_is_gone_counts_nothing() {
        let own = Arc::new(Own::default());
        let (queue, received) = channel(own.clone());
        drop(received);
        assert!(!queue.send(finished()));
        assert_eq!(own.traces.queue_bytes(), 0);
    }
}
