//! Folding keeps sums and never moves a value from one series to another; and
//! what a snapshot costs.

use std::rc::Rc;

use agent_common::counter::syscalls::ClassCounters;
use proptest::prelude::*;

use super::*;
use crate::aggregate::budget::NodeBudget;
use crate::metrics::CONTAINER_BUDGET;

const SCOPE: ScopeCounters = ScopeCounters {
    segments_sent: 5,
    retransmits: [1; 3],
    rtt: Histogram::new(),
    jitter: Histogram::new(),
};

fn tcp() -> TcpCounters {
    TcpCounters {
        scopes: [SCOPE; 2],
        resets: [1; 2],
        connects: [1; 4],
        connect_time: Histogram::new(),
        accept_wait: Histogram::new(),
    }
}

fn cpu() -> CpuCounters {
    CpuCounters {
        off_cpu_ns: [5; 6],
        runqueue_classic: [1; 13],
        _pad: 0,
        runqueue: Histogram::new(),
    }
}

fn syscalls() -> SyscallCounters {
    const CLASS: ClassCounters = ClassCounters { time_ns: 0, calls: 0, errors: [0; ERRNO_SLOTS] };
    SyscallCounters { classes: [CLASS; CLASSES] }
}

struct Service {
    series: CounterSeries,
    budget: Budget,
}

fn service(max: u32) -> Service {
    let node = NodeBudget::new(1_000_000);
    service_of(&node, max, 0)
}

fn service_of(node: &Rc<NodeBudget>, max: u32, i: usize) -> Service {
    let identity = Identity::new("shop", &format!("api-{i}"), "api", "deployment/api");
    Service { series: CounterSeries::new(identity), budget: Budget::new(node, max).unwrap() }
}

impl Service {
    fn snapshot(&mut self, tcp: &TcpCounters, syscalls: &SyscallCounters) -> Snapshot {
        let mut snapshot = Snapshot::new(1);
        let Self { series, budget } = self;
        series.cpu(&cpu(), budget, &mut snapshot);
        series.tcp(tcp, budget, &mut snapshot);
        series.syscalls(syscalls, budget, &mut snapshot);
        snapshot
    }
}

/// Counter series of a metric: labels and value.
fn values(snapshot: &Snapshot, metric: &'static Metric) -> Vec<(String, f64)> {
    let family = snapshot.families().iter().find(|family| std::ptr::eq(family.metric(), metric));
    let series = family.map(|family| family.series()).unwrap_or_default();
    let values = series.iter().map(|series| {
        let mut labels = Vec::new();
        series.labels.write_text(&mut labels);
        let Value::Counter(value) = series.value else { panic!("no counter") };
        (String::from_utf8(labels).unwrap(), value)
    });
    values.collect()
}

fn sum(snapshot: &Snapshot, metric: &'static Metric) -> f64 {
    values(snapshot, metric).iter().map(|(_, value)| value).sum()
}

#[test]
fn scopes_without_room_are_counted_as_unknown() {
    // Room for one scope beyond what every container has, and that is kept.
    let mut service = service(79);
    let mut tcp = tcp();
    let snapshot = service.snapshot(&tcp, &syscalls());
    let segments = values(&snapshot, &TCP_SEGMENTS_SENT);
    assert_eq!(segments.len(), 1);
    assert!(segments[0].0.ends_with("scope=\"unknown\"") && segments[0].1 == 10.0);
    tcp.scopes[0].segments_sent += 7;
    assert_eq!(sum(&service.snapshot(&tcp, &syscalls()), &TCP_SEGMENTS_SENT), 17.0);
}

#[test]
fn the_default_budget_has_room_for_both_scopes() {
    let snapshot = service(CONTAINER_BUDGET).snapshot(&tcp(), &syscalls());
    assert_eq!(values(&snapshot, &TCP_SEGMENTS_SENT).len(), 2);
    assert_eq!(values(&snapshot, &TCP_CONNECTS).len(), 4);
}

fn counts() -> impl Strategy<Value = Vec<(usize, usize, u64)>> {
    prop::collection::vec((0..CLASSES, 0..ERRNO_SLOTS, 0..1_000_u64), 0..60)
}

proptest! {
    #[test]
    fn folded_or_not_the_sums_hold_and_no_series_ever_falls(
        max in 80..400_u32,
        rounds in prop::collection::vec(counts(), 1..6),
    ) {
        let mut service = service(max);
        let mut counted = syscalls();
        let mut before: HashMap<(&str, String), f64> = HashMap::new();
        for round in rounds {
            for (class, errno, count) in round {
                let class = &mut counted.classes[class];
                class.calls += 2 * count;
                class.time_ns += 1_000_000_000 * count;
                class.errors[errno] += count;
            }
            let snapshot = service.snapshot(&tcp(), &counted);
            let calls: u64 = counted.classes.iter().map(|class| class.calls).sum();
            prop_assert_eq!(sum(&snapshot, &SYSCALLS), calls as f64);
            prop_assert_eq!(sum(&snapshot, &SYSCALL), calls as f64 / 2.0);
            prop_assert_eq!(sum(&snapshot, &SYSCALL_ERRORS), calls as f64 / 2.0);
            prop_assert!(snapshot.workload_series() <= u64::from(max));
            for metric in [&SYSCALLS, &SYSCALL, &SYSCALL_ERRORS] {
                for (labels, value) in values(&snapshot, metric) {
                    let last = before.insert((metric.name, labels), value).unwrap_or(0.0);
                    prop_assert!(value >= last);
                }
            }
        }
        // All that was shown once is shown still.
        let snapshot = service.snapshot(&tcp(), &counted);
        let shown = [&SYSCALLS, &SYSCALL, &SYSCALL_ERRORS].map(|metric| values(&snapshot, metric).len());
        prop_assert_eq!(shown.iter().sum::<usize>(), before.len());
    }
}

/// CPU time of this thread, nanoseconds: what a busy machine does not change.
fn thread_cpu_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split(' ').next().unwrap().parse().unwrap()
}

/// Prints, and asserts no time: a shared machine would make that a lottery.
/// `cargo test --release -p agent what_a_snapshot_costs -- --nocapture`
#[test]
fn what_a_snapshot_costs() {
    const ROUNDS: u32 = 30;
    let node = NodeBudget::new(30_000);
    let mut services: Vec<_> = (0..200).map(|i| service_of(&node, CONTAINER_BUDGET, i)).collect();
    let (cpu, empty) = (cpu(), tcp());
    let mut full = tcp();
    full.connect_time.observe(1);
    full.accept_wait.observe(1);
    for scope in &mut full.scopes {
        scope.rtt.observe(1);
        scope.jitter.observe(1);
    }
    for (name, tcp) in [("empty", &empty), ("filled", &full)] {
        let mut count = 0;
        let started_ns = thread_cpu_ns();
        for _ in 0..ROUNDS {
            let mut snapshot = Snapshot::new(1);
            for Service { series, budget } in &mut services {
                series.cpu(&cpu, budget, &mut snapshot);
                series.tcp(tcp, budget, &mut snapshot);
            }
            count = snapshot.workload_series();
        }
        let milliseconds = (thread_cpu_ns() - started_ns) as f64 / 1e6 / f64::from(ROUNDS);
        assert!((9_000..=30_000).contains(&count), "{count}");
        println!(
            "{count} series of 200 services, histograms {name}: {milliseconds:.2} ms of CPU time"
        );
    }
}
