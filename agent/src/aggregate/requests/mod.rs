//! Series of one service's requests: the event path's half of aggregation.

use std::collections::{HashMap, HashSet};

use agent_common::conn::Protocol;
use agent_common::counter::requests::RequestCounters;
use agent_common::head::Method;

use crate::aggregate::budget::{Budget, Group, REQUEST_SET, TAIL_SET};
use crate::aggregate::durations::Durations;
use crate::aggregate::histogram::Exemplar;
use crate::aggregate::labels::{Identity, LabelSet};
use crate::aggregate::parts::{PART_SET, PartProtocol, PartSums};
use crate::aggregate::routes::{NO_ROUTE, Routes};
use crate::aggregate::snapshot::{Snapshot, Value};
use crate::aggregate::tail::Tail;
use crate::event::request::Request;
use crate::metrics::Metric;
use crate::metrics::workload::{HTTP_SERVER_REQUEST_DURATION, REQUESTS, TURN_DURATION};

/// Label sets of HTTP requests that a service may have. Real APIs have about
/// ten; a hostile one could make 600 statuses times 11 methods.
const MAX_HTTP_SETS: usize = 32;
/// Label sets of turns: ports that a service listens on.
const MAX_TURN_SETS: usize = 8;
/// Folded label sets that are told apart in order to count them; more are as
/// good as these.
const MAX_FOLDED: usize = 256;

/// Why a request failed, as `error_type` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Failure {
    /// It did not.
    None,
    /// A status of 500 or more: the status itself.
    Status(u16),
    /// The connection ended before a response.
    Aborted,
}

/// What tells two HTTP series of a service apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct HttpKey {
    method: Method,
    status: u16,
    failure: Failure,
    /// Number of the route, see [`Routes`].
    route: u8,
}

impl HttpKey {
    const fn of(request: &Request, route: u8) -> Self {
        Self::new(request.method, request.status, request.is_aborted(), route)
    }

    const fn new(method: Method, status: u16, is_aborted: bool, route: u8) -> Self {
        let failure = match status {
            _ if is_aborted => Failure::Aborted,
            status @ 500.. => Failure::Status(status),
            _ => Failure::None,
        };
        Self { method, status, failure, route }
    }

    /// Where requests beyond the bounds, and sampled-out ones, are counted.
    const REST: Self =
        Self { method: Method::Other, status: 0, failure: Failure::None, route: NO_ROUTE };
}

/// Durations of one label set, and where their time went.
#[derive(Debug)]
struct Observed {
    labels: LabelSet,
    durations: Durations,
    parts: PartSums,
    /// What the kernel counted besides, as of the last snapshot.
    sampled: Option<Box<Durations>>,
}

impl Observed {
    fn new(labels: LabelSet) -> Box<Self> {
        let (durations, parts) = Default::default();
        Box::new(Self { labels, durations, parts, sampled: None })
    }

    fn observe(&mut self, request: &Request) {
        self.durations.observe(request.wall_ns());
        self.parts.observe(&request.parts, request.work.estimated);
    }

    fn value(&self) -> Value {
        let Some(sampled) = &self.sampled else { return self.durations.value() };
        let mut durations = self.durations.clone();
        durations.merge(sampled);
        durations.value()
    }

    /// The parts of exactly the durations that [`Observed::value`] has.
    fn parts(&self) -> PartSums {
        let mut parts = self.parts;
        if let Some(sampled) = &self.sampled {
            parts.add_sampled(sampled.sum_ns());
        }
        parts
    }
}

/// Time by part of each protocol, as of one snapshot.
#[derive(Debug, Default)]
struct TimeBooks {
    /// Which protocols have series of parts.
    granted: [bool; PartProtocol::ALL.len()],
    sums: [PartSums; PartProtocol::ALL.len()],
}

impl TimeBooks {
    fn has(&self, protocol: PartProtocol) -> bool {
        self.granted.get(protocol as usize).copied().unwrap_or(false)
    }

    fn set_granted(&mut self, protocol: PartProtocol) {
        if let Some(granted) = self.granted.get_mut(protocol as usize) {
            *granted = true;
        }
    }

    fn add(&mut self, protocol: PartProtocol, parts: &PartSums) {
        if let Some(sum) = self.sums.get_mut(protocol as usize) {
            sum.merge(parts);
        }
    }
}

/// What tells two label sets of requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Http(HttpKey),
    Turn(Protocol, u16),
}

impl Key {
    const fn of(request: &Request, route: u8) -> Self {
        if matches!(request.protocol, Protocol::Http1) {
            Self::Http(HttpKey::of(request, route))
        } else {
            Self::Turn(request.protocol, request.local.1)
        }
    }

    const fn metric(self) -> &'static Metric {
        match self {
            Self::Http(_) => &HTTP_SERVER_REQUEST_DURATION,
            Self::Turn(..) => &TURN_DURATION,
        }
    }

    const fn part_protocol(self) -> PartProtocol {
        match self {
            Self::Http(_) => PartProtocol::Http,
            Self::Turn(protocol, _) => named(protocol),
        }
    }
}

