//! Tests of the linker: callers early, late, nested, unknown, and bounds.

use std::net::Ipv4Addr;
use std::sync::Arc;

use agent_common::conn::Protocol;
use agent_common::head::Method;
use proptest::prelude::*;

use super::*;
use crate::event::call::Caller;
use crate::event::request::{Request, Trace};
use crate::spans::Called;
use crate::telemetry::traces::Decision;

const MS: u64 = 1_000_000;

fn at(port: u16) -> (Ipv6Addr, u16) {
    (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port)
}

/// A call of service `from` to service `to`, on their connection.
fn call(from: u16, to: u16, sent_ms: u64, end_ms: u64) -> Call {
    Call {
        service: from,
        protocol: Protocol::Http1,
        method: Method::Get,
        status: 200,
        flags: 0,
        caller: Caller::Sender,
        tgid: u32::from(from),
        tid: 1,
        goid: 1,
        request_read_ns: 0,
        retransmits: 0,
        sent_ns: sent_ms * MS,
        ready_ns: end_ms * MS,
        read_ns: end_ms * MS,
        end_ns: end_ms * MS,
        bytes_out: 1,
        bytes_in: 1,
        loss_ns: 0,
        netns: 1,
        local: at(from + 1_000),
        peer: at(to),
    }
}

/// A request of service `of`, called from `from`; its id is that of its span.
fn request(id: u64, from: u16, of: u16, start_ms: u64, end_ms: u64, calls: &[Call]) -> Finished {
    let calls =
        calls.iter().zip(1..).map(|(call, n)| Called { call: call.clone(), span_id: id * 100 + n });
    Finished {
        request: Request {
            service: of,
            tgid: u32::from(of),
            tid: 1,
            goid: 1,
            arrival_ns: start_ms * MS,
            read_ns: start_ms * MS,
            end_ns: end_ms * MS,
            local: at(of),
            remote: at(from + 1_000),
            ..Request::sample(1)
        },
        origin: Arc::default(),
        calls: calls.collect(),
        route: None,
        missing: 0,
        decision: Decision::Ratio,
        trace_id: u128::from(id),
        span_id: id,
        parent: None,
        offset_ns: 0,
    }
}

/// What left: span, trace and parent of each.
fn left(trees: Vec<Vec<Finished>>) -> Vec<(u64, u128, Option<u64>)> {
    let all = trees.into_iter().flatten();
    let mut of: Vec<_> = all.map(|one| (one.span_id, one.trace_id, one.parent)).collect();
    of.sort_unstable();
    of
}

fn drained(linker: &mut Linker) -> Vec<(u64, u128, Option<u64>)> {
    let of = left(std::iter::from_fn(|| linker.rest()).collect());
    assert_eq!(linker.held, 0);
    assert!(linker.trees.is_empty() && linker.due.is_empty() && linker.moved.is_empty());
    assert!(linker.roots.is_empty() && linker.called.is_empty());
    of
}

#[test]
fn a_chain_is_one_trace_in_whatever_order_its_ends_are_told() {
    // 1 calls 2, which calls 3. A call is told of before the request that made it.
    let (first, second) = (call(1, 2, 11, 29), call(2, 3, 13, 27));
    let wanted = [(1, 1, None), (2, 1, Some(101)), (3, 1, Some(201))];
    for order in [[23, 2, 12, 1, 3], [3, 23, 2, 12, 1], [23, 12, 1, 2, 3], [12, 1, 23, 2, 3]] {
        let mut linker = Linker::default();
        for event in order {
            match event {
                1 => {
                    assert!(
                        linker
                            .request(request(1, 9, 1, 10, 30, std::slice::from_ref(&first)), 0)
                            .is_none()
                    )
                }
                2 => assert!(
                    linker
                        .request(request(2, 1, 2, 12, 28, std::slice::from_ref(&second)), 0)
                        .is_none()
                ),
                3 => assert!(linker.request(request(3, 2, 3, 14, 26, &[]), 0).is_none()),
                12 => linker.call(&first),
                _ => linker.call(&second),
            }
        }
        assert_eq!(drained(&mut linker), wanted, "{order:?}");
    }
}

#[test]
fn exchanges_of_one_connection_are_told_apart_by_time() {
    let mut linker = Linker::default();
    let calls: Vec<_> = (0..3).map(|n| call(1, 2, 10 + 10 * n, 18 + 10 * n)).collect();
    for n in 0..3 {
        linker.request(request(10 + n, 1, 2, 11 + 10 * n, 17 + 10 * n, &[]), 0);
        linker.call(&calls[n as usize]);
    }
    linker.request(request(1, 9, 1, 5, 60, &calls), 0);
    let wanted = [(1, 1, None), (10, 1, Some(101)), (11, 1, Some(102)), (12, 1, Some(103))];
    assert_eq!(drained(&mut linker), wanted);
}

