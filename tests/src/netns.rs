//! Two network namespaces joined by a veth pair: a wire of our own, on which
//! loss hurts nobody else.
//!
//! Separate because loss, resets and connects are all tested on one.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A named network namespace with its loopback up; removed at drop.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes one with a name of its own.
    ///
    /// # Errors
    /// When `ip` fails: this needs root.
    pub fn create() -> anyhow::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("strata-{}-{number}", std::process::id());
        ip(&["netns", "add", &name])?;
        let netns = Self { name };
        ip(&["-n", netns.name(), "link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// Its name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it, for a container to join.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command that runs `argv` inside, in the process of the command itself.
    #[must_use]
    pub fn command(&self, argv: &[String]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.file().display())).arg("--").args(argv);
        command
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// A client's and a server's namespace with a wire between them.
#[derive(Debug)]
pub struct Wire {
    /// Where the client runs, at [`Wire::CLIENT`].
    pub client: Netns,
    /// Where the server runs, at [`Wire::SERVER`].
    pub server: Netns,
}

impl Wire {
    /// Address of the client's end.
    pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
    /// Address of the server's end.
    pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));

    /// Makes both namespaces and the wire.
    ///
    /// # Errors
    /// When `ip` fails: this needs root.
    pub fn create() -> anyhow::Result<Self> {
        let wire = Self { client: Netns::create()?, server: Netns::create()? };
        let (client, server) = (wire.client.name(), wire.server.name());
        // Made inside the namespaces: the host's own never sees either end.
        ip(&[
            "-n", client, "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns",
            server,
        ])?;
        for (name, addr) in [(client, Self::CLIENT), (server, Self::SERVER)] {
            ip(&["-n", name, "addr", "add", &format!("{addr}/24"), "dev", "veth0"])?;
            ip(&["-n", name, "link", "set", "veth0", "up"])?;
        }
        Ok(wire)
    }
}

fn ip(args: &[&str]) -> anyhow::Result<String> {
    process::run(Command::new("ip").args(args))
}
