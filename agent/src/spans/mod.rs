//! Requests that are to leave the node as spans: chosen, put together with
//! their calls, and handed over.
//!
//! ```text
//! worker -> sampler (is it kept?) -> join (its calls) -> queue (8 MiB) -> export::otlp -> endpoint
//!             |                                            |
//!             +-- decisions, counted                       +-- no room: dropped, counted
//! ```
//!
//! Separate from the tap, whose listeners come and go and say what they want,
//! and from `export`, which knows how a span is written and nothing of requests
//! that were not chosen. Nothing here waits, and nothing grows without bound.

pub mod finished;
mod ids;
pub mod queue;
mod sampler;

use std::collections::HashMap;
use std::sync::Arc;

pub use finished::{Called, Finished, Origin};
use ids::Ids;
pub use queue::{Queue, Received, channel};
use sampler::{Sampler, Seen};

use crate::attribution::services::Service;
use crate::event::call::Call;
use crate::event::request::Request;
use crate::sys::clock;
use crate::tap::join::{Joined, Joiner, Outcome};
use crate::telemetry::Own;
use crate::telemetry::traces::{Decision, Undelivered};

/// Which requests are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// One in so many of those that neither failed nor were slow.
    pub one_in: u32,
    /// The most in a second.
    pub per_second: u32,
}

/// What is kept of a request besides itself.
#[derive(Debug)]
struct About {
    origin: Arc<Origin>,
    decision: Decision,
    /// What makes unix time of its times.
    offset_ns: u64,
}

/// The worker's end.
#[derive(Debug)]
pub struct Spans {
    sampler: Sampler,
    joiner: Joiner<About>,
    ids: Ids,
    /// Who serves, by the index of the service, with its epoch.
    origins: HashMap<u16, (u64, Arc<Origin>)>,
    queue: Queue,
    own: Arc<Own>,
}

impl Spans {
    /// One that has chosen nothing yet.
    #[must_use]
    pub fn new(choice: Choice, queue: Queue, own: Arc<Own>) -> Self {
        own.traces.set_on();
        Self {
            sampler: Sampler::new(choice),
            joiner: Joiner::default(),
            ids: Ids::new(),
            origins: HashMap::new(),
            queue,
            own,
        }
    }

    /// A request finished, of a service that is known. `is_slow`: slower than
    /// its running p99.
    pub fn request(&mut self, request: &Request, service: Option<&Service>, is_slow: bool) {
        let now_ns = clock::monotonic_ns();
        let seen = Seen { has_failed: request.has_failed(), is_slow };
        let decision = self.sampler.decide(seen, now_ns, self.ids.next());
        self.own.traces.decided(decision);
        if !decision.is_kept() {
            self.joiner.pass(request);
            return;
        }
        let origin = self.origin(request.service, service);
        let offset_ns = clock::unix_ns().saturating_sub(now_ns);
        let about = || About { origin: Arc::clone(&origin), decision, offset_ns };
        match self.joiner.request(request, now_ns, || (request.clone(), about())) {
            Outcome::Now(calls, missing) => {
                let request = request.clone();
                self.finish(Joined { request, about: about(), calls, missing });
            }
            Outcome::Held(None) => {}
            Outcome::Held(Some(joined)) => self.finish(*joined),
        }
    }

    /// A call ended.
    pub fn call(&mut self, call: &Call) {
        if let Some(joined) = self.joiner.call(call) {
            self.finish(joined);
        }
    }

    /// Gives up waiting for calls that are late. To be called a few times a
    /// second.
    pub fn expire(&mut self) {
        let now_ns = clock::monotonic_ns();
        while let Some(joined) = self.joiner.expired(now_ns) {
            self.finish(joined);
        }
    }

    /// Hands over everything that waits: there will be no more.
    pub fn finish_all(&mut self) {
        while let Some(joined) = self.joiner.rest() {
            self.finish(joined);
        }
    }

    /// The index of a service is given to another.
    pub fn forget(&mut self, service: u16) {
        self.origins.remove(&service);
    }

    fn finish(&mut self, joined: Joined<About>) {
        let Joined { request, about, calls, missing } = joined;
        let calls = calls.into_iter().map(|call| Called { call, span_id: self.ids.span() });
        let finished = Finished {
            calls: calls.collect(),
            trace_id: self.ids.trace(),
            span_id: self.ids.span(),
            parent: None,
            origin: about.origin,
            decision: about.decision,
            offset_ns: about.offset_ns,
            missing,
            request,
        };
        if !self.queue.send(finished) {
            self.own.traces.undelivered(Undelivered::QueueFull, 1);
        }
    }

    /// Who serves. As of now: a name that is told later is that of later
    /// requests.
    fn origin(&mut self, index: u16, service: Option<&Service>) -> Arc<Origin> {
        let Some(service) = service else { return Arc::default() };
        if let Some((epoch, origin)) = self.origins.get(&index)
            && *epoch == service.epoch
            && origin.identity == service.identity
        {
            return Arc::clone(origin);
        }
        let origin = Arc::new(Origin {
            identity: service.identity.clone(),
            container: service.info.clone(),
        });
        self.origins.insert(index, (service.epoch, Arc::clone(&origin)));
        origin
    }
}
