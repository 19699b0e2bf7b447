//! The agent on a full node: memory, rest, and start, with many containers.
//!
//! Separate because it makes two hundred cgroups, and waits.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::usage::{self, Map, Memory};
use super::{Effort, statistics};
use crate::agent_process::Agent;
use crate::cgroup::{Cgroup, kubepods_path};
use crate::load::{Call, sequential};
use crate::process::Process;
use crate::{eventually, sys, workload};

/// Containers, as many pods.
pub const CONTAINERS: usize = 200;
/// Those of them that serve HTTP; the others sleep.
pub const SERVING: usize = 20;
/// Requests to each of those, so that it has series.
const REQUESTS: u64 = 50;
/// Between two scrapes.
const SCRAPE_EVERY: Duration = Duration::from_secs(15);

/// What was found.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Memory once it was ready.
    pub at_start: Memory,
    /// Memory at the end.
    pub steady: Memory,
    /// Maps, largest first.
    pub maps: Vec<Map>,
    /// CPU at rest, percent of one core.
    pub idle_percent: f64,
    /// For how long, scrapes included.
    pub idle: Duration,
    /// Series of a scrape.
    pub series: usize,
    /// Seconds from the start of the process until it was ready: the worst.
    pub start_seconds: f64,
    /// How often it was started.
    pub starts: usize,
}

/// One container: its process ends first, then its cgroup goes.
#[derive(Debug)]
struct Container {
    process: Process,
    _cgroup: Cgroup,
    _file: String,
}

impl Container {
    fn start(number: usize, dir: &Path) -> anyhow::Result<Self> {
        let pod = format!("5ca1ab1e-0000-4000-8000-{number:012x}");
        let cgroup = Cgroup::create(&kubepods_path(&pod, &format!("{number:064x}")))?;
        let argv = if number < SERVING {
            vec![usage::sibling("strata-micro")?.to_string_lossy().into_owned(), "serve".to_owned()]
        } else {
            vec!["sleep".to_owned(), "1000".to_owned()]
        };
        let file = format!("container{number}");
        let mut command: Command = cgroup.command(&argv);
        let process = Process::spawn(&mut command, dir, &file)?;
        Ok(Self { process, _cgroup: cgroup, _file: file })
    }
}

/// Measures it.
///
/// # Errors
/// When containers or the agent cannot be started, or the agent breaks.
pub fn run(effort: &Effort, say: &dyn Fn(&str)) -> anyhow::Result<Fleet> {
    say(&format!("{CONTAINERS} containers, {SERVING} of them serving"));
    let dir = tempfile::Builder::new().prefix("strata-fleet").tempdir()?;
    let containers = (0..CONTAINERS)
        .map(|number| Container::start(number, dir.path()))
        .collect::<anyhow::Result<Vec<_>>>()
        .context("starting containers")?;
    let servers = containers.iter().take(SERVING).map(addr).collect::<anyhow::Result<Vec<_>>>()?;

    say("starts of the agent");
    let mut took = Vec::new();
    for _ in 1..effort.starts {
        took.push(start()?.1);
    }
    let (agent, seconds) = start()?;
    took.push(seconds);
    let at_start = usage::memory(agent.pid())?;
    for server in &servers {
        sequential::run(*server, &[Call::get("/hello")], REQUESTS, true)?;
    }
    ensure_seen(&agent)?;

    say(&format!("the agent at rest, {} s", effort.idle.as_secs()));
    let series = agent.scrape()?.samples().len();
    let (begin, before_ns) = (Instant::now(), sys::process_cpu_ns(agent.pid())?);
    while begin.elapsed() < effort.idle {
        thread::sleep(SCRAPE_EVERY.min(effort.idle.saturating_sub(begin.elapsed())));
        agent.scrape_text()?;
    }
    let (idle, used_ns) = (begin.elapsed(), sys::process_cpu_ns(agent.pid())? - before_ns);
    Ok(Fleet {
        at_start,
        steady: usage::memory(agent.pid())?,
        maps: usage::maps(agent.pid())?,
        idle_percent: used_ns as f64 / idle.as_nanos() as f64 * 100.0,
        idle,
        series,
        start_seconds: statistics::quantile(&took, 1.0).context("no start was timed")?,
        starts: took.len(),
    })
}

/// Starts the agent with its defaults: it watches what serves in a container.
/// Its readiness is asked for every 20 ms.
fn start() -> anyhow::Result<(Agent, f64)> {
    let begin = Instant::now();
    let agent = Agent::start(&["--governor-enabled=false"])?;
    Ok((agent, begin.elapsed().as_secs_f64()))
}

fn addr(container: &Container) -> anyhow::Result<SocketAddr> {
    let addr = eventually::until(Duration::from_secs(5), || {
        workload::announced(&container.process.stdout())
    });
    addr.with_context(|| format!("no server in a container: {}", container.process.stderr()))
}

/// Makes sure that the containers are watched.
fn ensure_seen(agent: &Agent) -> anyhow::Result<()> {
    let wanted = SERVING as u64 * REQUESTS;
    let seen = eventually::until(Duration::from_secs(5), || {
        let seen = agent.scrape().ok()?.sum("strata_requests_total", &[("outcome", "exported")]);
        (seen >= wanted as f64).then_some(())
    });
    seen.with_context(|| format!("the agent did not see {wanted} requests to containers"))
}
