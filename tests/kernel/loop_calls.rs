//! Calls that event loops make for the requests that they serve in turns.

use std::time::Duration;

use agent::event::call::Caller;
use agent::event::request::Request;
use agent::probes::Lane;
use agent_common::parts::{Part, UnitKind};
use tests::load::{Call, closed, open};
use tests::probe_run::{Probes, Setup};
use tests::workload::{Kind, Server, Workload};
use tests::{require, sys};

use crate::parts::{assert_fits, children, mean_ns, means, share};

/// How long the downstream takes for each.
const PAUSE: Duration = Duration::from_millis(20);
const PATH: &str = "/down?ms=20";
/// How long a load lasts.
const TIME: Duration = Duration::from_secs(2);
/// Share of the calls that must be known to be somebody's.
const KNOWN: f64 = 0.95;

/// Puts load on a server that asks another for each request, and checks where
/// its requests' time went.
fn check(kind: Kind, connections: usize) {
    let downstream = Workload::start(Kind::Go).unwrap();
    let server = Server::new(kind).env("DOWNSTREAM", &downstream.addr().to_string());
    let server = server.start().unwrap();
    let addr = server.addr();
    let setup = Setup::default().lanes(&Lane::ALL);
    let mut probes = Probes::start(setup).unwrap();
    probes.watch(server.pid(), addr.port(), 1).unwrap();
    for worker in children(server.pid()) {
        probes.watch(worker, addr.port(), 1).unwrap();
    }
    // An event loop shows itself where it waits between a request and its answer.
    let quiet = open::Schedule {
        path_prefix: "/down".to_owned(),
        query: "?ms=20".to_owned(),
        rate: 100.0,
        time: Duration::from_millis(500),
        connections: 8,
    };
    let before = probes.run(|| open::run(addr, &quiet)).unwrap().len();
    probes.settled_requests(before);
    probes.events.clear();
    let outcome = probes.run(|| closed::run(addr, &[Call::get(PATH)], connections, TIME)).unwrap();
    let completed = usize::try_from(outcome.tally.completed()).unwrap();
    let requests = probes.settled_requests(completed);
    assert_eq!(requests.len(), completed, "{:?}", probes.all_losses());
    assert_fits(&requests);

    let all: Vec<&Request> = requests.iter().collect();
    println!("{kind:?}, {connections} connections: {}", means(&all));
    assert!(all.iter().all(|request| request.work.kind == UnitKind::Loop));
    let waited_ns = mean_ns(&all, Part::Downstream);
    let pause_ns = u64::try_from(PAUSE.as_nanos()).unwrap();
    assert!(waited_ns >= pause_ns * 95 / 100, "{waited_ns}");
    let unknown = share(&all, Part::Unknown);
    assert!(unknown < 0.1, "{unknown} of the time is nobody's");
    let of_request = |request: &Request| {
        let calls = probes.calls().filter(|call| call.caller == Caller::Loop);
        calls.filter(|call| call.request_read_ns == request.read_ns).count()
    };
    let with_one = all.iter().filter(|request| of_request(request) == 1).count();
    assert!(with_one as f64 >= KNOWN * completed as f64, "{with_one} of {completed}");
}

#[test]
fn a_proxy_waits_for_its_upstream() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    require!(Kind::Nginx.is_available(), "nginx is not installed");
    for connections in [1, 4] {
        check(Kind::Nginx, connections);
    }
}

#[test]
fn a_node_server_waits_for_its_downstream() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    require!(Kind::Node.is_available(), "Node is not installed");
    for connections in [1, 4] {
        check(Kind::Node, connections);
    }
}
