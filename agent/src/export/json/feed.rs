//! Lines out of fresh snapshots, for who asks through the socket.
//!
//! Separate from the types of the lines, which both ends have: this end has the
//! snapshots.

use super::{Answer, VERSION, workloads};
use crate::aggregate::channel::SnapshotSource;

/// What makes lines out of fresh snapshots.
#[derive(Clone, Debug)]
pub struct Feed(SnapshotSource);

impl Feed {
    /// A feed of the snapshots of `source`.
    #[must_use]
    pub const fn new(source: SnapshotSource) -> Self {
        Self(source)
    }

    /// One line, of a snapshot taken now, or of the last one if the worker is
    /// late.
    pub async fn line(&self) -> Vec<u8> {
        let workloads = workloads(&*self.0.fresh().await);
        Answer { version: VERSION, error: None, workloads: Some(workloads) }.line()
    }

    /// Waits until the worker has seen what the kernel had when this was
    /// called, for a bounded time.
    pub async fn settle(&self) {
        self.0.fresh().await;
    }
}
