//! Series of the calls that one service makes to its peers.
//!
//! Separate from requests because the peers are not ours to bound: they are
//! told apart by address while they have no names, the first few of a
//! container for good, the others together.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use agent_common::conn::Protocol;
use agent_common::head::Method;
use agent_common::record::request::FLAG_UNPARSED;

use super::budget::{Budget, CALL_SET, Group, OTHER_CALL_SET};
use super::durations::Durations;
use super::histogram::HistogramValue;
use super::labels::{Identity, LabelSet};
use super::parts::PartProtocol;
use super::snapshot::{Snapshot, Value};
use crate::event::call::Call;
use crate::metrics::Metric;
use crate::metrics::workload::{CALL_DURATION, HTTP_CLIENT_REQUEST_DURATION};
use agent_common::histogram::Histogram;

/// Peers that a container may have series of.
const MAX_PEERS: usize = 4;
/// Label sets of calls that a container may have.
const MAX_SETS: usize = 16;
/// Folded label sets that are told apart in order to count them.
const MAX_FOLDED: usize = 256;

/// A peer, or `None` for those beyond the bound.
type Peer = Option<(IpAddr, u16)>;

/// Why a call failed, as `error_type` says it: what OpenTelemetry asks of a
/// client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Failure {
    None,
    /// A status of 400 or more: the status itself.
    Status(u16),
    /// The connection ended before a response.
    NoResponse,
}

/// What tells two label sets apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Http { peer: Peer, method: Method, status: u16, failure: Failure },
    Other { peer: Peer, protocol: PartProtocol },
}

impl Key {
    fn of(call: &Call, peer: Peer) -> Self {
        if call.protocol != Protocol::Http1 {
            let protocol = match call.protocol {
                Protocol::Tls => PartProtocol::Tls,
                Protocol::Http2 => PartProtocol::Http2,
                _ => PartProtocol::Tcp,
            };
            return Self::Other { peer, protocol };
        }
        let failure = match call.status {
            0 if call.flags & FLAG_UNPARSED == 0 => Failure::NoResponse,
            status @ 400.. => Failure::Status(status),
            _ => Failure::None,
        };
        Self::Http { peer, method: call.method, status: call.status, failure }
    }

    /// Where calls of its kind are counted that have no series of their own.
    const fn rest(self) -> Self {
        match self {
            Self::Http { .. } => {
                Self::Http { peer: None, method: Method::Other, status: 0, failure: Failure::None }
            }
            Self::Other { .. } => Self::Other { peer: None, protocol: PartProtocol::Other },
        }
    }

    const fn metric(self) -> &'static Metric {
        match self {
            Self::Http { .. } => &HTTP_CLIENT_REQUEST_DURATION,
            Self::Other { .. } => &CALL_DURATION,
        }
    }

    const fn series(self) -> u32 {
        match self {
            Self::Http { .. } => CALL_SET,
            Self::Other { .. } => OTHER_CALL_SET,
        }
    }

    fn labels(self, identity: &Identity) -> LabelSet {
        let name = |peer: Peer| match peer {
            Some((address, port)) => (address.to_string(), port.to_string()),
            None => ("_other".to_owned(), "_other".to_owned()),
        };
        match self {
            Self::Http { peer, method, status, failure } => {
                let (address, port) = name(peer);
                let status = if status == 0 { String::new() } else { status.to_string() };
                let error = match failure {
                    Failure::None => String::new(),
                    Failure::Status(status) => status.to_string(),
                    Failure::NoResponse => "no_response".to_owned(),
                };
                let values = [method.as_str(), &status, &address, &port, &error];
                LabelSet::new(&HTTP_CLIENT_REQUEST_DURATION, Some(identity), &values)
            }
            Self::Other { peer, protocol } => {
                let (address, port) = name(peer);
                let values = [protocol.as_str(), &address, &port];
                LabelSet::new(&CALL_DURATION, Some(identity), &values)
            }
        }
    }
}

/// Durations of one label set.
#[derive(Debug)]
enum Observed {
    Http(Durations),
    Other(Histogram),
}

impl Observed {
    fn new(key: Key) -> Self {
        match key {
            Key::Http { .. } => Self::Http(Durations::default()),
            Key::Other { .. } => Self::Other(Histogram::new()),
        }
    }

    fn observe(&mut self, ns: u64) {
        match self {
            Self::Http(durations) => durations.observe(ns),
            Self::Other(histogram) => histogram.observe(ns),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Http(durations) => durations.value(),
            Self::Other(histogram) => Value::Histogram(Arc::new(HistogramValue {
                durations: *histogram,
                classic: None,
                exemplars: None,
            })),
        }
    }
}

/// One label set.
#[derive(Debug)]
struct Set {
    labels: LabelSet,
    observed: Box<Observed>,
    /// Whether it has series. `None` for a rest that was not shown yet.
    is_shown: Option<bool>,
}

/// Calls of one service.
#[derive(Debug)]
pub struct CallSeries {
    identity: Identity,
    peers: Vec<(IpAddr, u16)>,
    sets: HashMap<Key, Set>,
    folded: HashSet<Key>,
}

impl CallSeries {
    /// A service that made no call.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, peers: Vec::new(), sets: HashMap::new(), folded: HashSet::new() }
    }

    /// Counts a call. Without a budget it is counted with all others.
    pub fn observe(&mut self, call: &Call, budget: Option<&mut Budget>) {
        let peer = self.peer(call);
        let key = Key::of(call, peer);
        let is_own =
            self.sets.contains_key(&key) || budget.is_some_and(|budget| self.may_have(key, budget));
        let key = if is_own { key } else { key.rest() };
        let set = self.sets.entry(key).or_insert_with(|| Set {
            labels: key.labels(&self.identity),
            observed: Box::new(Observed::new(key)),
            is_shown: is_own.then_some(true),
        });
        set.observed.observe(call.wall_ns());
    }

    /// Puts its series into a snapshot.
    pub fn snapshot(&mut self, budget: &mut Budget, snapshot: &mut Snapshot) {
        for (key, set) in &mut self.sets {
            let is_shown =
                set.is_shown.get_or_insert_with(|| budget.grant_fold(Group::Calls, key.series()));
            if *is_shown {
                snapshot.family(key.metric()).push(set.labels.clone(), set.observed.value());
            }
        }
    }

    /// The peer of a call, if it is one of the first few.
    fn peer(&mut self, call: &Call) -> Peer {
        let peer = (call.peer_ip(), call.peer.1);
        if self.peers.contains(&peer) {
            return Some(peer);
        }
        (self.peers.len() < MAX_PEERS).then(|| {
            self.peers.push(peer);
            peer
        })
    }

    /// Whether a label set that has no series gets some.
    fn may_have(&mut self, key: Key, budget: &mut Budget) -> bool {
        // What was folded once stays so: its series would begin too late.
        let is_granted = key != key.rest()
            && self.sets.len() < MAX_SETS
            && !self.folded.contains(&key)
            && budget.grant(Group::Calls, key.series());
        if !is_granted
            && key != key.rest()
            && self.folded.len() < MAX_FOLDED
            && self.folded.insert(key)
        {
            budget.count_folded(key.metric());
        }
        is_granted
    }
}

#[cfg(test)]
mod tests;
