//! The two ends of a connection on this node: a request that was served here and
//! the call that it was, made here too. Pure.
//!
//! Separate because what is made of one trace must leave as one: a request waits
//! here for the request that called it, and goes with it, in its trace and with
//! the call's span as its parent. Callers end after what they called, so a tree
//! is put together from its leaves, and leaves when its root does.
//!
//! What `traceparent` says is never contradicted: a request leaves in the trace
//! that it names. Its parent is the call that was seen on this node, if that is
//! in this trace: its span is sure to be there, and it is nearer. A caller that
//! was told of no trace itself is in that of the first that it called.
//!
//! Nothing is put into any message: who called is found by the addresses and
//! ports of both ends and by times that overlap. An address that is rewritten in
//! between (that of a Kubernetes Service) is not found again; then there are two
//! traces.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv6Addr;

use super::Finished;
use crate::event::call::Call;
use crate::tap::join::Unit;

/// How long a request waits to hear of the call that it was: calls are told of
/// when their connection is swept, once a second, at the latest.
const HEAR_NS: u64 = 1_600_000_000;
/// How long it waits for the request that made the call, once that is known.
const CALLER_NS: u64 = 10_000_000_000;
/// Requests that wait; beyond it the one that has waited longest goes. About a
/// kilobyte each.
const MAX_HELD: usize = 4_096;
/// Calls that are remembered, and units that are to be kept, in each of two
/// generations.
const MAX_CALLS: usize = 4_096;

/// Where a connection is: its network namespace, for one that does not leave it,
/// else 0; and address and port of who called, and of who was called.
type Connection = (u32, (Ipv6Addr, u16), (Ipv6Addr, u16));

/// A call of a connection, by when it was sent.
type CallKey = (Connection, u64);

/// A call that was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sent_ns: u64,
    end_ns: u64,
    /// The tree and the span that it is in, once its caller is.
    holder: Option<(u64, u64)>,
}

/// A request with those that it called. The first is the root.
#[derive(Debug)]
struct Tree {
    requests: Vec<Finished>,
    due_ns: u64,
    /// The trace that it has to be in, if one of it was told.
    trace_id: Option<u128>,
    /// The call that its root was, once that is known.
    call: Option<CallKey>,
    /// Trees that are a part of it.
    merged: Vec<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Linker {
    trees: HashMap<u64, Tree>,
    due: BTreeSet<(u64, u64)>,
    held: usize,
    next_tree: u64,
    /// Where trees went that are a part of another now.
    moved: HashMap<u64, u64>,
    /// Roots that nobody is known to have called, by their connection.
    roots: HashMap<Connection, Vec<u64>>,
    /// Trees whose call is known and its caller is not.
    called: HashMap<CallKey, u64>,
    calls: Generations<Connection, Vec<Seen>>,
    /// Units whose request is to be kept, with when the call was sent that is.
    wanted: Generations<Unit, u64>,
}

/// A map that forgets what is old.
#[derive(Debug)]
struct Generations<K, V> {
    new: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { new: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + std::hash::Hash, V: Default> Generations<K, V> {
    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self.new.get_mut(key) {
            Some(value) => Some(value),
            None => self.old.get_mut(key),
        }
    }

    /// The value of a key, moved to the new generation.
    fn entry(&mut self, key: K) -> &mut V {
        if self.new.len() >= MAX_CALLS {
            self.old = std::mem::take(&mut self.new);
        }
        let value = self.old.remove(&key).unwrap_or_default();
        self.new.entry(key).or_insert(value)
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        self.new.remove(key).or_else(|| self.old.remove(key))
    }
}

/// Calls of one connection that are remembered: one at a time is under way.
const MAX_SEEN: usize = 4;

impl Linker {
    /// A call ended, of a request that is kept or not.
    pub(super) fn call(&mut self, call: &Call) {
        let connection = key_of(call).0;
        let seen = Seen { sent_ns: call.sent_ns, end_ns: call.end_ns, holder: None };
        let served = self.roots.get(&connection).and_then(|trees| {
            let overlap = |tree: &u64| self.overlap(*tree, &seen);
            trees.iter().copied().filter(|tree| overlap(tree) > 0).max_by_key(|tree| overlap(tree))
        });
        if let Some(tree) = served {
            self.wait_for(tree, (connection, call.sent_ns));
            *self.wanted.entry(Unit::of_call(call)) = call.sent_ns;
        }
        let known = self.calls.entry(connection);
        if known.len() >= MAX_SEEN {
            known.remove(0);
        }
        known.push(seen);
    }

