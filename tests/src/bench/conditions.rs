//! Where and when it was measured: without that a number says nothing.
//!
//! Separate because it is read from the machine, not measured.

use std::fs;
use std::process::Command;

use crate::process;

/// One line of text. To be asked for before anything is started: the load
/// average says whether others used the machine.
#[must_use]
pub fn describe() -> String {
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("unknown");
    let kernel = read("/proc/sys/kernel/osrelease");
    let model = cpu_model(&read("/proc/cpuinfo")).unwrap_or_else(|| "unknown CPU".to_owned());
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let go = said("go", &["env", "GOVERSION"])
        .or_else(|| said("/usr/local/go/bin/go", &["env", "GOVERSION"]));
    let date = said("date", &["-u", "+%Y-%m-%d"]);
    format!(
        "{}; kernel {kernel}; {cpus} CPUs, {model}{}; {}; load average {load} at the start",
        date.unwrap_or_else(|| "date unknown".to_owned()),
        if is_virtual() { ", virtual" } else { "" },
        go.unwrap_or_else(|| "no Go".to_owned()),
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn is_virtual() -> bool {
    read("/proc/cpuinfo").split_whitespace().any(|word| word == "hypervisor")
}

fn said(program: &str, args: &[&str]) -> Option<String> {
    let text = process::run(Command::new(program).args(args)).ok()?;
    Some(text.trim().to_owned())
}

/// CPU time so far, in ticks: of everybody, and of this process with the
/// children that it has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    all: u64,
    busy: u64,
    own: u64,
}

/// Above this share of all CPUs for others, numbers say more about them.
pub const QUIET: f64 = 0.05;

impl Ticks {
    /// Now.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::parse(&read("/proc/stat"), &read("/proc/self/stat"))
    }

    fn parse(node: &str, own: &str) -> Option<Self> {
        // user nice system idle iowait irq softirq steal; guests are in user.
        let node = node.lines().next()?.strip_prefix("cpu ")?;
        let node: Vec<u64> = node.split_whitespace().take(8).flat_map(str::parse).collect();
        let idle: u64 = node.get(3..5)?.iter().sum();
        let all: u64 = node.iter().sum();
        // Fields 14 to 17 (utime stime cutime cstime); the name ends with `)`.
        let fields = own.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
        Some(Self { all, busy: all - idle, own: fields.flat_map(str::parse::<u64>).sum() })
    }

    /// The share of all CPUs, 0 to 1, that others used since `before`.
    #[must_use]
    pub fn of_others_since(self, before: Self) -> f64 {
        let busy = self.busy.saturating_sub(before.busy);
        let others = busy.saturating_sub(self.own.saturating_sub(before.own));
        others as f64 / self.all.saturating_sub(before.all).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Ticks;

    #[test]
    fn others_are_all_that_is_busy_but_ourselves() {
        let own = |ticks: u64| format!("7 (a) b) S 1 1 1 0 0 0 0 0 0 0 {ticks} 10 20 30 20 0 1");
        let before = Ticks::parse("cpu  100 0 0 900 0 0 0 0 0 0\ncpu0 1\n", &own(40)).unwrap();
        let after = Ticks::parse("cpu  150 0 20 960 40 10 10 10 0 0\n", &own(90)).unwrap();
        assert_eq!((before.own, before.busy, after.all), (100, 100, 1200));
        // 100 of 200 ticks were busy, 50 of them ours.
        assert!((after.of_others_since(before) - 0.25).abs() < 1e-9);
    }

    #[test]
    fn the_model_is_what_follows_the_colon() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\n";
        assert_eq!(super::cpu_model(text).as_deref(), Some("Some CPU @ 2.0GHz"));
    }
}
