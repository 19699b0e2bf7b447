//! A pair of programs, of which one calls the other.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use tests::netns::Wire;
use tests::probe_run::Probes;
use tests::process::Process;
use tests::workload::{announced, system_tool};
use tests::{apps, eventually};

/// The service that the caller is watched as.
pub(crate) const SERVICE: u16 = 1;
const LISTENS: Duration = Duration::from_secs(15);

/// A caller, and its downstream, which nobody watches.
pub(crate) struct Pair {
    caller: Process,
    addr: SocketAddr,
    downstream: SocketAddr,
    _downstream: Process,
    _dir: tempfile::TempDir,
}

impl Pair {
    /// Two Go programs, the same file, on loopback.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let go = apps::gocaller()?.to_string_lossy().into_owned();
        let here = "127.0.0.1:0".to_owned();
        let caller = |downstream: SocketAddr| {
            let downstream = downstream.to_string();
            vec![go.clone(), "-listen".into(), here.clone(), "-downstream".into(), downstream]
        };
        Self::start_as(std::slice::from_ref(&go), caller, command_of, command_of)
    }

    /// The same at the ends of a wire: the caller at the client's.
    pub(crate) fn start_on(wire: &Wire, is_go: bool) -> anyhow::Result<Self> {
        let go = apps::gocaller()?.to_string_lossy().into_owned();
        let far = format!("{}:0", Wire::SERVER);
        let downstream = [go.clone(), "-listen".into(), far];
        let near = "127.0.0.1:0".to_owned();
        let caller = |downstream: SocketAddr| {
            let downstream = downstream.to_string();
            if is_go {
                vec![go.clone(), "-listen".into(), near.clone(), "-downstream".into(), downstream]
            } else {
                let script = apps::source_dir().join("pycaller.py");
                let script = script.to_string_lossy().into_owned();
                vec![system_tool("python3"), script, near.clone(), downstream]
            }
        };
        Self::start_as(
            &downstream,
            caller,
            |argv| wire.server.command(argv),
            |argv| wire.client.command(argv),
        )
    }

    fn start_as(
        downstream: &[String],
        caller: impl FnOnce(SocketAddr) -> Vec<String>,
        run_downstream: impl FnOnce(&[String]) -> Command,
        run_caller: impl FnOnce(&[String]) -> Command,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let start = |mut command: Command, name: &str| {
            let process = Process::spawn(&mut command, dir.path(), name)?;
            let addr = eventually::until(LISTENS, || announced(&process.stdout()));
            let addr =
                addr.with_context(|| format!("{name} does not listen: {}", process.stderr()))?;
            anyhow::Ok((process, addr))
        };
        let (downstream, at) = start(run_downstream(downstream), "downstream")?;
        let (caller, addr) = start(run_caller(&caller(at)), "caller")?;
        Ok(Self { caller, addr, downstream: at, _downstream: downstream, _dir: dir })
    }

    /// The caller's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.caller.pid()
    }

    /// Where the caller serves.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where the downstream does.
    pub(crate) fn downstream(&self) -> SocketAddr {
        self.downstream
    }

    /// Whether the caller still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.caller.try_wait().is_none()
    }

    /// Watches the caller.
    pub(crate) fn watch(&self, probes: &mut Probes) -> anyhow::Result<()> {
        probes.watch(self.caller.pid(), self.addr.port(), SERVICE)
    }
}

fn command_of(argv: &[String]) -> Command {
    let mut command = Command::new(argv.first().map_or("", String::as_str));
    command.args(argv.iter().skip(1));
    command
}
