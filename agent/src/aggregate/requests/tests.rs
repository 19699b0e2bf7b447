//! Law 3, the books: every finished request is in exactly one outcome, and
//! those that were exported or sampled are in the histograms, folded or not.
//! And the books of time: what is shown of durations is shown of parts, per
//! protocol, in every snapshot.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::rc::Rc;

use agent_common::histogram::{CLASSIC_BUCKETS, Histogram, REQUEST_EDGES_NS, classic_index};
use agent_common::parts::{self, Part};
use agent_common::record::request::RequestParts;
use proptest::prelude::*;

use super::*;
use crate::aggregate::budget::NodeBudget;
use crate::event::Event;
use crate::metrics::workload::{
    REQUEST_PART, REQUEST_PART_CONFIDENCE, SLOW_REQUEST_PART, SLOW_REQUESTS,
};
use crate::telemetry::Own;

const SERVICE: u16 = 7;

fn request(protocol: Protocol, status: u16, port: u16, wall_ns: u64) -> Request {
    let local = (Ipv6Addr::LOCALHOST, port);
    Request { service: SERVICE, protocol, status, local, ..Request::sample(wall_ns) }
}

fn books() -> RequestCounters {
    RequestCounters {
        finished: 0,
        sampled: 0,
        filtered: 0,
        lost: 0,
        sampled_classic: [0; CLASSIC_BUCKETS],
        _pad: 0,
        sampled_durations: Histogram::new(),
    }
}

fn budget(node: &Rc<NodeBudget>, max: u32) -> Budget {
    Budget::new(node, max).unwrap()
}

fn series() -> RequestSeries {
    RequestSeries::new(Identity::new("", "", "", "process/api"))
}

/// Count, sum in nanoseconds, and series of both histograms.
fn histograms(snapshot: &Snapshot) -> (u64, u64, usize) {
    let mut sums = (0, 0, 0);
    for family in snapshot.families() {
        for series in family.series() {
            if let Value::Histogram(value) = &series.value {
                let classic: u64 = value.classic.unwrap().iter().sum();
                assert_eq!(classic, value.durations.count());
                sums = (sums.0 + classic, sums.1 + value.durations.sum_ns, sums.2 + 1);
            }
        }
    }
    sums
}

fn outcome(snapshot: &Snapshot, name: &str) -> u64 {
    let family = snapshot.families().iter().find(|family| std::ptr::eq(family.metric(), &REQUESTS));
    let found = family.unwrap().series().iter().find(|series| {
        series.labels.iter().any(|(label, value)| label == "outcome" && value == name)
    });
    match found.unwrap().value {
        Value::Counter(count) => count as u64,
        _ => panic!("no counter"),
    }
}

/// Sums of a family in nanoseconds, by protocol; `http` for a family whose
/// metric has no such label.
fn by_protocol(snapshot: &Snapshot, metric: &'static Metric) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let families = snapshot.families().iter();
    for family in families.filter(|family| std::ptr::eq(family.metric(), metric)) {
        for series in family.series() {
            let protocol = series.labels.iter().find(|(name, _)| *name == "protocol");
            let ns = match &series.value {
                Value::Histogram(value) => value.durations.sum_ns,
                Value::Nanoseconds(ns) => *ns,
                _ => panic!("no time"),
            };
            let name = protocol.map_or("http", |(_, value)| value);
            *sums.entry(name.to_owned()).or_insert(0) += ns;
        }
    }
    sums
}

/// Series of a family.
fn series_of(snapshot: &Snapshot, metric: &'static Metric) -> usize {
    let found = snapshot.families().iter().find(|family| std::ptr::eq(family.metric(), metric));
    found.map_or(0, |family| family.series().len())
}

/// Fails unless the parts of each protocol that is shown are its durations, and
/// what is known how well sums up to all of it.
fn assert_time_balances(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let mut durations = by_protocol(snapshot, &HTTP_SERVER_REQUEST_DURATION);
    durations.extend(by_protocol(snapshot, &TURN_DURATION));
    let parts = by_protocol(snapshot, &REQUEST_PART);
    prop_assert_eq!(&durations, &parts);
    prop_assert_eq!(series_of(snapshot, &REQUEST_PART), parts.len() * PART_SET as usize);
    if series_of(snapshot, &REQUEST_PART_CONFIDENCE) > 0 {
        let confidences = by_protocol(snapshot, &REQUEST_PART_CONFIDENCE);
        prop_assert_eq!(confidences.values().sum::<u64>(), parts.values().sum::<u64>());
    }
    Ok(())
}

/// What becomes of a request after the kernel has counted it as finished.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Filtered,
    SampledOut,
    RingFull,
    QueueFull,
    Arrives,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        1 => Just(Fate::Filtered),
        1 => Just(Fate::SampledOut),
        1 => Just(Fate::RingFull),
        1 => Just(Fate::QueueFull),
        4 => Just(Fate::Arrives),
    ]
}

