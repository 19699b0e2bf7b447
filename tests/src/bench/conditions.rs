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

#[cfg(test)]
mod tests {
    #[test]
    fn the_model_is_what_follows_the_colon() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\n";
        assert_eq!(super::cpu_model(text).as_deref(), Some("Some CPU @ 2.0GHz"));
    }
}
