//! The demo's sample API and the API that it calls, each in a container.
//!
//! `strata-demo [PROGRAM ARG...]` starts the two Go APIs by containerd, else by
//! runc, else as processes in cgroups, or `PROGRAM` in cgroups; says on stderr
//! which it was; prints `front ADDR POD CONTAINER`, then `downstream` alike.
//! When its stdin closes, or on SIGTERM, it removes what it made.
//! `strata-demo --build` only builds the Go API.
//!
//! Separate from the demo, which has none of the harness, and may be killed.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context as _;
use tests::cgroup::Cgroup;
use tests::containers::containerd::Containerd;
use tests::containers::{Ids, runc};
use tests::process::Process;
use tests::workload::{self, Kind, Server};
use tests::{apps, eventually, sys};

/// What `/down` asks of the downstream.
const DOWNSTREAM_PATH: &str = "/sleep?ms=10";

/// How long an API may take until it listens.
const LISTENS: Duration = Duration::from_secs(15);

/// Starts both APIs and lets them run until the end; fails only at the start.
type Way = fn(&End) -> anyhow::Result<()>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args == ["--build"] {
        return apps::goapi().map(drop);
    }
    anyhow::ensure!(sys::is_root(), "making containers and cgroups needs root");
    let end = End::watch()?;
    if !args.is_empty() {
        return by_cgroups(&args, &end);
    }
    // First: it takes longest, and without it no way is left.
    let program = apps::goapi()?.to_string_lossy().into_owned();
    let ways: [(&str, Way); 2] = [("containerd", by_containerd), ("runc", by_runc)];
    for (name, way) in ways {
        if end.is_here() {
            return Ok(());
        }
        match way(&end) {
            Ok(()) => return Ok(()),
            Err(error) => say(&format!("no containers by {name}: {error:#}")),
        }
    }
    by_cgroups(&[program], &end)
}

fn by_containerd(end: &End) -> anyhow::Result<()> {
    let containerd = Containerd::start()?;
    let pair = Pair::start(|ids, args| {
        let container = containerd.run_with(ids, args)?;
        Ok((container.addr(), container))
    })?;
    pair.hold("containers of a containerd of their own", end);
    Ok(())
}

fn by_runc(end: &End) -> anyhow::Result<()> {
    let pair = Pair::start(|ids, args| {
        let server = args.iter().fold(Server::new(Kind::Go), |server, arg| server.arg(arg));
        let container = runc::Container::start(server, ids, None)?;
        Ok((container.addr(), container))
    })?;
    pair.hold("containers by runc", end);
    Ok(())
}

/// `program` takes `-listen` and `-downstream`, and says `listening ADDR`.
fn by_cgroups(program: &[String], end: &End) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("strata-demo-out").tempdir()?;
    let pair = Pair::start(|ids, args| {
        let api = InCgroup::start(program, &ids, args, dir.path())?;
        Ok((api.addr, api))
    })?;
    pair.hold("processes in cgroups", end);
    Ok(())
}

/// An API outside of any container, in a container's cgroup.
struct InCgroup {
    addr: SocketAddr,
    // The process first: its cgroup stays busy until it has ended.
    _process: Process,
    _cgroup: Cgroup,
}

impl InCgroup {
    fn start(program: &[String], ids: &Ids, args: &[String], dir: &Path) -> anyhow::Result<Self> {
        let cgroup = Cgroup::create(&ids.cgroup_path())?;
        let listen = ["-listen", "127.0.0.1:0"].map(str::to_owned);
        let argv = [program, &listen, args].concat();
        let mut process = Process::spawn(&mut cgroup.command(&argv), dir, ids.short())?;
        let addr = eventually::until(LISTENS, || {
            if process.try_wait().is_some() {
                return Some(None);
            }
            workload::announced(&process.stdout()).map(Some)
        });
        let addr = addr
            .flatten()
            .with_context(|| format!("{argv:?} does not listen: {}", process.stderr()))?;
        Ok(Self { addr, _process: process, _cgroup: cgroup })
    }
}

/// One API; it ends with `_life`.
struct Api<T> {
    ids: Ids,
    addr: SocketAddr,
    _life: T,
}

/// The sample API and its downstream, ended in this order.
struct Pair<T> {
    front: Api<T>,
    downstream: Api<T>,
}

impl<T> Pair<T> {
    /// Starts both by `start`, which takes ids and further arguments.
    fn start(
        start: impl Fn(Ids, &[String]) -> anyhow::Result<(SocketAddr, T)>,
    ) -> anyhow::Result<Self> {
        let one = |args: &[String]| -> anyhow::Result<Api<T>> {
            let ids = Ids::unique();
            let (addr, life) = start(ids.clone(), args)?;
            Ok(Api { ids, addr, _life: life })
        };
        let downstream = one(&[])?;
        let url = format!("http://{}{DOWNSTREAM_PATH}", downstream.addr);
        let front = one(&["-downstream".to_owned(), url])?;
        Ok(Self { front, downstream })
    }

    /// Says what runs, and lets it run until the end.
    fn hold(self, what: &str, end: &End) {
        if end.is_here() {
            return;
        }
        say(what);
        let mut stdout = std::io::stdout();
        for (name, Api { ids, addr, .. }) in
            [("front", &self.front), ("downstream", &self.downstream)]
        {
            let _ = writeln!(stdout, "{name} {addr} {} {}", ids.pod_uid, ids.short());
        }
        let _ = stdout.flush();
        end.wait();
    }
}

/// Stdin's end, or a signal that asks for ours.
struct End(Receiver<()>);

impl End {
    fn watch() -> anyhow::Result<Self> {
        sys::catch_termination().context("catching SIGTERM")?;
        let (open, is_open) = channel();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            drop(open);
        });
        Ok(Self(is_open))
    }

    fn is_here(&self) -> bool {
        self.comes_within(Duration::ZERO)
    }

    fn wait(&self) {
        while !self.comes_within(Duration::from_millis(50)) {}
    }

    fn comes_within(&self, time: Duration) -> bool {
        self.0.recv_timeout(time) != Err(RecvTimeoutError::Timeout) || sys::is_terminated()
    }
}

fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "strata-demo: {what}");
}
