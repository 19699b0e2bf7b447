//! Which calls belong to which request.
//!
//! Separate and pure because calls come before their request or a little after
//! it: this holds both back, for a bounded time and in a bounded number.

use std::collections::{HashMap, VecDeque};

use agent_common::parts::UnitKind;

use crate::event::call::{Call, Caller};
use crate::event::request::Request;

/// How long a request waits for calls after it came. The kernel tells of a
/// call at the latest when connections are swept, once a second.
pub(super) const HOLD_NS: u64 = 1_500_000_000;
/// Requests that wait at a time; beyond it the oldest goes without the rest of
/// its calls. Each is about a kilobyte.
const MAX_HELD: usize = 4_096;
/// Calls of a request that are listed.
const MAX_CALLS: usize = 64;
/// Calls that wait for their request, in each of two generations; beyond it the
/// older one goes. Each is about 200 bytes.
const MAX_EARLY: usize = 8_192;

/// What makes requests and calls: each of these does one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unit {
    /// Process and goroutine.
    Goroutine(u32, u64),
    /// Process and thread.
    Thread(u32, u32),
    /// Process, and when the request was read that an event loop is at.
    Turns(u32, u64),
}

impl Unit {
    const fn new(tgid: u32, tid: u32, goid: u64) -> Self {
        if goid == 0 { Self::Thread(tgid, tid) } else { Self::Goroutine(tgid, goid) }
    }

    /// What served a request.
    pub(crate) const fn of_request(request: &Request) -> Self {
        if matches!(request.work.kind, UnitKind::Loop) {
            return Self::Turns(request.tgid, request.read_ns);
        }
        Self::new(request.tgid, request.tid, request.goid)
    }

    /// What made a call.
    pub(crate) const fn of_call(call: &Call) -> Self {
        if matches!(call.caller, Caller::Loop) {
            return Self::Turns(call.tgid, call.request_read_ns);
        }
        Self::new(call.tgid, call.tid, call.goid)
    }
}

/// A request with its calls.
#[derive(Debug)]
pub(crate) struct Joined<T> {
    /// The request.
    pub(crate) request: Request,
    /// What else is kept of it, such as who served it.
    pub(crate) about: T,
    /// Its calls, in the order in which they were sent.
    pub(crate) calls: Vec<Call>,
    /// Calls that it made beyond these.
    pub(crate) missing: u16,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    /// It is complete, with these calls and without so many.
    Now(Vec<Call>, u16),
    /// It waits, and one that waited too long may have to go.
    Held(Option<Box<Joined<T>>>),
}

#[derive(Debug)]
struct Held<T> {
    number: u64,
    joined: Joined<T>,
}

/// Requests that wait for calls, and calls that wait for requests.
#[derive(Debug)]
pub(crate) struct Joiner<T> {
    held: HashMap<Unit, Vec<Held<T>>>,
    /// When each held request goes, in order. It may have gone before.
    due: VecDeque<(u64, Unit, u64)>,
    next_number: u64,
    early: Generation,
    earlier: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    calls: HashMap<Unit, Vec<Call>>,
    count: usize,
}

impl Generation {
    /// Moves calls of a request to `taken`, which is to hold at most `max`; its
    /// unit has no use for others before its end.
    fn take(&mut self, request: &Request, taken: &mut Vec<Call>, max: usize) {
        let unit = Unit::of_request(request);
        let Some(calls) = self.calls.get_mut(&unit) else { return };
        let before = calls.len();
        calls.retain(|call| {
            if is_during(call, request) && taken.len() < max {
                taken.push(call.clone());
                return false;
            }
            call.sent_ns > request.end_ns
        });
        self.count -= before - calls.len();
        if calls.is_empty() {
            self.calls.remove(&unit);
        }
    }
}

impl<T> Default for Joiner<T> {
    fn default() -> Self {
        Self {
            held: HashMap::new(),
            due: VecDeque::new(),
            next_number: 0,
            early: Generation::default(),
            earlier: Generation::default(),
        }
    }
}

