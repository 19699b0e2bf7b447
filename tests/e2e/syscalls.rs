//! The syscalls lane against a program whose calls are known one by one.
//!
//! What belongs here: numbers, errors and times of system calls that a test
//! made on purpose.

use tests::agent_process::Agent;
use tests::metrics_text::Metrics;
use tests::puppet::{self, Puppet};
use tests::require::has_tool;
use tests::{require, sys};

const SECONDS: &str = "strata_syscall_seconds_total";
const CALLS: &str = "strata_syscalls_total";
const ERRORS: &str = "strata_syscall_errors_total";

/// What a step added to the sums of a class.
struct Added {
    before: Metrics,
    after: Metrics,
    /// By the puppet's own clock.
    took_s: f64,
}

impl Added {
    fn by(agent: &Agent, puppet: &mut Puppet, code: &str) -> Self {
        let before = agent.scrape().unwrap();
        puppet.run("start = time.monotonic()").unwrap();
        puppet.run(code).unwrap();
        let took_s = puppet.run("time.monotonic() - start").unwrap().as_f64().unwrap();
        Self { before, after: agent.scrape().unwrap(), took_s }
    }

    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        // Containers of others are watched too, if there are any.
        let labels: Vec<_> = labels.iter().copied().chain([("container", "")]).collect();
        self.after.sum(name, &labels) - self.before.sum(name, &labels)
    }

    fn calls(&self, class: &str) -> f64 {
        self.sum(CALLS, &[("class", class)])
    }

    fn seconds(&self, class: &str) -> f64 {
        self.sum(SECONDS, &[("class", class)])
    }

    fn errors(&self, class: &str, errno: &str) -> f64 {
        self.sum(ERRORS, &[("class", class), ("errno", errno)])
    }
}

#[test]
fn calls_errors_and_times_are_those_that_were_made() {
    require!(sys::is_root() && has_tool("python3"), "root and Python are needed");
    let mut puppet = Puppet::start(puppet::plain).unwrap();
    let mut other = Puppet::start(puppet::plain).unwrap();
    let agent = Agent::start(&["--pid", &puppet.pid().to_string()]).unwrap();
    let fails = "for _ in range(1000): error_of(os.open, '/nowhere/at/all', 0)";

    let opens = Added::by(&agent, &mut puppet, fails);
    assert_eq!((opens.calls("file_open"), opens.errors("file_open", "ENOENT")), (1_000.0, 1_000.0));
    assert_eq!(opens.sum(ERRORS, &[]), 1_000.0, "no other error");
    assert!(opens.seconds("file_open") > 0.0 && opens.seconds("file_open") < opens.took_s);
    assert_eq!(opens.calls("sleep") + opens.calls("connect") + opens.calls("sync"), 0.0);

    let sleeps = Added::by(&agent, &mut puppet, "for _ in range(20): time.sleep(0.01)");
    let slept = sleeps.seconds("sleep");
    assert_eq!((sleeps.calls("sleep"), sleeps.calls("file_open")), (20.0, 0.0));
    assert!(slept >= 0.2 && slept <= sleeps.took_s, "{slept} s of {}", sleeps.took_s);
    assert_eq!(sleeps.sum(ERRORS, &[]), 0.0);

    let reads = "for _ in range(500): error_of(os.read, 999, 1)";
    let reads = Added::by(&agent, &mut puppet, reads);
    assert_eq!((reads.errors("read", "EBADF"), reads.sum(ERRORS, &[])), (500.0, 500.0));

    // The same by a process that nobody watches.
    let nothing = Added::by(&agent, &mut other, fails);
    assert_eq!(nothing.sum(CALLS, &[]), 0.0);
}