fn any_request() -> impl Strategy<Value = Request> {
    let protocol = prop_oneof![
        4 => Just(Protocol::Http1),
        1 => Just(Protocol::Opaque),
        1 => Just(Protocol::Tls),
    ];
    let measured = (prop::collection::vec(0..2_000_000_000_u64, parts::MEASURED), any::<u32>());
    (protocol, 0..600_u16, 1..20_u16, 0..10_000_000_000_u64, measured).prop_map(
        |(protocol, status, port, wall_ns, (ns, estimated))| {
            let mut request = request(protocol, status, port, wall_ns);
            let ns = ns.try_into().unwrap();
            request.parts = parts::close(wall_ns, &RequestParts { ns, ..RequestParts::new() });
            request.work.estimated = estimated;
            request
        },
    )
}

proptest! {
    #[test]
    fn the_books_balance_whatever_becomes_of_the_requests(
        requests in prop::collection::vec((any_request(), fate()), 0..300),
        max in 80..400_u32,
        is_admitted_late: bool,
        is_all_http: bool,
    ) {
        let node = NodeBudget::new(30_000);
        let mut budget = budget(&node, max);
        let (mut books, own, mut series) = (books(), Own::default(), series());
        let (mut wall_ns, half) = (0, requests.len() / 2);
        let shown_every = 1 + requests.len() / 3;
        for (i, (mut request, fate)) in requests.into_iter().enumerate() {
            if i % shown_every == shown_every - 1 {
                let mut snapshot = Snapshot::new(1);
                series.snapshot(&books, 0, &mut budget, &mut snapshot);
                assert_time_balances(&snapshot)?;
            }
            if is_all_http {
                request.protocol = Protocol::Http1;
            }
            books.finished += 1;
            match fate {
                Fate::Filtered => books.filtered += 1,
                Fate::SampledOut => {
                    books.sampled += 1;
                    books.sampled_durations.observe(request.wall_ns());
                    books.sampled_classic[classic_index(request.wall_ns(), &REQUEST_EDGES_NS)] += 1;
                    wall_ns += request.wall_ns();
                }
                Fate::RingFull => books.lost += 1,
                Fate::QueueFull => own.count_queue_full(&[Event::Request(request)]),
                Fate::Arrives => {
                    wall_ns += request.wall_ns();
                    let has_budget = !is_admitted_late || i > half;
                    series.observe(&request, None, has_budget.then_some(&mut budget));
                }
            }
        }
        let mut snapshot = Snapshot::new(1);
        let dropped = own.dropped_requests(SERVICE);
        series.snapshot(&books, dropped, &mut budget, &mut snapshot);
        let sum: u64 = OUTCOMES.iter().map(|name| outcome(&snapshot, name)).sum();
        prop_assert_eq!(sum, books.finished);
        assert_time_balances(&snapshot)?;
        prop_assert!(snapshot.workload_series() <= u64::from(max));
        // Room is kept for the rest of one of the two metrics.
        if is_all_http {
            let (count, sum_ns, _) = histograms(&snapshot);
            prop_assert_eq!(count, outcome(&snapshot, "exported") + outcome(&snapshot, "sampled"));
            prop_assert_eq!(sum_ns, wall_ns);
        }
    }
}

#[test]
fn label_sets_beyond_the_budget_are_folded_and_stay_so() {
    let node = NodeBudget::new(30_000);
    let mut budget = budget(&node, 183);
    let mut series = series();
    for status in 200..260 {
        series.observe(&request(Protocol::Http1, status, 80, 1), None, Some(&mut budget));
    }
    for _ in 0..3 {
        series.observe(&request(Protocol::Http1, 259, 80, 1), None, Some(&mut budget));
    }
    let mut snapshot = Snapshot::new(1);
    series.snapshot(&books(), 0, &mut budget, &mut snapshot);
    let (count, _, sets) = histograms(&snapshot);
    assert_eq!(count, 63);
    let folded =
        node.folded().into_iter().find(|(name, _)| *name == HTTP_SERVER_REQUEST_DURATION.name);
    assert_eq!(folded.unwrap().1, 60 - (sets as u64 - 1), "label sets, not requests");
    assert!(sets >= 3 && budget.used() <= 183);
}

#[test]
fn sampled_turns_are_turns() {
    let node = NodeBudget::new(30_000);
    let mut budget = budget(&node, 183);
    let (mut series, mut books) = (series(), books());
    series.observe(&request(Protocol::Opaque, 0, 6379, 1), None, Some(&mut budget));
    books.sampled = 1;
    books.sampled_durations.observe(9);
    books.sampled_classic[0] = 1;
    for _ in 0..2 {
        let mut snapshot = Snapshot::new(1);
        series.snapshot(&books, 0, &mut budget, &mut snapshot);
        assert_eq!(histograms(&snapshot), (2, 10, 2));
        let http = snapshot
            .families()
            .iter()
            .find(|family| std::ptr::eq(family.metric(), &HTTP_SERVER_REQUEST_DURATION));
        assert!(http.is_none_or(|family| family.series().is_empty()));
        // HTTP that comes later changes nothing about that.
        series.observe(&request(Protocol::Http1, 200, 80, 0), None, None);
        series = RequestSeries { http: Sets::new(), ..series };
    }
}

