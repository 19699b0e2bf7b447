//! The cpu lane against injected truths: a crowded CPU, a quota, blocked
//! handlers.
//!
//! What belongs here: a wait of known kind and length, and that it shows under
//! its own name and under no other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tests::agent_process::Agent;
use tests::cgroup::Cgroup;
use tests::containers::Ids;
use tests::metrics_text::Metrics;
use tests::puppet::{self, Puppet};
use tests::require::has_tool;
use tests::workload::{Kind, Workload};
use tests::{http, require, sys};

use crate::expect::{HTTP, assert_sum};

const RUNQUEUE: &str = "strata_runqueue_latency_seconds_sum";
const THROTTLED: &str = "strata_cpu_throttled_seconds_total";
const OFF_CPU: &str = "strata_off_cpu_seconds_total";

/// What may happen between a look at the kernel's count and one at the agent's.
const SLACK_S: f64 = 0.02;

/// A puppet that serves, in a container of its own and on one CPU.
struct Contained {
    puppet: Puppet,
    cgroup: Cgroup,
    ids: Ids,
}

impl Contained {
    fn start(cpu: usize) -> Self {
        let ids = Ids::unique();
        let cgroup = Cgroup::create(&ids.cgroup_path()).unwrap();
        let mut puppet = Puppet::start(|argv| cgroup.command(argv)).unwrap();
        puppet.run(&format!("os.sched_setaffinity(0, [{cpu}])")).unwrap();
        puppet.run("l = listen('127.0.0.1', 0)").unwrap();
        Self { puppet, cgroup, ids }
    }

    /// A sum over its series, in seconds.
    fn sum(&self, metrics: &Metrics, name: &str) -> f64 {
        metrics.sum(name, &[("container", self.ids.short())])
    }

    fn reason(&self, metrics: &Metrics, reason: &str) -> f64 {
        metrics.sum(OFF_CPU, &[("container", self.ids.short()), ("reason", reason)])
    }

    /// Time that its threads waited for a CPU, by the kernel's own count.
    fn waited_s(&mut self) -> f64 {
        self.puppet.run("schedstat()[1]").unwrap().as_f64().unwrap() / 1e9
    }
}

fn is_possible() -> bool {
    sys::is_root() && has_tool("python3") && std::path::Path::new("/proc/self/schedstat").exists()
}

/// Neighbours that nobody watches.
fn spinners(cpu: usize, count: usize) -> Vec<Puppet> {
    let one = || {
        let mut puppet = Puppet::start(puppet::plain).unwrap();
        puppet.run(&format!("os.sched_setaffinity(0, [{cpu}])")).unwrap();
        puppet
    };
    std::iter::repeat_with(one).take(count).collect()
}

#[track_caller]
fn assert_near(seen: f64, truth: f64, what: &str) {
    let bound = truth * 0.05 + SLACK_S;
    assert!((seen - truth).abs() <= bound, "{what}: {seen} s, in truth {truth} s");
}

#[test]
fn a_crowded_cpu_shows_as_run_queue_of_those_who_wait() {
    require!(is_possible(), "root, Python and schedstat are needed");
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    require!(cpus > 1, "two CPUs are needed");
    let (mut crowded, mut free) = (Contained::start(1), Contained::start(0));
    let agent = Agent::start(&[]).unwrap();
    let before = agent.scrape().unwrap();
    let waited_before = [crowded.waited_s(), free.waited_s()];
    let mut neighbours = spinners(1, 2);
    for neighbour in &mut neighbours {
        neighbour.begin("spin(3)").unwrap();
    }
    // Long slices, among its own threads too; and many short ones.
    crowded.puppet.run("spin_in_threads(2, 1.5)").unwrap();
    free.puppet.run("spin_in_threads(1, 0.5)").unwrap();
    crowded.puppet.run("for _ in range(300): time.sleep(0.0005)").unwrap();
    for neighbour in &mut neighbours {
        neighbour.end().unwrap();
    }
    let waited = [crowded.waited_s(), free.waited_s()];
    let after = agent.scrape().unwrap();
    let truth = waited[0] - waited_before[0];
    let seen = crowded.sum(&after, RUNQUEUE) - crowded.sum(&before, RUNQUEUE);
    println!(
        "{seen} {truth}; {} {}",
        waited[1] - waited_before[1],
        free.sum(&after, RUNQUEUE) - free.sum(&before, RUNQUEUE)
    );
    assert!(truth > 1.0, "two neighbours, and only {truth} s of waiting");
    assert_near(seen, truth, "crowded");
    let truth = waited[1] - waited_before[1];
    let seen = free.sum(&after, RUNQUEUE) - free.sum(&before, RUNQUEUE);
    assert_near(seen, truth, "on the other CPU");
    for container in [&crowded, &free] {
        assert_eq!(container.sum(&after, THROTTLED), 0.0, "there is no quota");
    }
}

