//! Debian packages that the tests and the demo use, each with its reason.
//!
//! Separate so that the list is one table. A package counts as there when its
//! command is, wherever that came from: Docker's containerd or a Go of one's
//! own are as good as Debian's.

use std::process::Command;
use std::time::Duration;

use super::{policy, step};
use crate::{place, process};

/// One package.
struct Package {
    name: &'static str,
    /// The command whose presence says that it need not be installed.
    command: &'static str,
    /// Daemons that Debian would start on installation.
    services: &'static [&'static str],
    why: &'static str,
}

const fn package(name: &'static str, command: &'static str, why: &'static str) -> Package {
    Package { name, command, services: &[], why }
}

const fn daemon(
    name: &'static str,
    command: &'static str,
    services: &'static [&'static str],
    why: &'static str,
) -> Package {
    Package { name, command, services, why }
}

const PACKAGES: &[Package] = &[
    daemon("prometheus", "promtool", &["prometheus"], "scrapes the agent"),
    daemon(
        "prometheus-alertmanager",
        "prometheus-alertmanager",
        &["prometheus-alertmanager"],
        "takes alerts",
    ),
    daemon("redis-server", "redis-server", &["redis-server"], "is watched"),
    daemon("nginx-light", "nginx", &["nginx"], "is watched"),
    daemon("containerd", "containerd", &["containerd"], "runs containers"),
    package("runc", "runc", "runs containers"),
    package("golang-go", "go", "builds the sample API"),
    package("gcc", "cc", "builds the C workload"),
    // Of a package that it depends on: it has no command of its own.
    package("libc6-dev", "gencat", "has its headers"),
    package("nodejs", "node", "is watched"),
    package("python3", "python3", "is watched"),
    package("wrk", "wrk", "makes load"),
    package("nftables", "nft", "drops packets on purpose"),
    package("iproute2", "ip", "makes network namespaces, shows sockets"),
    package("bpftool", "bpftool", "shows what is loaded"),
    package("tmux", "tmux", "is the terminal that `strata top` is tested in"),
    package("qemu-system-x86", "qemu-system-x86_64", "boots other kernels"),
    package("busybox-static", "busybox", "is their user space"),
    package("cpio", "cpio", "packs it"),
];

/// Seconds that the lists of packages take, and all packages of this list.
const EXPECTED_SECONDS: (u64, u64) = (10, 60);

/// Installs the packages that are missing.
pub(crate) fn ensure() -> anyhow::Result<()> {
    let missing = missing(PACKAGES, |command| place::command(command).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let reasons: Vec<String> = missing
        .iter()
        .map(|package| format!("{:24} its {} {}", package.name, package.command, package.why))
        .collect();
    anyhow::ensure!(
        place::command("apt-get").is_some(),
        "there is no apt-get here; the tests need what these Debian packages have:\n  {}",
        reasons.join("\n  ")
    );
    let install = format!("apt-get install --no-install-recommends {}", names.join(" "));
    anyhow::ensure!(place::is_root(), "packages are missing; as root run: {install}");

    let (lists, all) = EXPECTED_SECONDS;
    let expected = Duration::from_secs(lists + all * missing.len() as u64 / PACKAGES.len() as u64);
    let what = format!("{} Debian package{}", names.len(), if names.len() == 1 { "" } else { "s" });
    let why = format!("the tests and the demo use them:\n  {}\n ", reasons.join("\n  "));
    let services: Vec<&str> =
        missing.iter().flat_map(|package| package.services).copied().collect();
    step(&what, &why, expected, || {
        process::run_quietly(apt().arg("update"))?;
        policy::without_starting(&services, || {
            let mut command = apt();
            command.args(["install", "--yes", "--no-install-recommends"]).args(&names);
            process::run_quietly(&mut command)
        })
    })
}

/// apt-get that asks nothing, and waits for another one rather than failing.
fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-q", "-o", "DPkg::Lock::Timeout=120"]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn missing(packages: &[Package], is_there: impl Fn(&str) -> bool) -> Vec<&Package> {
    packages.iter().filter(|package| !is_there(package.command)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_named() {
        let names: Vec<&str> = missing(PACKAGES, |command| command != "nft" && command != "go")
            .iter()
            .map(|package| package.name)
            .collect();
        assert_eq!(names, ["golang-go", "nftables"]);
        assert!(missing(PACKAGES, |_| true).is_empty());
    }

    #[test]
    fn each_command_belongs_to_one_package() {
        let mut commands: Vec<&str> = PACKAGES.iter().map(|package| package.command).collect();
        commands.sort_unstable();
        commands.dedup();
        assert_eq!(commands.len(), PACKAGES.len());
    }
}
