//! How a connection gets a listener's lines from the worker.
//!
//! Separate because it is what both ends hold: orders go up, chunks of whole
//! lines come down, and neither end waits for the other without a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::query::Query;

/// Orders that may wait for the worker.
const MAX_ORDERS: usize = 16;

/// Why nobody can listen now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Others do.
    #[error("{max} others trace already; end one of them")]
    Full {
        /// How many may.
        max: usize,
    },
    /// Another one captures.
    #[error("somebody captures already; only one can at a time")]
    Capturing,
    /// The query is not one.
    #[error("{0}")]
    Query(#[from] crate::config::Unfit),
    /// The worker has ended, or is far behind.
    #[error("the agent is stopping, or too busy to answer")]
    Busy,
}

/// What a connection asks of the worker.
#[derive(Debug)]
pub enum Order {
    /// Lines, from now on.
    Listen {
        /// Of which requests.
        query: Box<Query>,
        /// Where the answer is waited for.
        answer: oneshot::Sender<Result<Stream, Refusal>>,
    },
    /// No more lines: what is held back is sent, and the stream ends.
    Finish {
        /// Whose.
        id: u64,
    },
}

/// Orders, for the worker.
#[derive(Debug)]
pub struct Orders(mpsc::Receiver<Order>);

impl Orders {
    /// The next order; to be selected on. Never returns again when nobody can
    /// order any more. Safe to cancel.
    pub async fn next(&mut self) -> Order {
        match self.0.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }
}

/// Both ends.
#[must_use]
pub fn channel() -> (TapSource, Orders) {
    let (ask, asked) = mpsc::channel(MAX_ORDERS);
    (TapSource { ask }, Orders(asked))
}

/// A connection's end: where it can ask for lines.
#[derive(Clone, Debug)]
pub struct TapSource {
    ask: mpsc::Sender<Order>,
}

impl TapSource {
    /// Listens from now on.
    ///
    /// # Errors
    ///
    /// Why that cannot be; for who asked.
    pub async fn listen(&self, query: Query) -> Result<Stream, Refusal> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Listen { query: Box::new(query), answer };
        self.ask.try_send(order).map_err(|_full_or_gone| Refusal::Busy)?;
        answered.await.unwrap_or(Err(Refusal::Busy))
    }

    /// Asks for the end of a stream: what is held back for it comes yet.
    pub async fn finish(&self, stream: &Stream) {
        // If the worker is gone the stream has ended.
        let _ = self.ask.send(Order::Finish { id: stream.id }).await;
    }
}

/// Lines for one listener, in chunks.
#[derive(Debug)]
pub struct Stream {
    pub(super) id: u64,
    pub(super) chunks: mpsc::Receiver<Vec<u8>>,
    /// Bytes in `chunks`, which the worker bounds.
    pub(super) queued_bytes: Arc<AtomicUsize>,
}

impl Stream {
    /// The next chunk, of whole lines; `None` at the end. Safe to cancel.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let chunk = self.chunks.recv().await?;
        self.queued_bytes.fetch_sub(chunk.len(), Ordering::Relaxed);
        Some(chunk)
    }
}