#[test]
fn a_quota_shows_as_throttled_and_not_as_run_queue() {
    require!(is_possible(), "root, Python and schedstat are needed");
    let (mut limited, mut free) = (Contained::start(1), Contained::start(0));
    let agent = Agent::start(&[]).unwrap();
    let before = agent.scrape().unwrap();
    let (throttled_before, waited_before) =
        (limited.cgroup.throttled().unwrap(), limited.waited_s());
    // Only for as long as it spins: to look at it takes CPU time as well.
    limited.cgroup.set_cpu_quota(Duration::from_millis(10), Duration::from_millis(100)).unwrap();
    limited.puppet.begin("spin(2)").unwrap();
    free.puppet.run("spin(0.5)").unwrap();
    limited.puppet.end().unwrap();
    limited.cgroup.lift_cpu_quota().unwrap();
    let waited = limited.waited_s() - waited_before;
    let truth = (limited.cgroup.throttled().unwrap() - throttled_before).as_secs_f64();
    let after = agent.scrape().unwrap();
    let throttled = limited.sum(&after, THROTTLED) - limited.sum(&before, THROTTLED);
    let runqueue = limited.sum(&after, RUNQUEUE) - limited.sum(&before, RUNQUEUE);
    assert!(truth > 0.5, "a tenth of a CPU, and throttled for only {truth} s");
    // One thread on one CPU: its sum is the cgroup's. The kernel's wait for a
    // CPU has both in it; what others on the machine took is run queue.
    assert_near(throttled, truth, "throttled");
    assert_near(throttled + runqueue, waited, "throttled and run queue");
    assert_eq!(limited.reason(&after, "throttled"), limited.sum(&after, THROTTLED));
    assert_eq!(free.sum(&after, THROTTLED), 0.0, "the other container has no quota");
}

/// Outside of containers: those of others are watched too, if there are any.
const HOST: [(&str, &str); 1] = [("container", "")];

/// Reasons that a handler's own doing has.
const BLOCKED: [&str; 5] = ["lock", "disk", "memory", "sleep", "throttled"];

/// A Python server, its agent, and what has been asked of them.
struct Served {
    server: Workload,
    agent: Agent,
    requests: u64,
}

/// What some requests added.
struct Added {
    /// Off-CPU time by reason.
    off_cpu: BTreeMap<String, f64>,
    /// Sum of what the handlers said that their wait took.
    answered_s: f64,
    /// All of it, by the client's clock.
    wall_s: f64,
}

impl Served {
    fn ask(&mut self, path: &str, times: u64) -> Added {
        let sums = |agent: &Agent| agent.scrape().unwrap().sum_by(OFF_CPU, &HOST, "reason");
        let (mut off_cpu, start) = (sums(&self.agent), Instant::now());
        let mut answered_ns = 0.0;
        for _ in 0..times {
            let response = http::get(self.server.addr(), path).unwrap();
            assert_eq!(response.status, 200);
            answered_ns += response.text().trim().parse::<f64>().unwrap_or(0.0);
        }
        let wall_s = start.elapsed().as_secs_f64();
        self.requests += times;
        assert_sum(&self.agent, HTTP, &HOST, self.requests);
        for (reason, after) in sums(&self.agent) {
            off_cpu.entry(reason).and_modify(|sum| *sum = after - *sum).or_insert(after);
        }
        Added { off_cpu, answered_s: answered_ns / 1e9, wall_s }
    }
}

impl Added {
    fn of(&self, reason: &str) -> f64 {
        self.off_cpu.get(reason).copied().unwrap_or(0.0)
    }

    #[track_caller]
    fn assert_nothing_but(&self, reason: &str) {
        for other in BLOCKED.iter().filter(|other| **other != reason) {
            assert!(self.of(other) < 0.02, "{other} beside {reason}: {:?}", self.off_cpu);
        }
    }
}

#[test]
fn blocked_handlers_show_what_they_wait_for() {
    require!(is_possible(), "root, Python and schedstat are needed");
    let server = Workload::start(Kind::Python).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let mut served = Served { server, agent, requests: 0 };

    let sleeping = served.ask("/sleep?ms=20", 20);
    sleeping.assert_nothing_but("sleep");
    assert_near(sleeping.of("sleep"), 0.4, "sleep");

    let locked = served.ask("/lock?ms=20", 20);
    locked.assert_nothing_but("lock");
    // The handler's clock also saw the wait for a CPU after it was woken.
    let truth = locked.answered_s - locked.of("runqueue");
    assert!(truth > 0.2, "{} s, of {:?}", locked.answered_s, locked.off_cpu);
    let lock = locked.of("lock");
    assert!(lock >= truth * 0.95 - SLACK_S, "{lock} s, in truth {truth}: {:?}", locked.off_cpu);
    // The interpreter's own lock comes on top.
    let most = locked.answered_s * 1.25 + SLACK_S;
    assert!(lock <= most, "{lock} s, at most {most}: {:?}", locked.off_cpu);

    let spinning = served.ask("/spin?us=10000", 20);
    spinning.assert_nothing_but("");

    let synced = served.ask("/fsync?bytes=65536", 40);
    require!(synced.answered_s > 0.005, "the disk is too fast to be waited for");
    synced.assert_nothing_but("disk");
    // Part of it is work, and some waiting is before the handler's clock begins.
    let disk = synced.of("disk");
    assert!(disk > synced.answered_s * 0.05, "{disk} s of {}", synced.answered_s);
    let waited = disk + synced.of("runqueue");
    assert!(waited > synced.answered_s * 0.3, "{waited} s of {}", synced.answered_s);
    assert!(disk < synced.wall_s, "{disk} s of {}", synced.wall_s);
}
