//! A request as it leaves for the endpoint of spans: plain data.
//!
//! Separate because both ends of the queue know it, and because its size is what
//! the queue is bounded by.

use std::sync::Arc;

use crate::attribution::identity::{ContainerInfo, Identity};
use crate::event::call::Call;
use crate::event::request::Request;
use crate::telemetry::traces::Decision;

/// Who served a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its labels; `None` while the name of its pod is not known.
    pub identity: Option<Identity>,
    /// Its container.
    pub container: Option<ContainerInfo>,
}

/// A call with the id of its span.
#[derive(Clone, Debug)]
pub struct Called {
    /// The call.
    pub call: Call,
    /// Id of its span, never zero.
    pub span_id: u64,
}

/// A request that was chosen, with its calls.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The request.
    pub request: Request,
    /// Who served it.
    pub origin: Arc<Origin>,
    /// Its calls, in the order in which they were sent.
    pub calls: Vec<Called>,
    /// Its route, where routes are made.
    pub route: Option<Arc<str>>,
    /// Calls that it made beyond these.
    pub missing: u16,
    /// Why it was chosen.
    pub decision: Decision,
    /// Id of its trace, never zero.
    pub trace_id: u128,
    /// Id of its span, never zero.
    pub span_id: u64,
    /// The span that it was called from, where that is known: of a caller on this
    /// node, else the one that `traceparent` names.
    pub parent: Option<u64>,
    /// What makes unix time of its times, which are `CLOCK_MONOTONIC`.
    pub offset_ns: u64,
}

impl Finished {
    /// Memory that it takes, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let path = self.request.path.as_deref().map_or(0, str::len);
        let culprit = self.request.work.culprit.as_ref().map_or(0, |one| one.comm.len());
        let calls = self.calls.capacity() * size_of::<Called>();
        let route = self.route.as_deref().map_or(0, str::len);
        (size_of::<Self>() + calls + path + culprit + route) as u64
    }

    /// Spans that it makes.
    #[must_use]
    pub fn spans(&self) -> u64 {
        1 + self.calls.len() as u64
    }
}
