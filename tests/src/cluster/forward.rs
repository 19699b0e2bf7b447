//! A port of a pod, forwarded to this machine.
//!
//! Separate because it is a process of its own, which has to be ended.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::eventually;
use crate::process::Process;

/// How long a forwarding may take to begin.
const BEGINS: Duration = Duration::from_secs(20);

/// `kubectl port-forward`, ended by its drop.
#[derive(Debug)]
pub struct Forward {
    /// Where the pod's port is to be had.
    pub addr: SocketAddr,
    process: Process,
    _dir: tempfile::TempDir,
}

impl Forward {
    /// Forwards a free port of 127.0.0.1 to a port of a pod.
    ///
    /// # Errors
    /// When it does not begin in time, with what was said.
    pub fn start(namespace: &str, pod: &str, port: u16) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut command = Command::new("kubectl");
        command.args(["port-forward", "--namespace", namespace]);
        command.args(["--address=127.0.0.1", &format!("pod/{pod}"), &format!(":{port}")]);
        let mut process = Process::spawn(&mut command, dir.path(), "forward")?;
        let addr = eventually::until(BEGINS, || {
            let has_ended = process.try_wait().is_some();
            let addr = address(&process.stdout());
            (has_ended || addr.is_some()).then_some(addr)
        });
        let addr = addr.flatten().with_context(|| {
            format!("port {port} of {namespace}/{pod} is not forwarded: {}", process.stderr())
        })?;
        Ok(Self { addr, process, _dir: dir })
    }

    /// Whether it still forwards: it ends when its pod does.
    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().is_none()
    }
}

/// The address in kubectl's `Forwarding from 127.0.0.1:40123 -> 9464`.
fn address(stdout: &str) -> Option<SocketAddr> {
    let line = stdout.lines().find_map(|line| line.strip_prefix("Forwarding from "))?;
    line.split(" -> ").next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_forwarded_address_is_read() {
        let line = "Forwarding from 127.0.0.1:40123 -> 9464\n";
        assert_eq!(super::address(line), Some("127.0.0.1:40123".parse().unwrap()));
        assert_eq!(super::address("error: unable to forward\n"), None);
    }
}
