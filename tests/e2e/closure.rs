//! Every request once, its parts whole, and no place where time hides.
//!
//! What belongs here: claims about each single request of a known load, read
//! from `strata trace -o json`. The load and the truth are the workloads' own
//! (`tests::accuracy`); speed is never asserted.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use agent_common::parts::Part;
use tests::accuracy::answer::Answer;
use tests::accuracy::closure::{self, Closure, Kind as Asked};
use tests::accuracy::rig::{self, Effort, PROBE};
use tests::accuracy::tracer::Tracer;
use tests::accuracy::{name, plan, scenes, truth};
use tests::agent_process::Agent;
use tests::journal::{self, Entry};
use tests::load::{Call, Connection, sequential};
use tests::workload::{Kind, Server, Workload};
use tests::{require, sys};

/// Requests of each workload: 20 000 in a full run.
fn count() -> u64 {
    if require::is_full() { 20_000 } else { 2_000 }
}

/// An agent and a trace of one server.
struct Traced {
    _agent: Agent,
    tracer: Tracer,
}

impl Traced {
    fn start(server: &Workload) -> Self {
        let addr = server.addr();
        let agent = Agent::start(&["--port", &addr.port().to_string(), "--paths-keep=true"]);
        let agent = agent.unwrap();
        let probe = || sequential::run(addr, &[Call::get(PROBE)], 1, false).map(drop);
        let tracer = Tracer::start(&agent, addr, PROBE, probe).unwrap();
        Self { _agent: agent, tracer }
    }
}

/// Puts load on a server and asserts that each request came once and whole.
#[track_caller]
fn close(server: &Workload, kinds: &[Asked], count: u64, connections: usize) -> Closure {
    let traced = Traced::start(server);
    closure::load(server.addr(), kinds, count, connections).unwrap();
    let answers = traced.tracer.finish(usize::try_from(count).unwrap()).unwrap();
    let closure = closure::check(&answers, count);
    // Numbers that are looked at: nobody is hurt if they cannot be shown.
    let _ = writeln!(std::io::stdout(), "{closure}");
    assert_eq!(
        (closure.missing.len(), closure.twice.len(), closure.open.len()),
        (0, 0, 0),
        "{closure}"
    );
    closure
}

/// Asserts that little is unattributed in requests of these kinds.
#[track_caller]
fn assert_attributed(closure: &Closure, kinds: &[&str]) {
    for kind in kinds {
        let shares = &closure.kinds[*kind];
        assert!(shares.unattributed_p50 <= 0.02, "{kind}: median\n{closure}");
        assert!(shares.unattributed_p95 <= 0.10, "{kind}: 95th percentile\n{closure}");
    }
}

#[test]
fn a_c_servers_requests_are_whole_and_attributed() {
    require!(sys::is_root() && Kind::C.is_available(), "root and a C compiler are needed");
    let server = Workload::start(Kind::C).unwrap();
    let kinds = [("hello", ""), ("spin", "?us=300"), ("sleep", "?us=300"), ("lock", "?us=300")];
    let closure = close(&server, &kinds, count(), 4);
    assert_attributed(&closure, &["hello", "spin", "sleep", "lock"]);
}

#[test]
fn a_threaded_python_servers_requests_are_whole_and_attributed() {
    require!(sys::is_root() && Kind::Python.is_available(), "root and Python are needed");
    let server = Workload::start(Kind::Python).unwrap();
    let kinds = [("hello", ""), ("sleep", "?us=500"), ("lock", "?us=500")];
    let closure = close(&server, &kinds, count(), 4);
    assert_attributed(&closure, &["hello", "sleep", "lock"]);
}

#[test]
fn go_handlers_that_stop_once_or_never_are_whole_and_attributed() {
    require!(sys::is_root() && Kind::Go.is_available(), "root and Go are needed");
    let server = Workload::start(Kind::Go).unwrap();
    let kinds = [
        ("hello", ""),
        ("busy", "?us=300"),
        ("doze", "?us=1000"),
        ("chan", "?us=1000"),
        ("mutex", "?us=1000"),
        ("fanout", "?us=1000"),
        ("deep", ""),
    ];
    let closure = close(&server, &kinds, count(), 4);
    assert_attributed(&closure, &["hello", "busy", "doze", "chan", "mutex", "fanout", "deep"]);
}

#[test]
fn go_handlers_that_ask_others_are_whole() {
    require!(sys::is_root() && Kind::Go.is_available(), "root and Go are needed");
    require!(Kind::Redis.is_available(), "redis is not installed");
    let (redis, back) = (Workload::start(Kind::Redis).unwrap(), Workload::start(Kind::Go).unwrap());
    let server = Server::new(Kind::Go)
        .arg("-redis")
        .arg(redis.addr().to_string())
        .arg("-downstream")
        .arg(format!("http://{}/doze", back.addr()))
        .start()
        .unwrap();
    close(&server, &[("redis", ""), ("down", "?us=500"), ("hello", "")], count(), 4);
}

#[test]
fn go_handlers_that_compute_and_park_in_turn_are_whole() {
    require!(sys::is_root() && Kind::Go.is_available(), "root and Go are needed");
    let server = Workload::start(Kind::Go).unwrap();
    for connections in [4, 16] {
        close(&server, &[("zig", "?us=1000")], count() / 10, connections);
    }
}

