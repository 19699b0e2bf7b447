//! Tests of the joiner: early, late, missing and foreign calls, and bounds.

use proptest::prelude::*;

use super::super::tests::{call, identity, request};
use super::*;
use crate::attribution::identity::Identity;

/// A request that made so many calls.
fn calling(at_ms: u64, calls: u16) -> Request {
    let mut request = request(at_ms);
    request.work.calls = calls;
    request
}

fn offer(joiner: &mut Joiner<Identity>, request: &Request, now_ns: u64) -> Outcome<Identity> {
    joiner.request(request, now_ns, || (request.clone(), identity("process/api")))
}

fn sent(calls: &[Call]) -> Vec<u64> {
    calls.iter().map(|call| call.sent_ns).collect()
}

#[test]
fn a_request_without_calls_does_not_wait() {
    let mut joiner = Joiner::default();
    assert!(
        matches!(offer(&mut joiner, &request(1), 0), Outcome::Now(calls, 0) if calls.is_empty())
    );
}

#[test]
fn calls_that_came_before_are_there_at_once_in_order() {
    let mut joiner = Joiner::default();
    for at in [1_600_000, 1_500_000] {
        assert!(joiner.call(&call(at)).is_none());
    }
    let Outcome::Now(calls, 0) = offer(&mut joiner, &calling(1, 2), 0) else { panic!("held") };
    assert_eq!(sent(&calls), [1_500_000, 1_600_000]);
    assert_eq!(joiner.early.count + joiner.earlier.count, 0);
}

#[test]
fn a_request_waits_for_its_last_call() {
    let mut joiner = Joiner::default();
    joiner.call(&call(1_500_000));
    assert!(matches!(offer(&mut joiner, &calling(1, 2), 0), Outcome::Held(None)));
    assert!(joiner.call(&call(9_500_000)).is_none(), "of a later request");
    let joined = joiner.call(&call(1_400_000)).unwrap();
    assert_eq!((sent(&joined.calls), joined.missing), (vec![1_400_000, 1_500_000], 0));
    assert!(joiner.expired(u64::MAX).is_none(), "it has gone");
}

#[test]
fn after_its_time_a_request_goes_without_the_rest() {
    let mut joiner = Joiner::default();
    joiner.call(&call(1_500_000));
    assert!(matches!(offer(&mut joiner, &calling(1, 3), 7), Outcome::Held(None)));
    assert!(joiner.expired(6 + HOLD_NS).is_none());
    let joined = joiner.expired(7 + HOLD_NS).unwrap();
    assert_eq!((joined.calls.len(), joined.missing), (1, 2));
}

#[test]
fn calls_of_other_goroutines_threads_and_processes_are_not_taken() {
    let mut joiner = Joiner::default();
    for foreign in [
        Call { goid: 13, ..call(1_500_000) },
        Call { tgid: 9, ..call(1_500_000) },
        Call { goid: 0, tid: 11, ..call(1_500_000) },
    ] {
        joiner.call(&foreign);
    }
    assert!(matches!(offer(&mut joiner, &calling(1, 1), 0), Outcome::Held(None)));
    let threaded = Request { goid: 0, ..calling(1, 1) };
    let Outcome::Now(calls, 0) = offer(&mut joiner, &threaded, 0) else { panic!("held") };
    assert_eq!((calls[0].goid, calls[0].tid), (0, 11));
}

#[test]
fn calls_of_a_request_that_is_not_meant_go_with_it() {
    let mut joiner = Joiner::<Identity>::default();
    joiner.call(&call(1_500_000));
    joiner.call(&call(5_500_000));
    joiner.pass(&calling(1, 1));
    assert_eq!(joiner.early.count, 1, "the later one stays");
}

#[test]
fn requests_that_a_loop_serves_in_turns_have_each_its_own_calls() {
    let mut joiner = Joiner::default();
    let of_loop = |at_ms: u64, read_ns: u64| {
        let mut request = Request { goid: 0, read_ns, ..calling(at_ms, 1) };
        request.work.kind = UnitKind::Loop;
        request
    };
    let (one, other) = (of_loop(1, 1_100_000), of_loop(1, 1_200_000));
    for (at, request_read_ns) in [(1_500_000, other.read_ns), (1_600_000, one.read_ns)] {
        let caller = Caller::Loop;
        joiner.call(&Call { goid: 0, tid: 11, caller, request_read_ns, ..call(at) });
    }
    for (request, at) in [(one, 1_600_000), (other, 1_500_000)] {
        let Outcome::Now(calls, 0) = offer(&mut joiner, &request, 0) else { panic!("held") };
        assert_eq!(sent(&calls), [at]);
    }
}

