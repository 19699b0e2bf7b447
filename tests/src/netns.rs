//! Two network namespaces joined by a veth pair: a wire of our own, on which
//! loss hurts nobody else.
//!
//! Separate because loss, resets and connects are all tested on one.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;

use crate::process::{self, Process};
use crate::{apps, eventually, sys, workload};

/// How long the carrier of a slow wire may take until it has its devices.
const READY: Duration = Duration::from_secs(10);

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

/// Name of a wire's end in its namespace.
const DEVICE: &str = "veth0";
/// Name of a carrier's log in its directory.
const LOG: &str = "segments";

/// A client's and a server's namespace with a wire between them.
#[derive(Debug)]
pub struct Wire {
    /// Carries the packets of a slow wire; ends before its namespaces.
    carrier: Option<(Process, tempfile::TempDir)>,
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
        let wire = Self { carrier: None, client: Netns::create()?, server: Netns::create()? };
        let (client, server) = (wire.client.name(), wire.server.name());
        // Made inside the namespaces: the host's own never sees either end.
        ip(&[
            "-n", client, "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns",
            server,
        ])?;
        wire.bring_up()?;
        Ok(wire)
    }

    /// The same with distance: each packet arrives `delay` after it was sent,
    /// every second one `jitter` later still. For some thousand packets a second.
    ///
    /// # Errors
    /// When there are no TUN devices, or `ip` fails.
    pub fn create_slow(delay: Duration, jitter: Duration) -> anyhow::Result<Self> {
        Self::create_carried(delay, jitter, false)
    }

    /// The same, but one packet in five is late, at random, while jitter is on
    /// ([`Wire::toggle_jitter`]; at first it is off), and every segment is told
    /// in [`Wire::log`].
    ///
    /// # Errors
    /// As [`Wire::create_slow`].
    pub fn create_logged(delay: Duration, jitter: Duration) -> anyhow::Result<Self> {
        Self::create_carried(delay, jitter, true)
    }

    /// Turns the jitter of a wire with a log on or off.
    ///
    /// # Errors
    /// When its carrier is gone.
    pub fn toggle_jitter(&self) -> anyhow::Result<()> {
        let (carrier, _) = self.carrier.as_ref().context("no carrier")?;
        Ok(sys::send_signal(carrier.pid(), libc::SIGUSR1)?)
    }

    /// What the carrier told so far; see [`crate::round_trips`].
    ///
    /// # Errors
    /// When there is no log.
    pub fn log(&self) -> anyhow::Result<String> {
        let (_, dir) = self.carrier.as_ref().context("no carrier")?;
        Ok(std::fs::read_to_string(dir.path().join(LOG))?)
    }

    fn create_carried(delay: Duration, jitter: Duration, has_log: bool) -> anyhow::Result<Self> {
        let mut wire = Self { carrier: None, client: Netns::create()?, server: Netns::create()? };
        let dir = tempfile::Builder::new().prefix("strata-wire").tempdir()?;
        let script = apps::source_dir().join("slow_wire.py").to_string_lossy().into_owned();
        let [delay, jitter] = [delay, jitter].map(|time| time.as_micros().to_string());
        let python = workload::system_tool("python3");
        let mut argv = vec![python, script, DEVICE.into(), "far".into(), delay, jitter];
        if has_log {
            argv.push(dir.path().join(LOG).to_string_lossy().into_owned());
        }
        let carrier = Process::spawn(&mut wire.server.command(&argv), dir.path(), "wire")?;
        eventually::until(READY, || carrier.stdout().contains("ready").then_some(()))
            .with_context(|| format!("no slow wire: {}", carrier.stderr()))?;
        let (client, server) = (wire.client.name(), wire.server.name());
        ip(&["-n", server, "link", "set", "far", "netns", client, "name", DEVICE])?;
        wire.carrier = Some((carrier, dir));
        wire.bring_up()?;
        Ok(wire)
    }

    /// Lets both ends send one segment at a time, so that what gets lost is one
    /// segment and not what segmentation offload put together.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn send_single_segments(&self) -> anyhow::Result<()> {
        for netns in [&self.client, &self.server] {
            ip(&["-n", netns.name(), "link", "set", DEVICE, "gso_max_segs", "1"])?;
        }
        Ok(())
    }

    /// Gives an end one more address, at which it is another peer.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn add_address(&self, netns: &Netns, addr: IpAddr) -> anyhow::Result<()> {
        ip(&["-n", netns.name(), "addr", "add", &format!("{addr}/24"), "dev", DEVICE])?;
        Ok(())
    }

    fn bring_up(&self) -> anyhow::Result<()> {
        for (name, addr) in [(self.client.name(), Self::CLIENT), (self.server.name(), Self::SERVER)]
        {
            ip(&["-n", name, "addr", "add", &format!("{addr}/24"), "dev", DEVICE])?;
            ip(&["-n", name, "link", "set", DEVICE, "up"])?;
        }
        Ok(())
    }
}

fn ip(args: &[&str]) -> anyhow::Result<String> {
    process::run(Command::new("ip").args(args))
}