    /// Whether a request is to be kept because one that it called is.
    pub(super) fn is_wanted(&mut self, request: &crate::event::request::Request) -> bool {
        let sent_ns = self.wanted.remove(&Unit::of_request(request));
        sent_ns.is_some_and(|sent_ns| (request.read_ns..=request.end_ns).contains(&sent_ns))
    }

    /// A request comes with its calls. Gives one that has to go for it.
    pub(super) fn request(&mut self, finished: Finished, now_ns: u64) -> Option<Vec<Finished>> {
        self.next_tree += 1;
        let id = self.next_tree;
        let calls: Vec<_> =
            finished.calls.iter().map(|one| (key_of(&one.call), one.span_id)).collect();
        let request = &finished.request;
        let connection = connection(request.netns, request.remote, request.local);
        let times = (request.arrival_ns, request.end_ns);
        let tree = Tree {
            trace_id: request.trace.map(|trace| trace.trace_id),
            requests: vec![finished],
            due_ns: now_ns.saturating_add(HEAR_NS),
            call: None,
            merged: Vec::new(),
        };
        self.held += 1;
        self.due.insert((tree.due_ns, id));
        self.trees.insert(id, tree);
        for (key, span_id) in calls {
            if let Some(child) = self.called.remove(&key) {
                self.attach(child, id, span_id);
            } else if let Some(known) = self.calls.get_mut(&key.0)
                && let Some(seen) = known.iter_mut().find(|seen| seen.sent_ns == key.1)
            {
                seen.holder = Some((id, span_id));
            }
        }
        let known = self.calls.get_mut(&connection).map_or(&[][..], |known| &*known);
        let best = known.iter().map(|seen| (overlap(times, seen), *seen)).max_by_key(|(of, _)| *of);
        match best.filter(|(overlap, _)| *overlap > 0).map(|(_, seen)| seen) {
            Some(Seen { holder: Some((caller, span_id)), .. }) => {
                self.attach(id, caller, span_id);
            }
            Some(seen) => self.wait_for(id, (connection, seen.sent_ns)),
            None => self.roots.entry(connection).or_default().push(id),
        }
        if self.held > MAX_HELD { self.first() } else { None }
    }

    /// A tree that has waited long enough, one after another.
    pub(super) fn expired(&mut self, now_ns: u64) -> Option<Vec<Finished>> {
        let (due_ns, _) = self.due.first()?;
        if *due_ns > now_ns { None } else { self.first() }
    }

    /// A tree that waits, one after another, until none does.
    pub(super) fn rest(&mut self) -> Option<Vec<Finished>> {
        self.expired(u64::MAX)
    }

    fn overlap(&self, tree: u64, seen: &Seen) -> u64 {
        let root = self.trees.get(&tree).and_then(|tree| tree.requests.first());
        root.map_or(0, |root| overlap((root.request.arrival_ns, root.request.end_ns), seen))
    }

    /// The call is known that a tree's root was: waits for its caller.
    fn wait_for(&mut self, id: u64, key: CallKey) {
        self.forget_root(id);
        let Some(tree) = self.trees.get_mut(&id) else { return };
        self.due.remove(&(tree.due_ns, id));
        tree.due_ns = tree.due_ns.saturating_add(CALLER_NS);
        tree.call = Some(key);
        self.due.insert((tree.due_ns, id));
        self.called.insert(key, id);
    }