#[test]
fn what_waits_is_bounded_and_the_oldest_goes_first() {
    let mut joiner = Joiner::default();
    let mut gone = 0;
    for at_ms in 0..MAX_HELD as u64 + 10 {
        if let Outcome::Held(Some(joined)) = offer(&mut joiner, &calling(at_ms, 1), 0) {
            assert_eq!(joined.request.arrival_ns, gone * 1_000_000);
            gone += 1;
        }
    }
    assert_eq!(gone, 10);
    for at in 0..3 * MAX_EARLY as u64 {
        joiner.call(&Call { goid: at, ..call(u64::MAX - 100) });
        assert!(joiner.early.count + joiner.earlier.count <= 2 * MAX_EARLY);
    }
}

#[test]
fn a_request_lists_a_bounded_number_of_calls() {
    let mut joiner = Joiner::default();
    for at in 0..200 {
        joiner.call(&call(1_100_000 + at));
    }
    let Outcome::Now(calls, missing) = offer(&mut joiner, &calling(1, 200), 0) else {
        panic!("held");
    };
    assert_eq!((calls.len(), missing), (MAX_CALLS, 200 - MAX_CALLS as u16));
}

proptest! {
    /// Whatever the order in which requests of some goroutines and their calls
    /// come, each request comes out once, with its own calls and no other.
    #[test]
    fn each_request_has_its_own_calls_in_any_order(
        order in Just((0..40usize).collect::<Vec<_>>()).prop_shuffle(),
        counts in proptest::collection::vec(0u16..4, 10),
    ) {
        #[derive(Clone)]
        enum Input { Request(Box<Request>), Call(Call) }
        let mut inputs = Vec::new();
        for (index, count) in (0u64..).zip(&counts) {
            // Requests of one goroutine follow each other.
            let goid = 1 + index % 3;
            let request = Request { goid, ..calling(10 * index, *count) };
            inputs.push(Input::Request(Box::new(request)));
            for number in 0..u64::from(*count) {
                let sent_ns = 10 * index * 1_000_000 + 2_000 + number;
                inputs.push(Input::Call(Call { goid, ..call(sent_ns) }));
            }
        }
        let mut shuffled: Vec<_> = inputs.clone().into_iter().zip(order.iter().cycle()).collect();
        // Requests of one goroutine finish in their order; calls are anywhere.
        shuffled.sort_by_key(|(_, place)| **place);
        let mut requests: Vec<_> =
            inputs.iter().filter(|input| matches!(input, Input::Request(_))).cloned().collect();
        requests.reverse();
        for (input, _) in &mut shuffled {
            if matches!(input, Input::Request(_)) {
                *input = requests.pop().unwrap();
            }
        }
        let mut joiner = Joiner::<Identity>::default();
        let mut out = Vec::new();
        let mut early_lost = 0;
        for (input, _) in shuffled {
            match input {
                Input::Request(request) => match offer(&mut joiner, &request, 0) {
                    Outcome::Now(calls, missing) => out.push((*request, calls, missing)),
                    Outcome::Held(None) => {}
                    Outcome::Held(Some(_)) => early_lost += 1,
                },
                Input::Call(call) => {
                    if let Some(joined) = joiner.call(&call) {
                        out.push((joined.request, joined.calls, joined.missing));
                    }
                }
            }
        }
        prop_assert_eq!(early_lost, 0);
        prop_assert!(joiner.rest().is_none(), "all calls came");
        prop_assert_eq!(out.len(), counts.len());
        for (request, calls, missing) in out {
            prop_assert_eq!(missing, 0);
            prop_assert_eq!(calls.len(), usize::from(request.work.calls));
            for call in &calls {
                prop_assert_eq!(call.goid, request.goid);
                prop_assert!((request.read_ns..=request.end_ns).contains(&call.sent_ns));
            }
            prop_assert!(calls.is_sorted_by_key(|call| call.sent_ns));
        }
    }
}
