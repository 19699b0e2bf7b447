//! Series of one service's requests: the event path's half of aggregation.

use std::collections::HashMap;
use std::sync::Arc;

use agent_common::conn::Protocol;
use agent_common::counter::requests::RequestCounters;
use agent_common::head::Method;
use agent_common::histogram::{CLASSIC_BUCKETS, Histogram, REQUEST_EDGES_NS, classic_index};

use super::histogram::HistogramValue;
use super::labels::{Identity, LabelSet};
use super::snapshot::{Snapshot, Value};
use crate::event::request::Request;
use crate::metrics::workload::{HTTP_SERVER_REQUEST_DURATION, REQUESTS, TURN_DURATION};

/// Label sets of HTTP requests that a service may have. Real APIs have about
/// ten; a hostile one could make 600 statuses times 11 methods.
const MAX_HTTP_SETS: usize = 32;
/// Label sets of turns: ports that a service listens on.
const MAX_TURN_SETS: usize = 8;

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
}

impl HttpKey {
    fn of(request: &Request) -> Self {
        let failure = match request.status {
            _ if request.is_aborted() => Failure::Aborted,
            status @ 500.. => Failure::Status(status),
            _ => Failure::None,
        };
        Self { method: request.method, status: request.status, failure }
    }

    /// Where requests beyond the bound, and sampled-out ones, are counted.
    const REST: Self = Self { method: Method::Other, status: 0, failure: Failure::None };
}

/// Durations of one label set.
#[derive(Debug)]
struct Observed {
    labels: LabelSet,
    durations: Histogram,
    classic: [u64; CLASSIC_BUCKETS],
}

impl Observed {
    fn new(labels: LabelSet) -> Box<Self> {
        Box::new(Self { labels, durations: Histogram::new(), classic: [0; CLASSIC_BUCKETS] })
    }

    fn observe(&mut self, wall_ns: u64) {
        self.durations.observe(wall_ns);
        if let Some(bucket) = self.classic.get_mut(classic_index(wall_ns, &REQUEST_EDGES_NS)) {
            *bucket += 1;
        }
    }

    fn value(&self) -> Value {
        Value::Histogram(Arc::new(HistogramValue {
            durations: self.durations,
            classic: Some(self.classic),
        }))
    }
}

/// Requests of one service.
#[derive(Debug)]
pub struct RequestSeries {
    identity: Identity,
    http: HashMap<HttpKey, Box<Observed>>,
    turns: HashMap<(Protocol, u16), Box<Observed>>,
    exported: u64,
    /// The last key and its requests come in runs; what was folded is counted.
    folded: u64,
}

impl RequestSeries {
    /// A service without requests.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, http: HashMap::new(), turns: HashMap::new(), exported: 0, folded: 0 }
    }

    /// Counts a request.
    pub fn observe(&mut self, request: &Request) {
        self.exported += 1;
        if request.protocol == Protocol::Http1 {
            self.http_set(HttpKey::of(request)).observe(request.wall_ns());
        } else {
            self.turn_set(request.protocol, request.local.1).observe(request.wall_ns());
        }
    }

    /// Requests that were folded for want of label sets.
    #[must_use]
    pub const fn folded(&self) -> u64 {
        self.folded
    }

    /// Requests counted one by one.
    #[must_use]
    pub const fn exported(&self) -> u64 {
        self.exported
    }

    /// Whether there was ever a request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.http.is_empty() && self.turns.is_empty()
    }

    /// Puts the series into a snapshot, with what the kernel counted of the
    /// requests that it did not hand over.
    pub fn snapshot(&self, books: &RequestCounters, dropped: u64, snapshot: &mut Snapshot) {
        for observed in self.http.values() {
            snapshot
                .family(&HTTP_SERVER_REQUEST_DURATION)
                .push(observed.labels.clone(), observed.value());
        }
        for observed in self.turns.values() {
            snapshot.family(&TURN_DURATION).push(observed.labels.clone(), observed.value());
        }
        if books.sampled > 0 {
            self.snapshot_sampled(books, snapshot);
        }
        let outcomes = [
            ("exported", self.exported),
            ("sampled", books.sampled),
            ("filtered", books.filtered),
            ("dropped", dropped),
            ("lost", books.lost),
        ];
        let family = snapshot.family(&REQUESTS);
        for (outcome, count) in outcomes {
            let labels = LabelSet::new(&REQUESTS, Some(&self.identity), &[outcome]);
            family.push(labels, Value::Counter(count as f64));
        }
    }

    /// Requests that the kernel only counted have a duration, but neither
    /// method nor status.
    fn snapshot_sampled(&self, books: &RequestCounters, snapshot: &mut Snapshot) {
        if self.http.contains_key(&HttpKey::REST) {
            return;
        }
        let value = HistogramValue {
            durations: books.sampled_durations,
            classic: Some(books.sampled_classic),
        };
        snapshot
            .family(&HTTP_SERVER_REQUEST_DURATION)
            .push(http_labels(&self.identity, &HttpKey::REST), Value::Histogram(Arc::new(value)));
    }

    fn http_set(&mut self, key: HttpKey) -> &mut Observed {
        let is_full = self.http.len() >= MAX_HTTP_SETS && !self.http.contains_key(&key);
        self.folded += u64::from(is_full);
        let key = if is_full { HttpKey::REST } else { key };
        let identity = &self.identity;
        self.http.entry(key).or_insert_with(|| Observed::new(http_labels(identity, &key)))
    }

    fn turn_set(&mut self, protocol: Protocol, port: u16) -> &mut Observed {
        let is_full =
            self.turns.len() >= MAX_TURN_SETS && !self.turns.contains_key(&(protocol, port));
        self.folded += u64::from(is_full);
        let port = if is_full { 0 } else { port };
        let identity = &self.identity;
        self.turns.entry((protocol, port)).or_insert_with(|| {
            let port = if port == 0 { "_other".to_owned() } else { port.to_string() };
            let values = [protocol_name(protocol), port.as_str()];
            Observed::new(LabelSet::new(&TURN_DURATION, Some(identity), &values))
        })
    }
}

fn http_labels(identity: &Identity, key: &HttpKey) -> LabelSet {
    let status = if key.status == 0 { String::new() } else { key.status.to_string() };
    let error = match key.failure {
        Failure::None => String::new(),
        Failure::Status(status) => status.to_string(),
        Failure::Aborted => "client_disconnected".to_owned(),
    };
    let values = [key.method.as_str(), &status, "http", &error, ""];
    LabelSet::new(&HTTP_SERVER_REQUEST_DURATION, Some(identity), &values)
}

const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tls => "tls",
        Protocol::Http2 => "http2",
        Protocol::Http1 => "http",
        Protocol::Unknown | Protocol::Opaque => "tcp",
    }
}
