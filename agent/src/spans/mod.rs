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
pub mod instrumented;
mod link;
pub mod queue;
mod sampler;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use agent_common::conn::Protocol;
use agent_common::head::Method;
pub use finished::{Called, Finished, Origin};
use ids::Ids;
use instrumented::Instrumented;
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
    /// Also those of processes that send spans themselves.
    pub takes_instrumented: bool,
}

/// What the worker knows of a request.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// Slower than its service's running p99.
    pub is_slow: bool,
    /// Its route, where routes are made.
    pub route: Option<&'a str>,
    /// Whether its path may be said.
    pub keeps_path: bool,
}

/// What is kept of a request besides itself.
#[derive(Clone, Debug)]
struct About {
    origin: Arc<Origin>,
    route: Option<Arc<str>>,
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
    instrumented: Instrumented,
    takes_instrumented: bool,
    /// Requests that were handed over since they were last asked for.
    told: Vec<Told>,
}

/// Requests that are told of at a time: more are as good as these.
const MAX_TOLD: usize = 1_024;

/// An HTTP request that was handed over, for the metric that counted it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Index of its service.
    pub service: u16,
    /// Its method.
    pub method: Method,
    /// Its status.
    pub status: u16,
    /// Whether its client left.
    pub is_aborted: bool,
    /// Its route.
    pub route: Option<Arc<str>>,
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
            instrumented: Instrumented::default(),
            takes_instrumented: choice.takes_instrumented,
            told: Vec::new(),
        }
    }

    /// A request finished, of a service that is known.
    pub fn request(&mut self, request: &Request, service: Option<&Service>, marks: Marks<'_>) {
        let now_ns = clock::monotonic_ns();
        let is_linked = self.linker.is_wanted(request);
        let seen = Seen {
            has_failed: request.has_failed(),
            is_slow: marks.is_slow,
            parent: request.trace.map(|trace| trace.is_sampled),
            is_linked,
        };
        self.own.traces.parent_read(request.flags);
        let sends_itself = self.instrumented.has(request.tgid, now_ns);
        let decision = if sends_itself {
            Decision::Instrumented
        } else {
            self.sampler.decide(seen, now_ns, self.ids.next())
        };
        self.own.traces.decided(decision);
        if !decision.is_kept() {
            self.joiner.pass(request);
            return;
        }
        if !self.takes_instrumented {
            self.instrumented.meet(request.tgid, now_ns);
        }
        let origin = self.origin(request.service, service);
        let offset_ns = clock::unix_ns().saturating_sub(now_ns);
        let about = About { origin, route: marks.route.map(Arc::from), decision, offset_ns };
        let path = request.path.clone().filter(|_| marks.keeps_path);
        let kept = Request { path, ..request.clone() };
        match self.joiner.request(request, now_ns, || (kept.clone(), about.clone())) {
            Outcome::Now(calls, missing) => {
                self.finish(Joined { request: kept, about, calls, missing });
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
            trace_id: request.trace.map_or_else(|| self.ids.trace(), |trace| trace.trace_id),
            span_id: self.ids.span(),
            parent: request.trace.map(|trace| trace.parent_id),
            origin: about.origin,
            route: about.route,
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
        for finished in self.unsent(tree) {
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

    /// Leaves out requests of processes that were found to send spans themselves
    /// since they were chosen, and what would point to them.
    fn unsent(&self, mut tree: Vec<Finished>) -> Vec<Finished> {
        let now_ns = clock::monotonic_ns();
        let before = tree.len();
        tree.retain(|one| !self.instrumented.has(one.request.tgid, now_ns));
        let gone = before - tree.len();
        if gone > 0 {
            self.own.traces.filtered(gone as u64);
            let spans: HashSet<u64> =
                tree.iter().flat_map(|one| one.calls.iter().map(|call| call.span_id)).collect();
            for one in &mut tree {
                let said = one.request.trace.map(|trace| trace.parent_id);
                one.parent = one.parent.filter(|parent| spans.contains(parent)).or(said);
            }
        }
        tree
    }

    /// Processes of which it is to be said whether they hold a connection to one
    /// of [`instrumented::PORTS`]: a few, each for [`Spans::looked`].
    pub fn unlooked(&mut self) -> Vec<u32> {
        self.instrumented.round()
    }

    /// Whether a process holds such a connection.
    pub fn looked(&mut self, tgid: u32, sends: bool) {
        self.instrumented.looked(tgid, sends, clock::monotonic_ns());
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
        route: finished.route.clone(),
        wall_ns: request.wall_ns(),
        end_unix_ns: request.end_ns.saturating_add(finished.offset_ns),
        trace_id: finished.trace_id,
        span_id: finished.span_id,
    })
}