    /// Makes a tree a part of its caller's.
    fn attach(&mut self, child: u64, caller: u64, span_id: u64) {
        let mut root = caller;
        while let Some(to) = self.moved.get(&root) {
            root = *to;
        }
        if root == child || !self.trees.contains_key(&root) {
            // Its caller has gone.
            return;
        }
        let trace_of = |tree| self.trees.get(tree).and_then(|tree: &Tree| tree.trace_id);
        if let (Some(said), Some(callers)) = (trace_of(&child), trace_of(&root))
            && said != callers
        {
            self.let_go(child);
            return;
        }
        self.forget_root(child);
        let Some(mut tree) = self.trees.remove(&child) else { return };
        self.due.remove(&(tree.due_ns, child));
        if let Some(first) = tree.requests.first_mut() {
            first.parent = Some(span_id);
        }
        if let Some(to) = self.trees.get_mut(&root) {
            to.trace_id = to.trace_id.or(tree.trace_id);
            to.requests.append(&mut tree.requests);
            to.merged.append(&mut tree.merged);
            to.merged.push(child);
            self.moved.insert(child, root);
        }
    }

    /// A tree has nothing to wait for any more.
    fn let_go(&mut self, id: u64) {
        self.forget_root(id);
        if let Some(tree) = self.trees.get_mut(&id) {
            self.due.remove(&(tree.due_ns, id));
            tree.due_ns = 0;
            self.due.insert((0, id));
        }
    }

    fn forget_root(&mut self, id: u64) {
        let root = self.trees.get(&id).and_then(|tree| tree.requests.first());
        let Some(connection) = root
            .map(|root| connection(root.request.netns, root.request.remote, root.request.local))
        else {
            return;
        };
        if let Some(trees) = self.roots.get_mut(&connection) {
            trees.retain(|tree| *tree != id);
            if trees.is_empty() {
                self.roots.remove(&connection);
            }
        }
    }

    /// Takes out the tree that is due first. All of it is one trace.
    fn first(&mut self) -> Option<Vec<Finished>> {
        let (_, id) = *self.due.first()?;
        self.forget_root(id);
        self.due.pop_first();
        let mut tree = self.trees.remove(&id)?;
        if let Some(key) = tree.call
            && self.called.get(&key) == Some(&id)
        {
            self.called.remove(&key);
        }
        for merged in &tree.merged {
            self.moved.remove(merged);
        }
        self.held = self.held.saturating_sub(tree.requests.len());
        let root = tree.requests.first().map(|root| (root.trace_id, root.offset_ns));
        let (own, offset_ns) = root.unwrap_or_default();
        let trace_id = tree.trace_id.unwrap_or(own);
        for one in &mut tree.requests {
            one.trace_id = trace_id;
            // Each has read the clocks itself: within a trace times are to compare.
            one.offset_ns = offset_ns;
        }
        begin_in_order(&mut tree.requests);
        Some(tree.requests)
    }
}

/// A call is sent before its first byte arrives: that it is sent is stamped when
/// the system call is done, which may be later.
fn begin_in_order(requests: &mut [Finished]) {
    let arrived = |one: &Finished| Some((one.parent?, one.request.arrival_ns));
    let arrivals: HashMap<u64, u64> = requests.iter().filter_map(arrived).collect();
    for called in requests.iter_mut().flat_map(|one| &mut one.calls) {
        if let Some(arrival_ns) = arrivals.get(&called.span_id) {
            called.call.sent_ns = called.call.sent_ns.min(*arrival_ns);
        }
    }
}

fn key_of(call: &Call) -> CallKey {
    (connection(call.netns, call.local, call.peer), call.sent_ns)
}

/// Both ends of a loopback connection, or of one of an address with itself, are in
/// one network namespace, and every namespace may have the same. Others may go
/// from one namespace to another, whose addresses then differ.
fn connection(netns: u32, from: (Ipv6Addr, u16), to: (Ipv6Addr, u16)) -> Connection {
    let stays = from.0 == to.0 || to.0.to_canonical().is_loopback();
    (if stays { netns } else { 0 }, from, to)
}

/// Nanoseconds for which a request and a call went on both, and one: exchanges of
/// a connection follow each other, but their ends are stamped on two CPUs.
const fn overlap((arrival_ns, end_ns): (u64, u64), seen: &Seen) -> u64 {
    let start = if arrival_ns > seen.sent_ns { arrival_ns } else { seen.sent_ns };
    let end = if end_ns < seen.end_ns { end_ns } else { seen.end_ns };
    if start > end { 0 } else { end - start + 1 }
}

#[cfg(test)]
mod tests;