/// Requests of one metric.
#[derive(Debug)]
struct Sets<K> {
    /// Label sets of their own.
    own: HashMap<K, Box<Observed>>,
    /// All others together.
    rest: Option<Box<Observed>>,
    /// Whether the rest has series; decided when it is first shown. There is
    /// room for one rest: a service that has so many kinds of both HTTP and
    /// turns that it needs two may be without the second.
    has_rest: Option<bool>,
}

impl<K> Sets<K> {
    fn new() -> Self {
        Self { own: HashMap::new(), rest: None, has_rest: None }
    }

    /// Puts durations into a snapshot, and the parts of the same requests into
    /// the books of time.
    fn snapshot(
        &mut self,
        metric: &'static Metric,
        protocols: (fn(&K) -> PartProtocol, PartProtocol),
        books: &mut TimeBooks,
        budget: &mut Budget,
        snapshot: &mut Snapshot,
    ) {
        let (protocol_of, rest_protocol) = protocols;
        let mut shown: Vec<(PartProtocol, &Observed)> =
            self.own.iter().map(|(key, observed)| (protocol_of(key), &**observed)).collect();
        if let Some(rest) = &self.rest {
            let has_rest = *self.has_rest.get_or_insert_with(|| {
                let parts = if books.has(rest_protocol) { 0 } else { PART_SET };
                budget.grant_fold(Group::Requests, REQUEST_SET + parts)
            });
            if has_rest {
                books.set_granted(rest_protocol);
                shown.push((rest_protocol, rest));
            }
        }
        let family = snapshot.family(metric);
        for (protocol, observed) in shown {
            family.push(observed.labels.clone(), observed.value());
            books.add(protocol, &observed.parts());
        }
    }
}

/// Requests of one service.
#[derive(Debug)]
pub struct RequestSeries {
    identity: Identity,
    outcomes: [LabelSet; OUTCOMES.len()],
    http: Sets<HttpKey>,
    turns: Sets<(Protocol, u16)>,
    routes: Routes,
    exported: u64,
    folded: HashSet<Key>,
    books: TimeBooks,
    tail: Tail,
    /// Whether the tail has series; decided with the first request.
    has_tail: Option<bool>,
}

/// What tells the series of an HTTP request, after it was counted.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// Its method.
    pub method: Method,
    /// Its status.
    pub status: u16,
    /// Whether its client left.
    pub is_aborted: bool,
    /// Its route.
    pub route: Option<&'a str>,
}

/// What becomes of requests, in the order of the books.
const OUTCOMES: [&str; 5] = ["exported", "sampled", "filtered", "dropped", "lost"];