#[test]
fn the_requests_of_event_loops_are_whole() {
    require!(sys::is_root(), "root is needed");
    for kind in [Kind::Nginx, Kind::Node] {
        require!(kind.is_available(), "{} is not installed", kind.tool());
        let server = Workload::start(kind).unwrap();
        close(&server, &[("hello", "")], count(), 4);
    }
}

/// Requests of some kinds in an order drawn by lot, with what the server wrote
/// down of each.
fn answered_and_noted(
    kind: Kind,
    kinds: &[Asked],
    count: usize,
    background: &str,
) -> BTreeMap<u64, (Answer, Entry)> {
    let dir = tempfile::tempdir().unwrap();
    let log: PathBuf = dir.path().join("journal");
    let mut server = Server::new(kind);
    if kind == Kind::Go {
        server = server.arg("-log");
    }
    let server = server.arg(log.to_string_lossy()).start().unwrap();
    let traced = Traced::start(&server);
    let mut order: Vec<_> = kinds.iter().cycle().take(count).collect();
    plan::shuffle(&mut order, 4);
    let addr = server.addr();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        if !background.is_empty() {
            scope.spawn(|| {
                let call = Call::get(background).encode(addr, "");
                let mut connection = Connection::open(addr).unwrap();
                while !is_over.load(std::sync::atomic::Ordering::Acquire) {
                    connection.send(&call).unwrap();
                    connection.read_response("GET").unwrap();
                }
            });
        }
        let mut connection = Connection::open(addr).unwrap();
        for (id, (kind, query)) in order.iter().enumerate() {
            let call = Call::get(&format!("/{kind}/{id:06}{query}"));
            connection.send(&call.encode(addr, "")).unwrap();
            connection.read_response("GET").unwrap();
        }
        is_over.store(true, std::sync::atomic::Ordering::Release);
    });
    let answers = traced.tracer.finish(count).unwrap();
    server.stop().unwrap();
    let entries = journal::read(&log).unwrap();
    let mut entries: BTreeMap<_, _> =
        entries.into_iter().filter_map(|entry| Some((entry.id?, entry))).collect();
    let answered = answers.into_iter().filter_map(|answer| {
        let id = answer.id()?;
        Some((id, (answer, entries.remove(&id)?)))
    });
    let answered: BTreeMap<_, _> = answered.collect();
    assert_eq!(answered.len(), count, "each request once");
    answered
}

#[test]
fn computing_between_two_waits_is_not_hidden_in_them() {
    require!(sys::is_root() && Kind::Go.is_available(), "root and Go are needed");
    let kinds = [("hide", "?us=10000")];
    let answered = answered_and_noted(Kind::Go, &kinds, 100, "/hello/x");
    let mut waits: Vec<_> = answered
        .values()
        .map(|(answer, entry)| {
            // Both waits together, in truth; what is beyond them is hidden time.
            let truth_ns = truth::of(Kind::Go, entry)[Part::Wait as usize];
            answer.of(Part::Wait) as f64 - truth_ns as f64
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    let hidden_ns = waits[waits.len() * 95 / 100];
    println!("shown as wait beyond the truth: p50 {}, p95 {hidden_ns} ns", waits[waits.len() / 2]);
    assert!(hidden_ns < 1e6, "{hidden_ns} ns of 10 ms of computing are hidden in waits");
}

#[test]
fn the_top_part_of_requests_of_mixed_kinds_is_the_right_one() {
    require!(sys::is_root() && Kind::Go.is_available(), "root and Go are needed");
    let kinds = [
        ("busy", "?us=5000"),
        ("doze", "?us=5000"),
        ("chan", "?us=5000"),
        ("mutex", "?us=5000"),
        ("nap", "?us=5000"),
    ];
    let answered = answered_and_noted(Kind::Go, &kinds, 500, "");
    let top = |ns: &[u64]| {
        let parts = Part::ALL.into_iter().zip(ns);
        parts.max_by_key(|(_, ns)| **ns).map(|(part, _)| name(part)).unwrap()
    };
    let mut wrong = BTreeMap::<_, usize>::new();
    for (answer, entry) in answered.values() {
        let (wanted, seen) = (top(&truth::of(Kind::Go, entry)), top(&answer.parts));
        if wanted != seen {
            *wrong.entry((answer.kind().to_owned(), wanted, seen)).or_default() += 1;
        }
    }
    let right = answered.len() - wrong.values().sum::<usize>();
    assert!(right * 100 >= answered.len() * 97, "{right} of {}: {wrong:?}", answered.len());
}

#[test]
fn known_waits_are_shown_where_they_were_injected() {
    require!(sys::is_root(), "root is needed");
    let effort = Effort { requests: 40, sizes_ms: &[20] };
    let mut misses = Vec::new();
    let names = ["spin-c", "lock-c", "sleep-c", "down-c", "send-c"];
    for name in names.into_iter().chain(["loss-body-c", "loss-response-c", "mutex-go", "down-go"]) {
        let scene = scenes::ALL.iter().find(|scene| scene.name == name).unwrap();
        let lacking = (scene.lacks)();
        require!(lacking.is_none(), "{}", lacking.unwrap_or_default());
        for outcome in rig::run(scene, &effort).unwrap() {
            // With slack for machines that are shared: what was injected counts,
            // not what else went on meanwhile.
            for found in &outcome.found {
                let share = found.seen.mean / found.truth_ns;
                println!("{name}: {:.3} of it as {}", share, tests::accuracy::name(found.part));
                if outcome.unmatched > 0 || !(0.8..1.2).contains(&share) {
                    misses.push(format!("{name}: {outcome:?}"));
                }
            }
        }
    }
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}
