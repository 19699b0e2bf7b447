//! The agent's split of a Go request against Go's own execution trace.
//!
//! Separate because the judge is the runtime itself: each change of state of
//! each goroutine, on the same clock, of the very requests that were traced.

use std::io::Write as _;

use agent_common::parts::Part;
use tests::accuracy::answer::Answer;
use tests::accuracy::closure;
use tests::accuracy::rig::PROBE;
use tests::accuracy::tracer::Tracer;
use tests::agent_process::Agent;
use tests::bench::statistics::quantile;
use tests::go_trace::GoTrace;
use tests::load::{Call, sequential};
use tests::workload::{Kind, Server};
use tests::{require, sys};

/// Requests of a run, half of each kind.
const REQUESTS: u64 = 2_000;
/// Of these the thread, not the goroutine, waited for a CPU: the runtime sees
/// them run meanwhile. (What the client and the agent take of two CPUs.)
const RUNQUEUE_NS: u64 = 5_000;
/// How far the two may be apart in half of the requests: twice what is aimed
/// at, for machines that do other things too. The figures are printed.
const P50_NS: f64 = 20_000.0;
/// And in 95 of a hundred.
const P95_NS: f64 = 100_000.0;

/// Time that a request's goroutine ran once it had been read, by the agent.
fn ran_ns(answer: &Answer) -> u64 {
    [Part::Cpu, Part::OsCpu, Part::Steal].map(|part| answer.of(part)).iter().sum()
}

#[test]
fn run_time_is_what_gos_execution_trace_says() {
    require!(sys::is_root() && Kind::Go.is_available(), "root and Go are needed");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("go.trace");
    let server = Server::new(Kind::Go).arg("-trace").arg(file.display().to_string());
    let server = server.start().unwrap();
    let addr = server.addr();
    let agent = Agent::start(&["--port", &addr.port().to_string(), "--paths-keep=true"]).unwrap();
    let probe = || sequential::run(addr, &[Call::get(PROBE)], 1, false).map(drop);
    let tracer = Tracer::start(&agent, addr, PROBE, probe).unwrap();
    // Both stop once: on a timer, on a channel.
    closure::load(addr, &[("doze", "?us=1000"), ("chan", "?us=1000")], REQUESTS, 4).unwrap();
    let answers = tracer.finish(usize::try_from(REQUESTS).unwrap()).unwrap();
    server.stop().unwrap();
    let trace = GoTrace::read(&file).unwrap();

    assert_eq!(answers.len() as u64, REQUESTS);
    let (mut apart, mut waited, mut means) = (Vec::new(), 0, [0.0, 0.0]);
    for answer in &answers {
        // One to one: the goroutine that the agent names was there all the time.
        let truth_ns = trace.on_thread_ns(answer.goid, answer.read_ns, answer.end_ns);
        let truth_ns = truth_ns.unwrap_or_else(|| panic!("not in Go's trace: {answer:?}"));
        if answer.of(Part::Runqueue) > RUNQUEUE_NS {
            waited += 1;
            continue;
        }
        means[0] += truth_ns as f64;
        means[1] += ran_ns(answer) as f64;
        apart.push(truth_ns.abs_diff(ran_ns(answer)) as f64);
    }
    let [p50, p95] = [0.5, 0.95].map(|share| quantile(&apart, share).unwrap());
    let [truth, told] = means.map(|sum| sum / apart.len() as f64 / 1e3);
    // Numbers that are looked at: nobody is hurt if they cannot be shown.
    let _ = writeln!(
        std::io::stdout(),
        "{} requests, {waited} more had waited for a CPU: run {truth:.1} us by Go's trace, \
         {told:.1} us by the agent, apart p50 {:.1} us, p95 {:.1} us",
        apart.len(),
        p50 / 1e3,
        p95 / 1e3,
    );
    assert!(apart.len() >= 100, "{waited} waited for a CPU");
    assert!(p50 <= P50_NS && p95 <= P95_NS, "p50 {p50} ns, p95 {p95} ns");
}
