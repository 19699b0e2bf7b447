//! Requests that are to leave the node as spans: chosen, put together with
//! their calls, and handed over.
//!
//! ```text
//! worker -> sampler (is it kept?) -> join (its calls) -> link (its caller) -> queue -> export::otlp
//!             |                                                                |
//!             +-- decisions, counted                          no room: dropped, counted
//! ```
//!
//! Separate from the tap, whose listeners come and go and say what they want,
//! and from `export`, which knows how a span is written and nothing of requests
//! that were not chosen. Nothing here waits, and nothing grows without bound.

pub mod finished;
mod ids;
mod link;
pub mod queue;
mod sampler;

use std::collections::HashMap;
use std::sync::Arc;

use agent_common::conn::Protocol;
use agent_common::head::Method;
pub use finished::{Called, Finished, Origin};
use ids::Ids;
use link::Linker;
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
    linker: Linker,
    ids: Ids,
    /// Who serves, by the index of the service, with its epoch.
    origins: HashMap<u16, (u64, Arc<Origin>)>,
    queue: Queue,
    own: Arc<Own>,
    /// Requests that were handed over since they were last asked for.
    told: Vec<Told>,
}

/// Requests that are told of at a time: more are as good as these.
const MAX_TOLD: usize = 1_024;

/// An HTTP request that was handed over, for the metric that counted it.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Index of its service.
    pub service: u16,
    /// Its method.
    pub method: Method,
    /// Its status.
    pub status: u16,
    /// Whether its client left.
    pub is_aborted: bool,
    /// Its wall time.
    pub wall_ns: u64,
    /// Its end, unix time.
    pub end_unix_ns: u64,
    /// Its trace.
    pub trace_id: u128,
    /// Its span.
    pub span_id: u64,
}

impl Spans {
    /// One that has chosen nothing yet.
    #[must_use]
    pub fn new(choice: Choice, queue: Queue, own: Arc<Own>) -> Self {
        own.traces.set_on();
        Self {
            sampler: Sampler::new(choice),
            joiner: Joiner::default(),
            linker: Linker::default(),
            ids: Ids::new(),
            origins: HashMap::new(),
            queue,
            own,
            told: Vec::new(),
        }
    }

    /// A request finished, of a service that is known. `is_slow`: slower than
    /// its running p99.
    pub fn request(&mut self, request: &Request, service: Option<&Service>, is_slow: bool) {
        let now_ns = clock::monotonic_ns();
        let is_linked = self.linker.is_wanted(request);
        let seen = Seen { has_failed: request.has_failed(), is_slow, is_linked };
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
        self.linker.call(call);
        if let Some(joined) = self.joiner.call(call) {
            self.finish(joined);
        }
    }

    /// Gives up waiting for calls and callers that are late. To be called a few
    /// times a second.
    pub fn expire(&mut self) {
        let now_ns = clock::monotonic_ns();
        while let Some(joined) = self.joiner.expired(now_ns) {
            self.finish(joined);
        }
        while let Some(tree) = self.linker.expired(now_ns) {
            self.send(tree);
        }
    }

    /// Hands over everything that waits: there will be no more.
    pub fn finish_all(&mut self) {
        while let Some(joined) = self.joiner.rest() {
            self.finish(joined);
        }
        while let Some(tree) = self.linker.rest() {
            self.send(tree);
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
        if let Some(tree) = self.linker.request(finished, clock::monotonic_ns()) {
            self.send(tree);
        }
    }

    fn send(&mut self, tree: Vec<Finished>) {
        for finished in tree {
            let told = told(&finished);
            if !self.queue.send(finished) {
                self.own.traces.undelivered(Undelivered::QueueFull, 1);
            } else if let Some(told) = told
                && self.told.len() < MAX_TOLD
            {
                self.told.push(told);
            }
        }
    }

    /// HTTP requests that were handed over since the last call.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
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

fn told(finished: &Finished) -> Option<Told> {
    let request = &finished.request;
    (request.protocol == Protocol::Http1).then(|| Told {
        service: request.service,
        method: request.method,
        status: request.status,
        is_aborted: request.is_aborted(),
        wall_ns: request.wall_ns(),
        end_unix_ns: request.end_ns.saturating_add(finished.offset_ns),
        trace_id: finished.trace_id,
        span_id: finished.span_id,
    })
}