/// The same with what its `traceparent` says.
fn told(mut request: Finished, trace_id: u128, parent_id: u64) -> Finished {
    request.request.trace = Some(Trace { trace_id, parent_id, is_sampled: true });
    request.trace_id = trace_id;
    request.parent = Some(parent_id);
    request
}

#[test]
fn a_call_that_was_seen_is_nearer_than_what_traceparent_says_of_the_same_trace() {
    // 1 was told of trace 77, and passes it on; or it knows of none, and begins it.
    for front in [Some((77, 700)), None] {
        for callee_first in [true, false] {
            let mut linker = Linker::default();
            let to = call(1, 2, 11, 29);
            let caller = request(1, 9, 1, 10, 30, std::slice::from_ref(&to));
            let caller = match front {
                Some((trace, parent)) => told(caller, trace, parent),
                None => caller,
            };
            let callee = told(request(2, 1, 2, 12, 28, &[]), 77, 701);
            linker.call(&to);
            let both = if callee_first { [callee, caller] } else { [caller, callee] };
            both.into_iter().for_each(|one| assert!(linker.request(one, 0).is_none()));
            let parent = front.map(|(_, parent)| parent);
            assert_eq!(drained(&mut linker), [(1, 77, parent), (2, 77, Some(101))]);
        }
    }
}

#[test]
fn a_request_leaves_in_the_trace_that_it_was_told_of_whoever_called_it() {
    for callee_first in [true, false] {
        let mut linker = Linker::default();
        let calls = [call(1, 2, 11, 19), call(1, 3, 20, 29)];
        let caller = told(request(1, 9, 1, 10, 30, &calls), 77, 700);
        let other = told(request(2, 1, 2, 12, 18, &[]), 88, 800);
        calls.iter().for_each(|one| linker.call(one));
        let both = if callee_first { [other, caller] } else { [caller, other] };
        both.into_iter().for_each(|one| assert!(linker.request(one, 0).is_none()));
        linker.request(request(3, 1, 3, 21, 28, &[]), 0);
        // It has nothing to wait for.
        assert_eq!(left(vec![linker.expired(0).unwrap()]), [(2, 88, Some(800))]);
        assert_eq!(drained(&mut linker), [(1, 77, Some(700)), (3, 77, Some(102))]);
    }
}

#[test]
fn the_same_loopback_connection_of_two_namespaces_is_two() {
    for namespaces in [[1, 2], [2, 1]] {
        let mut linker = Linker::default();
        for (turn, netns) in namespaces.into_iter().enumerate() {
            let id = 10 * (turn as u64 + 1);
            let to = Call { netns, ..call(1, 2, 11, 29) };
            let mut callee = request(id + 1, 1, 2, 12, 28, &[]);
            callee.request.netns = netns;
            let mut caller = request(id, 9, 1, 10, 30, std::slice::from_ref(&to));
            caller.request.netns = netns;
            // All of both come before either caller does.
            linker.call(&to);
            linker.request(callee, 0);
            linker.request(caller, 0);
        }
        let of =
            |id: u64| [(id, u128::from(id), None), (id + 1, u128::from(id), Some(id * 100 + 1))];
        assert_eq!(drained(&mut linker), [of(10), of(20)].concat());
    }
}

#[test]
fn what_was_called_begins_within_its_call() {
    let mut linker = Linker::default();
    let to = call(1, 2, 14, 29);
    linker.call(&to);
    linker.request(Finished { offset_ns: 7, ..request(2, 1, 2, 12, 28, &[]) }, 0);
    linker.request(Finished { offset_ns: 8, ..request(1, 9, 1, 10, 30, &[to]) }, 0);
    let tree = linker.rest().unwrap();
    assert!(tree.iter().all(|one| one.offset_ns == 8), "by one clock");
    let caller = tree.iter().find(|one| one.span_id == 1).unwrap();
    assert_eq!(caller.calls[0].call.sent_ns, 12 * MS);
}

#[test]
fn a_connection_between_two_namespaces_is_one() {
    let mut linker = Linker::default();
    let pod = |port: u16, last: u8| (Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped(), port);
    let to = Call { netns: 1, local: pod(1_001, 1), peer: pod(2, 2), ..call(1, 2, 11, 29) };
    let mut callee = request(2, 1, 2, 12, 28, &[]);
    let of = &mut callee.request;
    (of.netns, of.local, of.remote) = (2, to.peer, to.local);
    linker.call(&to);
    linker.request(callee, 0);
    linker.request(request(1, 9, 1, 10, 30, &[to]), 0);
    assert_eq!(drained(&mut linker), [(1, 1, None), (2, 1, Some(101))]);
}

