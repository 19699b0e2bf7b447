//! Calls to downstreams: whose request waits for them, for how long, and how
//! much of that is loss. What the downstream does is known: it sleeps.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use agent::event::call::{Call as Downstream, Caller};
use agent::event::request::Request;
use agent::probes::Lane;
use agent_common::parts::Part;
use tests::load::{Call, closed, sequential};
use tests::probe_run::{Probes, Setup};
use tests::probed_code::{self, BREAKPOINT, PUSH};
use tests::{apps, eventually, http, require, sys};

use crate::gocaller::{Pair, SERVICE};

/// What a caller did, and the calls that it made.
struct Run {
    requests: Vec<Request>,
    calls: Vec<Downstream>,
}

impl Run {
    /// Puts requests for `path` on a Go caller.
    fn of(path: &str, connections: usize) -> Self {
        let pair = Pair::start().unwrap();
        let mut probes = Probes::start(Setup::default().lanes(&Lane::ALL)).unwrap();
        pair.watch(&mut probes).unwrap();
        assert_eq!(probes.loaded().go_clients(), 1);
        let (plan, time) = ([Call::get(path)], Duration::from_secs(2));
        let outcome = probes.run(|| closed::run(pair.addr(), &plan, connections, time)).unwrap();
        let run = Self::collected(&mut probes, outcome.tally.completed());
        assert_eq!(probes.all_losses(), []);
        run.show(&format!("{path}, {connections} in flight"));
        run
    }

    fn collected(probes: &mut Probes, completed: u64) -> Self {
        let completed = usize::try_from(completed).unwrap();
        let requests = probes.settled_requests(completed);
        assert_eq!(requests.len(), completed, "{:?}", probes.all_losses());
        let calls = probes.calls().filter(|call| call.service == SERVICE).cloned().collect();
        Self { requests, calls }
    }

    /// Mean over the requests, microseconds.
    fn mean_us(&self, of: impl Fn(&Request) -> u64) -> f64 {
        let sum: u64 = self.requests.iter().map(of).sum();
        sum as f64 / self.requests.len().max(1) as f64 / 1e3
    }

    fn part_us(&self, part: Part) -> f64 {
        self.mean_us(|request| request.parts.ns[part as usize])
    }

    /// Share of the requests.
    fn share(&self, is_one: impl Fn(&Request) -> bool) -> f64 {
        let count = self.requests.iter().filter(|request| is_one(request)).count();
        count as f64 / self.requests.len().max(1) as f64
    }

    fn show(&self, what: &str) {
        let parts: Vec<String> = Part::ALL
            .iter()
            .filter(|part| self.part_us(**part) >= 1.0)
            .map(|part| {
                let (layer, us) = (part.layer().as_str(), self.part_us(*part));
                format!("{layer}.{} {us:.0}", part.as_str())
            })
            .collect();
        let (count, wall) = (self.requests.len(), self.mean_us(Request::wall_ns));
        println!("{what}: {count} requests, wall {wall:.0} us: {}", parts.join(", "));
    }

    /// The downstream slept so long for each request, and the wait for it is
    /// seen as that, with what the way there and back took.
    #[track_caller]
    fn waits_for(&self, sleep_ms: u64) {
        let sleep_us = (sleep_ms * 1000) as f64;
        let wait_us = self.part_us(Part::Downstream);
        assert!(wait_us >= sleep_us * 0.98, "{wait_us} us for {sleep_us} us");
        // Timers of Go are late by up to a millisecond or two under load.
        let spare_us = sleep_us.mul_add(0.1, 2_500.0);
        assert!(wait_us <= sleep_us + spare_us, "{wait_us} us for {sleep_us} us");
        let rest_us = self.mean_us(Request::wall_ns) - wait_us;
        assert!(rest_us < 2_500.0, "{rest_us} us elsewhere");
    }
}

fn missing() -> Option<&'static str> {
    if !sys::is_root() {
        return Some("root is needed");
    }
    (!apps::has_go()).then_some("Go is not installed")
}

#[test]
fn a_call_after_a_long_computation_is_still_its_callers() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let pair = Pair::start().unwrap();
    let mut probes = Probes::start(Setup::default().lanes(&Lane::ALL)).unwrap();
    pair.watch(&mut probes).unwrap();
    let plan = [Call::get("/call?ms=5&spin=25")];
    // Each on a connection, and so a goroutine, of its own.
    let tally = probes.run(|| sequential::run(pair.addr(), &plan, 60, false)).unwrap();
    let run = Run::collected(&mut probes, tally.completed());
    run.show("/call after 25 ms of computing");
    let found = run.share(|request| request.parts.ns[Part::Downstream as usize] > 4_500_000);
    assert!(found > 0.9, "{found} of the calls");
}

