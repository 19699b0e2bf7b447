//! What the hypervisor took of requests' time on the CPU.
//!
//! What belongs here: `hardware.steal` against the kernel's ticks, those of this
//! machine and, since few machines are short of CPU when a test wants it, those
//! of a file that lies in the place of theirs for the agent alone.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::agent_process::Agent;
use tests::load::{Call, closed};
use tests::metrics_text::Metrics;
use tests::require;
use tests::workload::{Kind, Workload};

const PARTS: &str = "strata_request_part_seconds_total";
/// Until the agent has looked at the ticks twice.
const TWO_LOOKS: Duration = Duration::from_millis(2_500);

/// Seconds of requests' CPU time that were taken, and all of it.
fn taken(metrics: &Metrics) -> (f64, f64) {
    let part = |layer, part| metrics.sum(PARTS, &[("layer", layer), ("part", part)]);
    let steal = part("hardware", "steal");
    (steal, part("application", "cpu") + part("os", "cpu") + steal)
}

fn load(workload: &Workload, time: Duration) {
    let outcome = closed::run(workload.addr(), &[Call::get("/hello")], 2, time).unwrap();
    assert_eq!(outcome.tally.failed, 0);
}

/// Taken and busy ticks of this machine: of its CPUs one by one, since the line
/// of all is a sum of nanoseconds and becomes a tick more at other times.
fn ticks() -> (f64, f64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap();
    let cpus = text.lines().skip(1).take_while(|line| line.starts_with("cpu"));
    cpus.fold((0.0, 0.0), |(taken, busy), line| {
        let fields = line.split_whitespace().skip(1).take(8);
        let of: Vec<f64> = fields.map(|field| field.parse().unwrap()).collect();
        (taken + of[5] + of[7], busy + of.iter().sum::<f64>() - of[3] - of[4])
    })
}

#[test]
fn steal_is_of_the_order_that_this_machine_counts() {
    require!(Kind::C.is_available(), "no C compiler");
    let workload = Workload::start(Kind::C).unwrap();
    let before = ticks();
    let agent = Agent::start_on_port(workload.addr().port()).unwrap();
    std::thread::sleep(TWO_LOOKS);
    load(&workload, Duration::from_secs(5));
    let (steal, cpu) = taken(&agent.scrape().unwrap());
    let after = ticks();
    assert!(cpu > 0.1, "{cpu} s of CPU time: no load");
    let (lost, busy) = (after.0 - before.0, after.1 - before.1);
    println!("{lost} of {busy} ticks, {steal:.6} of {cpu:.3} s");
    if lost == 0.0 {
        assert_eq!(steal, 0.0, "none was taken");
    }
    // A second's ticks are applied to the next one's requests, which may be
    // more or fewer: one tick may be a hundredth of a second with few, and few
    // may all lie in a second without any.
    let share = lost / busy;
    let most = share * 3.0 + 0.01;
    assert!(steal / cpu <= most, "{steal} of {cpu} s, {lost} of {busy} ticks");
    if lost >= 50.0 {
        assert!(steal / cpu >= share / 5.0, "{steal} of {cpu} s, {lost} of {busy} ticks");
    }
}

/// `/proc/stat` with two CPUs that were busy for as many ticks each, a quarter
/// of which was taken: by the hypervisor on one, by interrupts on the other.
/// As long whatever the number, so that it is never seen half written.
fn quarter(ticks: u64) -> String {
    let (rest, taken) = (ticks - ticks / 4, ticks / 4);
    format!(
        "cpu  0 0 0 0 0 0 0 0 0 0\n\
         cpu0 {rest:012} 0 0 {ticks:012} 0 0 0 {taken:012} 0 0\n\
         cpu1 0 0 {rest:012} {ticks:012} 0 {taken:012} 0 0 0 0\nintr 0\n"
    )
}

#[test]
fn a_quarter_of_busy_time_that_was_taken_is_a_quarter_of_requests_cpu_time() {
    require!(Kind::C.is_available(), "no C compiler");
    let workload = Workload::start(Kind::C).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stat");
    std::fs::write(&path, quarter(0)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    // In a mount namespace of its own, which goes with it.
    let script = "mount --bind \"$0\" /proc/stat && exec \"$@\"";
    let wrapper = ["unshare", "-m", "sh", "-c", script, path.to_str().unwrap()];
    let port = workload.addr().port().to_string();
    let is_over = AtomicBool::new(false);
    let metrics = std::thread::scope(|scope| {
        scope.spawn(|| {
            for ticks in (0..).step_by(20) {
                if is_over.load(Ordering::Acquire) {
                    break;
                }
                file.write_all_at(quarter(ticks).as_bytes(), 0).unwrap();
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let run = || {
            let agent = Agent::start_under(&wrapper, &["--port", &port])?;
            std::thread::sleep(TWO_LOOKS);
            load(&workload, Duration::from_secs(3));
            agent.scrape()
        };
        let metrics = run();
        is_over.store(true, Ordering::Release);
        metrics.unwrap()
    });
    let (steal, cpu) = taken(&metrics);
    assert!(cpu > 0.1, "{cpu} s of CPU time: no load");
    let share = steal / cpu;
    assert!((0.249..0.251).contains(&share), "{share} of {cpu} s");
    let confidence = "strata_request_part_confidence_seconds_total";
    let estimated = metrics.sum(confidence, &[("confidence", "estimated")]);
    assert!(estimated >= steal * 0.999_999, "{estimated} s estimated, {steal} s taken");
    let wall = metrics.sum("http_server_request_duration_seconds_sum", &[]);
    let parts = metrics.sum(PARTS, &[]);
    assert!((wall - parts).abs() < 1e-6, "{parts} s in parts of {wall} s");
}
