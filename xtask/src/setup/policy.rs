//! Keeps freshly installed daemons from starting.
//!
//! Debian starts a daemon when its package is installed; the tests start their
//! own, and this machine's ports 80, 6379 and 9090 are not ours to take.
//! `policy-rc.d` is the one switch that works with and without systemd
//! (`RUNLEVEL=1` is not looked at by systemd's helper). Ours denies only the
//! daemons that are being installed, only while we live, and the janitor
//! removes it. A machine that has a policy already keeps it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::janitor::Janitor;
use crate::{place, process};

const PATH: &str = "/usr/sbin/policy-rc.d";

/// Runs `install` while the `services` may not start, and leaves them disabled.
pub(super) fn without_starting(
    services: &[&str],
    install: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if services.is_empty() {
        return install();
    }
    let path = Path::new(PATH);
    let janitor = if path.exists() {
        None
    } else {
        let mut janitor = Janitor::start()?;
        janitor.remove(path)?;
        std::fs::write(path, script(services, std::process::id()))
            .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("writing {PATH}"))?;
        Some(janitor)
    };
    let outcome = install();
    drop(janitor);
    outcome?;
    for service in services {
        if let Err(error) = disable(service) {
            eprintln!("setup: {service} may start at the next boot: {error:#}");
        }
    }
    Ok(())
}

/// Not at the next boot either. Where there is neither systemd nor a script of
/// the old kind, nothing would start it.
fn disable(service: &str) -> anyhow::Result<()> {
    let mut command = if let Some(systemctl) = place::command("systemctl") {
        let mut command = Command::new(systemctl);
        command.args(["--quiet", "disable", service]);
        command
    } else if Path::new("/etc/init.d").join(service).exists() {
        let mut command = Command::new("update-rc.d");
        command.args([service, "disable"]);
        command
    } else {
        return Ok(());
    };
    process::run_quietly(&mut command)
}

/// The policy: 101 is "denied". The callers pass options, the service (with or
/// without `.service`) and the action, in an order that differs.
fn script(services: &[&str], pid: u32) -> String {
    let names = services
        .iter()
        .map(|service| format!("*\" {service} \"*|*\" {service}.service \"*"))
        .collect::<Vec<_>>()
        .join("|");
    format!(
        "#!/bin/sh\n\
         # Made by strata's `cargo xtask setup`, which removes it when it ends.\n\
         [ -d /proc/{pid} ] || exit 0\n\
         case \" $* \" in {names}) exit 101;; esac\n\
         exit 0\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(pid: u32, words: &[&str]) -> i32 {
        let script = script(&["nginx", "redis-server"], pid);
        let mut command = Command::new("sh");
        command.args(["-c", &script, "policy-rc.d"]).args(words);
        command.status().unwrap().code().unwrap()
    }

    #[test]
    fn the_daemons_being_installed_are_denied() {
        let me = std::process::id();
        assert_eq!(verdict(me, &["nginx.service", "start"]), 101);
        assert_eq!(verdict(me, &["--quiet", "redis-server", "start", "3"]), 101);
    }

    #[test]
    fn other_daemons_are_left_alone() {
        let me = std::process::id();
        assert_eq!(verdict(me, &["ssh.service", "restart"]), 0);
        assert_eq!(verdict(me, &["nginx-extra", "start"]), 0);
    }

    #[test]
    fn a_policy_left_behind_by_a_dead_setup_denies_nothing() {
        assert_eq!(verdict(u32::MAX, &["nginx.service", "start"]), 0);
    }
}