#[test]
fn an_ordinary_api_keeps_its_methods_and_statuses_by_default() {
    let limits = crate::config::Config::default().series;
    let node = NodeBudget::new(limits.per_node);
    let mut budget = budget(&node, limits.per_container);
    let mut series = series();
    for method in [Method::Get, Method::Post] {
        for status in [200, 201, 204, 400, 404, 500] {
            let request = Request { method, ..request(Protocol::Http1, status, 80, 1) };
            series.observe(&request, None, Some(&mut budget));
        }
    }
    let mut snapshot = Snapshot::new(1);
    series.snapshot(&books(), 0, &mut budget, &mut snapshot);
    assert_eq!(histograms(&snapshot).2, 12);
    assert!(node.folded().iter().all(|(_, count)| *count == 0));
    assert!(budget.used() <= limits.per_container);
}

#[test]
fn all_parts_of_a_protocol_begin_with_its_first_request() {
    let node = NodeBudget::new(30_000);
    let mut budget = budget(&node, 300);
    let mut series = series();
    let mut shown = |series: &mut RequestSeries| {
        let mut snapshot = Snapshot::new(1);
        series.snapshot(&books(), 0, &mut budget, &mut snapshot);
        [&REQUEST_PART, &SLOW_REQUEST_PART, &SLOW_REQUESTS, &REQUEST_PART_CONFIDENCE]
            .map(|metric| series_of(&snapshot, metric))
    };
    assert_eq!(shown(&mut series), [0; 4]);
    series.observe(&request(Protocol::Http1, 200, 80, 7), None, None);
    assert_eq!(shown(&mut series), [19, 18, 1, 3], "also where they are folded");
    series.observe(&request(Protocol::Opaque, 0, 6379, 7), None, None);
    assert_eq!(shown(&mut series), [38, 18, 1, 3]);
}

#[test]
fn what_the_tail_is_made_of_is_told_from_the_rest() {
    let node = NodeBudget::new(30_000);
    let mut budget = budget(&node, 300);
    let mut series = series();
    for i in 0..2_000 {
        let (part, wall_ns) =
            if i % 150 == 149 { (Part::Downstream, 80_000_000) } else { (Part::Cpu, 1_000_000) };
        let mut request = request(Protocol::Http1, 200, 80, wall_ns);
        let mut measured = RequestParts::new();
        measured.ns[part as usize] = wall_ns;
        request.parts = parts::close(wall_ns, &measured);
        series.observe(&request, None, Some(&mut budget));
    }
    let mut snapshot = Snapshot::new(1);
    series.snapshot(&books(), 0, &mut budget, &mut snapshot);
    let family =
        snapshot.families().iter().find(|family| std::ptr::eq(family.metric(), &SLOW_REQUEST_PART));
    for series in family.unwrap().series() {
        let is_downstream = series.labels.iter().any(|(_, value)| value == "downstream");
        let Value::Nanoseconds(ns) = series.value else { panic!("no time") };
        // The first one comes before there are enough to compare with.
        assert_eq!(ns, if is_downstream { 12 * 80_000_000 } else { 0 });
    }
}

/// CPU time of this thread, nanoseconds: what a busy machine does not change.
fn thread_cpu_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split(' ').next().unwrap().parse().unwrap()
}

/// Prints, and asserts no time: a shared machine would make that a lottery.
/// `cargo test --release -p agent what_a_request_costs -- --nocapture`
#[test]
fn what_a_request_costs() {
    const REQUESTS: u64 = 1_000_000;
    let node = NodeBudget::new(30_000);
    let mut budget = budget(&node, 300);
    let mut series = series();
    let mut request = request(Protocol::Http1, 200, 80, 0);
    let started_ns = thread_cpu_ns();
    for i in 0..REQUESTS {
        request.arrival_ns = i * 10_000;
        request.end_ns = request.arrival_ns + 100_000 + i % 1_000 * 900;
        request.parts.ns[Part::Unknown as usize] = request.wall_ns();
        series.observe(&request, None, Some(&mut budget));
    }
    let each_ns = (thread_cpu_ns() - started_ns) / REQUESTS;
    let mut snapshot = Snapshot::new(1);
    series.snapshot(&books(), 0, &mut budget, &mut snapshot);
    assert_eq!(histograms(&snapshot).0, REQUESTS);
    println!("{each_ns} ns of CPU time to count a request with its parts");
}