#[test]
fn who_is_not_called_from_here_waits_a_little_and_goes_alone() {
    let mut linker = Linker::default();
    linker.request(request(1, 9, 1, 10, 30, &[]), 50 * MS);
    // Another connection, and the same one at another time.
    linker.call(&call(8, 1, 9, 31));
    linker.call(&call(9, 1, 40, 50));
    assert!(linker.expired(50 * MS + HEAR_NS - 1).is_none());
    let tree = linker.expired(50 * MS + HEAR_NS).unwrap();
    assert_eq!(left(vec![tree]), [(1, 1, None)]);
    assert!(drained(&mut linker).is_empty());
}

#[test]
fn a_caller_that_is_never_told_of_is_waited_for_longer_and_then_left_out() {
    let mut linker = Linker::default();
    linker.request(request(2, 1, 2, 10, 30, &[]), 0);
    linker.call(&call(1, 2, 9, 31));
    assert!(linker.expired(CALLER_NS).is_none());
    let tree = linker.expired(HEAR_NS + CALLER_NS).unwrap();
    assert_eq!(left(vec![tree]), [(2, 2, None)]);
    // It comes too late: a trace of its own, and nothing points to what is gone.
    linker.request(request(1, 9, 1, 5, 40, &[call(1, 2, 9, 31)]), 0);
    assert_eq!(drained(&mut linker), [(1, 1, None)]);
}

#[test]
fn the_request_that_made_a_kept_call_is_kept_and_no_other() {
    let mut linker = Linker::default();
    linker.call(&call(1, 2, 9, 31));
    assert!(!linker.is_wanted(&request(1, 9, 1, 5, 40, &[]).request), "its callee is not kept");
    linker.request(request(2, 1, 2, 50, 60, &[]), 0);
    linker.call(&call(1, 2, 49, 61));
    assert!(!linker.is_wanted(&request(3, 9, 3, 5, 90, &[]).request), "another unit");
    assert!(linker.is_wanted(&request(1, 9, 1, 45, 90, &[]).request));
    assert!(!linker.is_wanted(&request(1, 9, 1, 45, 90, &[]).request), "once");
}

#[test]
fn no_more_wait_than_the_bound() {
    let mut linker = Linker::default();
    let mut gone = 0;
    for n in 0..MAX_HELD as u64 + 100 {
        gone += linker.request(request(n + 1, 9, 1, n, n + 1, &[]), n).map_or(0, |tree| tree.len());
    }
    assert_eq!(gone, 100);
    assert_eq!(drained(&mut linker).len(), MAX_HELD);
}

proptest! {
    #[test]
    fn every_request_leaves_once_and_every_parent_is_there(
        events in proptest::collection::vec((0u8..4, 0u16..4, 0u16..4, 0u64..50, 0u64..20), 0..120),
    ) {
        let mut linker = Linker::default();
        let (mut ids, mut out, mut calls) = (0, Vec::new(), Vec::new());
        for (kind, from, to, start, length) in events {
            match kind {
                0 => {
                    let one = call(from, to, start, start + length);
                    linker.call(&one);
                    calls.push(one);
                }
                1 | 2 => {
                    ids += 1;
                    let own: Vec<_> = calls.iter().filter(|one| one.service == to).cloned().collect();
                    calls.retain(|one| one.service != to);
                    let came = request(ids, from, to, start, start + length, &own);
                    // Some were told of one of two traces.
                    let came = if kind == 2 { told(came, 7_000 + u128::from(length & 1), 9_000) } else { came };
                    out.extend(linker.request(came, start * MS));
                }
                _ => out.extend(linker.expired(start * MS * 200)),
            }
        }
        out.extend(std::iter::from_fn(|| linker.rest()));
        prop_assert!(linker.trees.is_empty() && linker.moved.is_empty() && linker.called.is_empty());
        for tree in &out {
            let spans: Vec<u64> = tree.iter().flat_map(|one| one.calls.iter().map(|call| call.span_id)).collect();
            let outside = |parent: Option<u64>| parent.is_none_or(|parent| !spans.contains(&parent));
            prop_assert!(tree.iter().filter(|one| outside(one.parent)).count() == 1);
            prop_assert!(tree.iter().filter_map(|one| one.parent).all(|parent| spans.contains(&parent) || parent == 9_000));
            prop_assert!(tree.iter().all(|one| one.trace_id == tree[0].trace_id));
            prop_assert!(tree.iter().filter_map(|one| one.request.trace).all(|said| said.trace_id == tree[0].trace_id));
        }
        let mut left: Vec<u64> = out.into_iter().flatten().map(|one| one.span_id).collect();
        left.sort_unstable();
        prop_assert_eq!(left, (1..=ids).collect::<Vec<u64>>());
    }
}