impl RequestSeries {
    /// A service without requests.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let outcomes = OUTCOMES.map(|name| LabelSet::new(&REQUESTS, Some(&identity), &[name]));
        let (http, turns, folded) = (Sets::new(), Sets::new(), HashSet::new());
        let (books, tail) = Default::default();
        let routes = Routes::default();
        Self {
            identity,
            outcomes,
            http,
            turns,
            routes,
            exported: 0,
            folded,
            books,
            tail,
            has_tail: None,
        }
    }

    /// Counts a request. Without a budget, which a container beyond the node's
    /// does not have, it is counted with all others. Says whether it is slower
    /// than the service's running p99.
    pub fn observe(
        &mut self,
        request: &Request,
        route: Option<&str>,
        budget: Option<&mut Budget>,
    ) -> bool {
        self.exported += 1;
        let key = Key::of(request, self.routes.number(route));
        self.set(key, budget).observe(request);
        let estimated = request.work.estimated;
        self.tail.observe(request.wall_ns(), request.end_ns, &request.parts, estimated)
    }

    /// An HTTP request that was counted has a span.
    pub fn exemplify(&mut self, of: &Sighting<'_>, exemplar: Exemplar) {
        let route = self.routes.find(of.route);
        let key = HttpKey::new(of.method, of.status, of.is_aborted, route);
        if let Some(observed) = self.http.own.get_mut(&key) {
            observed.durations.exemplify(exemplar);
        }
    }

    /// Requests counted one by one.
    #[must_use]
    pub const fn exported(&self) -> u64 {
        self.exported
    }

    /// Puts the series into a snapshot, with what the kernel counted of the
    /// requests that it did not hand over.
    pub fn snapshot(
        &mut self,
        books: &RequestCounters,
        dropped: u64,
        budget: &mut Budget,
        snapshot: &mut Snapshot,
    ) {
        if books.sampled > 0 {
            self.merge_sampled(books);
        }
        let time = &mut self.books;
        time.sums = Default::default();
        let http = (|_: &HttpKey| PartProtocol::Http) as fn(&_) -> _;
        let (metric, protocols) = (&HTTP_SERVER_REQUEST_DURATION, (http, PartProtocol::Http));
        self.http.snapshot(metric, protocols, time, budget, snapshot);
        let turns = (|(protocol, _): &(Protocol, u16)| named(*protocol)) as fn(&_) -> _;
        self.turns.snapshot(&TURN_DURATION, (turns, PartProtocol::Other), time, budget, snapshot);
        self.snapshot_time(budget, snapshot);
        let counts = [self.exported, books.sampled, books.filtered, dropped, books.lost];
        let family = snapshot.family(&REQUESTS);
        for (labels, count) in self.outcomes.iter().zip(counts) {
            family.push(labels.clone(), Value::Counter(count as f64));
        }
    }

    /// Where the time went of the requests that are shown.
    fn snapshot_time(&mut self, budget: &mut Budget, snapshot: &mut Snapshot) {
        let mut all = PartSums::default();
        let books = PartProtocol::ALL.into_iter().zip(self.books.granted).zip(self.books.sums);
        let granted = books.filter(|((_, is_granted), _)| *is_granted);
        for ((protocol, _), sums) in granted {
            sums.snapshot(protocol, &self.identity, snapshot);
            all.merge(&sums);
        }
        if !self.books.granted.contains(&true) {
            return;
        }
        if *self.has_tail.get_or_insert_with(|| budget.grant_fold(Group::Tail, TAIL_SET)) {
            self.tail.snapshot(&self.identity, snapshot);
            all.snapshot_confidence(&self.identity, snapshot);
        }
    }

    /// Requests that the kernel only counted have a duration, but neither
    /// method nor status: they are counted with the rest.
    fn merge_sampled(&mut self, books: &RequestCounters) {
        // A service that never spoke HTTP did not do so here either.
        let is_begun = self.turns.rest.as_ref().is_some_and(|rest| rest.sampled.is_some());
        let has_http = !self.http.own.is_empty() || self.http.rest.is_some();
        let is_turns = is_begun || (!has_http && !self.turns.own.is_empty());
        let rest = if is_turns { self.turn_rest() } else { self.http_rest() };
        rest.sampled =
            Some(Box::new(Durations::of(books.sampled_durations, books.sampled_classic)));
    }

    /// Where requests with this key are counted.
    fn set(&mut self, key: Key, budget: Option<&mut Budget>) -> &mut Observed {
        let (is_known, is_full) = match key {
            Key::Http(key) => {
                (self.http.own.contains_key(&key), self.http.own.len() >= MAX_HTTP_SETS)
            }
            Key::Turn(protocol, port) => {
                let own = &self.turns.own;
                (own.contains_key(&(protocol, port)), own.len() >= MAX_TURN_SETS)
            }
        };
        if key == Key::Http(HttpKey::REST) {
            return self.http_rest();
        }
        // What was folded once stays so: its series would begin too late.
        let protocol = key.part_protocol();
        let is_own = is_known
            || budget.is_some_and(|budget| {
                let is_granted = !is_full
                    && !self.folded.contains(&key)
                    && budget.grant_requests(!self.books.has(protocol));
                if is_granted {
                    self.books.set_granted(protocol);
                }
                if !is_granted && self.folded.len() < MAX_FOLDED && self.folded.insert(key) {
                    budget.count_folded(key.metric());
                }
                is_granted
            });
        let (identity, routes) = (&self.identity, &self.routes);
        match key {
            Key::Http(key) if is_own => self.http.own.entry(key).or_insert_with(|| {
                Observed::new(http_labels(identity, &key, routes.label(key.route)))
            }),
            Key::Http(_) => self.http_rest(),
            Key::Turn(protocol, port) if is_own => self
                .turns
                .own
                .entry((protocol, port))
                .or_insert_with(|| Observed::new(turn_labels(identity, protocol, port))),
            Key::Turn(..) => self.turn_rest(),
        }
    }

    fn http_rest(&mut self) -> &mut Observed {
        let identity = &self.identity;
        let make = || Observed::new(http_labels(identity, &HttpKey::REST, ""));
        self.http.rest.get_or_insert_with(make)
    }

    fn turn_rest(&mut self) -> &mut Observed {
        let values = ["_other"; 2];
        let identity = &self.identity;
        let make = || Observed::new(LabelSet::new(&TURN_DURATION, Some(identity), &values));
        self.turns.rest.get_or_insert_with(make)
    }
}

fn turn_labels(identity: &Identity, protocol: Protocol, port: u16) -> LabelSet {
    let values = [named(protocol).as_str(), &port.to_string()];
    LabelSet::new(&TURN_DURATION, Some(identity), &values)
}

fn http_labels(identity: &Identity, key: &HttpKey, route: &str) -> LabelSet {
    let status = if key.status == 0 { String::new() } else { key.status.to_string() };
    let error = match key.failure {
        Failure::None => String::new(),
        Failure::Status(status) => status.to_string(),
        Failure::Aborted => "client_disconnected".to_owned(),
    };
    let values = [key.method.as_str(), &status, "http", &error, route];
    LabelSet::new(&HTTP_SERVER_REQUEST_DURATION, Some(identity), &values)
}

/// The name that a protocol has in labels.
const fn named(protocol: Protocol) -> PartProtocol {
    match protocol {
        Protocol::Tls => PartProtocol::Tls,
        Protocol::Http2 => PartProtocol::Http2,
        Protocol::Http1 => PartProtocol::Http,
        Protocol::Unknown | Protocol::Opaque => PartProtocol::Tcp,
    }
}

#[cfg(test)]
mod tests;