impl<T> Joiner<T> {
    /// A request came that is meant. `keep` makes what is held, if it is.
    pub(crate) fn request(
        &mut self,
        request: &Request,
        now_ns: u64,
        keep: impl FnOnce() -> (Request, T),
    ) -> Outcome<T> {
        let calls = self.early_calls(request);
        let missing = missing(request, &calls);
        if missing == 0 || calls.len() >= MAX_CALLS {
            return Outcome::Now(calls, missing);
        }
        let unit = Unit::of_request(request);
        self.next_number += 1;
        let number = self.next_number;
        let (request, about) = keep();
        let joined = Joined { request, about, calls, missing };
        self.held.entry(unit).or_default().push(Held { number, joined });
        self.due.push_back((now_ns.saturating_add(HOLD_NS), unit, number));
        let gone = if self.due.len() > MAX_HELD { self.oldest() } else { None };
        Outcome::Held(gone.map(Box::new))
    }

    /// A request came that is not meant: its calls are nobody's.
    pub(crate) fn pass(&mut self, request: &Request) {
        if self.early.count + self.earlier.count > 0 {
            self.early_calls(request);
        }
    }

    /// A call came; gives the request that it completes.
    pub(crate) fn call(&mut self, call: &Call) -> Option<Joined<T>> {
        let unit = Unit::of_call(call);
        let is_in = |held: &Held<T>| is_during(call, &held.joined.request);
        let Some(held) = self.held.get_mut(&unit) else {
            self.keep(unit, call);
            return None;
        };
        let Some(at) = held.iter().position(is_in) else {
            self.keep(unit, call);
            return None;
        };
        if let Some(Held { joined, .. }) = held.get_mut(at) {
            joined.calls.push(call.clone());
            joined.missing = missing(&joined.request, &joined.calls);
            if joined.missing > 0 && joined.calls.len() < MAX_CALLS {
                return None;
            }
        }
        let Held { mut joined, .. } = held.remove(at);
        if held.is_empty() {
            self.held.remove(&unit);
        }
        joined.calls.sort_by_key(|call| call.sent_ns);
        Some(joined)
    }

    /// A request that has waited long enough, one after another.
    pub(crate) fn expired(&mut self, now_ns: u64) -> Option<Joined<T>> {
        while self.due.front().is_some_and(|(due_ns, ..)| *due_ns <= now_ns) {
            if let Some(joined) = self.oldest() {
                return Some(joined);
            }
        }
        None
    }

    /// A request that waits, one after another, until none does.
    pub(crate) fn rest(&mut self) -> Option<Joined<T>> {
        self.expired(u64::MAX)
    }

    /// Calls that came before their request.
    fn early_calls(&mut self, request: &Request) -> Vec<Call> {
        let max = expected(request);
        let mut calls = Vec::new();
        for generation in [&mut self.earlier, &mut self.early] {
            if generation.count > 0 {
                generation.take(request, &mut calls, max);
            }
        }
        calls.sort_by_key(|call| call.sent_ns);
        calls
    }

    fn keep(&mut self, unit: Unit, call: &Call) {
        if self.early.count >= MAX_EARLY {
            self.earlier = std::mem::take(&mut self.early);
        }
        self.early.calls.entry(unit).or_default().push(call.clone());
        self.early.count += 1;
    }

    /// Takes out the request that waits longest, if it still does.
    fn oldest(&mut self) -> Option<Joined<T>> {
        let (_, unit, number) = self.due.pop_front()?;
        let held = self.held.get_mut(&unit)?;
        let at = held.iter().position(|held| held.number == number)?;
        let Held { mut joined, .. } = held.remove(at);
        if held.is_empty() {
            self.held.remove(&unit);
        }
        joined.calls.sort_by_key(|call| call.sent_ns);
        Some(joined)
    }
}

/// Whether the call was made while the request was served.
fn is_during(call: &Call, request: &Request) -> bool {
    (request.read_ns..=request.end_ns).contains(&call.sent_ns)
}

/// Calls that are listed, at most.
fn expected(request: &Request) -> usize {
    usize::from(request.work.calls).min(MAX_CALLS)
}

fn missing(request: &Request, calls: &[Call]) -> u16 {
    let listed = u16::try_from(calls.len()).unwrap_or(u16::MAX);
    request.work.calls.saturating_sub(listed)
}

#[cfg(test)]
mod tests;