#[test]
fn a_call_that_other_goroutines_send_and_read_is_its_callers_wait() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    for (ms, connections) in [(5, 1), (5, 4), (20, 4)] {
        let run = Run::of(&format!("/call?ms={ms}"), connections);
        run.waits_for(ms);
        assert_eq!(run.share(|request| request.work.calls == 1), 1.0, "each made one call");
        // Each call is told, with the goroutine of the request that made it.
        assert_eq!(run.calls.len(), run.requests.len());
        let goids: HashSet<u64> = run.requests.iter().map(|request| request.goid).collect();
        let is_right =
            |call: &&Downstream| call.caller == Caller::Probe && goids.contains(&call.goid);
        assert_eq!(run.calls.iter().filter(is_right).count(), run.calls.len());
    }
}

#[test]
fn a_call_on_the_callers_own_goroutine_is_its_wait() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    for (ms, connections) in [(5, 1), (20, 4)] {
        let run = Run::of(&format!("/own?ms={ms}"), connections);
        run.waits_for(ms);
        let share = run.share(|request| request.work.calls == 1);
        assert!(share > 0.97, "{share} made one call");
        assert!(run.calls.iter().all(|call| call.caller == Caller::Sender));
    }
}

#[test]
fn parallel_calls_of_children_are_one_wait_of_their_parent() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    for connections in [1, 4] {
        let run = Run::of("/fanout?ms=10&n=4", connections);
        // Their sum is four times that.
        run.waits_for(10);
        assert_eq!(run.calls.len(), run.requests.len() * 4);
        let share = run.share(|request| request.work.calls == 4);
        assert!(share > 0.85, "{share} made four calls");
    }
}

#[test]
fn two_calls_in_turn_add_up() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let run = Run::of("/twice?ms=5", 2);
    let wait_us = run.part_us(Part::Downstream);
    assert!((9_800.0..16_000.0).contains(&wait_us), "{wait_us} us");
    assert_eq!(run.share(|request| request.work.calls == 2), 1.0);
}

/// The client probe comes and goes under load: no answer is wrong, nobody
/// crashes, and each time the program's own code is back.
#[test]
fn the_client_probe_may_come_and_go_at_any_time() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let cycles = if require::is_full() { 10_000 } else { 300 };
    let mut pair = Pair::start().unwrap();
    let mut probes = Probes::start(Setup::default().lanes(&Lane::ALL)).unwrap();
    pair.watch(&mut probes).unwrap();
    let addr = pair.addr();
    let site = probed_code::client_site(pair.pid()).unwrap();
    let (is_over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let paths = ["/call?ms=0", "/deep?depth=10000", "/fanout?n=4", "/deep?depth=100&ms=1"];
        for (worker, path) in paths.into_iter().enumerate() {
            let (is_over, answers) = (&is_over, &answers);
            scope.spawn(move || {
                let mut id = worker as u64 * 1_000_000;
                while !is_over.load(Ordering::Relaxed) {
                    id += 1;
                    let answer = http::get(addr, &format!("{path}&id={id}")).unwrap();
                    assert_eq!((answer.status, answer.text().trim()), (200, &*id.to_string()));
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for cycle in 0..cycles {
            probes.switch(|lane| lane != Lane::Go);
            assert_eq!(probed_code::at(pair.pid(), site).unwrap(), PUSH, "cycle {cycle}: detached");
            probes.collect();
            probes.switch(|_| true);
            assert_eq!(
                probed_code::at(pair.pid(), site).unwrap(),
                BREAKPOINT,
                "cycle {cycle}: attached"
            );
            std::thread::sleep(Duration::from_millis(cycle % 7));
            probes.collect();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let answers = answers.into_inner();
    println!("{answers} answers in {cycles} cycles");
    assert!(answers > cycles, "{answers}");
    assert!(pair.is_alive());
    drop(probes);
    assert_eq!(probed_code::at(pair.pid(), site).unwrap(), PUSH, "nothing is left");
    assert_eq!(http::get(addr, "/call?id=7").unwrap().text().trim(), "7");
}

/// A peer that runs the same program and is not watched is called through the
/// same probe, and is none the worse for it.
#[test]
fn a_program_is_probed_once_and_left_with_its_last_process() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let pairs = [Pair::start().unwrap(), Pair::start().unwrap()];
    let mut probes = Probes::start(Setup::default().lanes(&Lane::ALL)).unwrap();
    for pair in &pairs {
        pair.watch(&mut probes).unwrap();
    }
    assert_eq!(probes.loaded().go_clients(), 1);
    let site = probed_code::client_site(pairs[0].pid()).unwrap();
    for (pair, left) in pairs.iter().zip([1, 0]) {
        probes.forget(pair.pid());
        assert_eq!(probes.loaded().go_clients(), left);
    }
    // In its own time: nobody waits for it.
    let code = || probed_code::at(pairs[1].pid(), site).unwrap();
    assert_eq!(eventually::settle(Duration::from_secs(5), code, |code| *code == PUSH), PUSH);
}
