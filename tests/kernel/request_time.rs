//! Times of requests against the client's, on the same clock.

use std::collections::HashMap;
use std::time::Duration;

use tests::load::{Call, closed, open};
use tests::probe_run::{Probes, Setup};
use tests::workload::{Kind, Workload};
use tests::{require, sys};

/// Share of the server's capacity at which times are compared: below it
/// requests do not queue in the client.
const LOAD: f64 = 0.3;
/// The client's time is longer by a wake-up and two passes of the stack; the
/// median of that is less than this.
const MEDIAN_NS: i64 = 150_000;

fn quantile(sorted: &[i64], of_1000: usize) -> i64 {
    sorted[(sorted.len() - 1) * of_1000 / 1000]
}

#[test]
fn the_wall_time_is_the_clients_but_for_the_way() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let addr = server.addr();
    let mut probes = Probes::start(Setup::default().keep_paths()).unwrap();
    probes.watch(server.pid(), addr.port(), 1).unwrap();
    let burst = Duration::from_secs(2);
    let hello = [Call::get("/hello")];
    let saturated = probes.run(|| closed::run(addr, &hello, 16, burst)).unwrap();
    let capacity = saturated.tally.completed() as f64 / burst.as_secs_f64();
    probes.settle(|_| true);
    probes.events.clear();

    let schedule = open::Schedule {
        path_prefix: "/hello".to_owned(),
        query: String::new(),
        rate: capacity * LOAD,
        time: Duration::from_secs(5),
        connections: 32,
    };
    let timings = probes.run(|| open::run(addr, &schedule)).unwrap();
    let requests = probes.settled_requests(timings.len());
    assert_eq!(requests.len(), timings.len(), "{:?}", probes.all_losses());
    let by_id: HashMap<u64, _> = requests
        .iter()
        .map(|request| {
            let path = request.path.as_deref().unwrap();
            (path.rsplit('/').next().unwrap().parse().unwrap(), request)
        })
        .collect();
    assert_eq!(by_id.len(), timings.len(), "each id once");

    let mut differences = Vec::new();
    for timing in &timings {
        let request = by_id[&timing.id];
        assert_eq!(timing.status, 200);
        assert!(request.has_arrival(), "{request:?}");
        let times = [timing.sent_ns, request.arrival_ns, request.read_ns, request.end_ns];
        assert!(times.is_sorted(), "{times:?}");
        let client_ns = i64::try_from(timing.received_ns - timing.sent_ns).unwrap();
        differences.push(client_ns - i64::try_from(request.wall_ns()).unwrap());
    }
    differences.sort_unstable();
    let [p1, p50, p95, p99] = [10, 500, 950, 990].map(|part| quantile(&differences, part));
    let rate = schedule.rate;
    println!(
        "client minus wall at {rate:.0} requests/s: \
         p1 {p1} ns, p50 {p50} ns, p95 {p95} ns, p99 {p99} ns"
    );
    assert!((0..=MEDIAN_NS).contains(&p50), "median {p50} ns");
    assert!(p1 >= 0, "one in a hundred is below {p1} ns");
}
