//! One window of load on a server: what was done, and what everybody used.
//!
//! Separate from `paired`, which compares windows.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::{CLIENT_CPU, SERVER_CPU, statistics};
use crate::agent_process::Agent;
use crate::load::{Call, closed, open};
use crate::sys;
use crate::workload::{Kind, Server, Workload};

/// Connections of every load.
const CONNECTIONS: usize = 16;

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// Each connection asks again as soon as it has its answer.
    Saturated,
    /// So many a second, whatever becomes of them.
    Paced(f64),
}

/// A window.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Requests completed.
    pub requests: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Its length, seconds.
    pub seconds: f64,
    /// CPU time of the server, nanoseconds.
    pub app_ns: u64,
    /// CPU time of the client. On loopback the receiving side of both ends is
    /// the sender's work, so part of what strata adds lies here.
    pub client_ns: u64,
    /// CPU time of the agent, 0 without one.
    pub agent_ns: u64,
    /// Median time to the response, microseconds; 0 if it was not taken.
    pub p50_us: f64,
    /// The 99th percentile of it.
    pub p99_us: f64,
}

impl Window {
    /// Microseconds of CPU for one request.
    #[must_use]
    pub fn per_request_us(&self, used_ns: u64) -> f64 {
        used_ns as f64 / 1e3 / self.requests.max(1) as f64
    }

    /// Requests a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// A Go server on [`SERVER_CPU`] alone, which thus uses one processor.
///
/// # Errors
/// When it cannot be built or started.
pub fn pinned_server() -> anyhow::Result<Workload> {
    Server::new(Kind::Go).start_with(|argv| {
        let mut command = std::process::Command::new("taskset");
        command.args(["-c", &SERVER_CPU.to_string()]).args(argv);
        command
    })
}

/// Puts load on a server, from [`CLIENT_CPU`], for so long.
///
/// # Errors
/// When the server, the agent or the client breaks.
pub fn run(
    load: Load,
    app: &Workload,
    agent: Option<&Agent>,
    time: Duration,
) -> anyhow::Result<Window> {
    let used = || -> anyhow::Result<[u64; 3]> {
        let app_ns = sys::process_cpu_ns(app.pid()).context("CPU time of the server")?;
        let own_ns = sys::process_cpu_ns(std::process::id()).context("CPU time of the client")?;
        let agent_ns = agent.map(|agent| sys::process_cpu_ns(agent.pid())).transpose();
        Ok([app_ns, own_ns, agent_ns.context("CPU time of the agent")?.unwrap_or(0)])
    };
    let before = used()?;
    // Threads of the client inherit the CPU of the thread that starts them.
    let client = thread::scope(|scope| {
        let client = scope.spawn(|| {
            sys::pin_to_cpu(CLIENT_CPU)?;
            drive(load, app, time)
        });
        client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let after = used()?;
    let [app_ns, client_ns, agent_ns] = [0, 1, 2].map(|place| after[place] - before[place]);
    anyhow::ensure!(client.requests > 0, "no request was completed");
    Ok(Window { app_ns, client_ns, agent_ns, ..client })
}

fn drive(load: Load, app: &Workload, time: Duration) -> anyhow::Result<Window> {
    let window = Window {
        requests: 0,
        failed: 0,
        seconds: time.as_secs_f64(),
        app_ns: 0,
        client_ns: 0,
        agent_ns: 0,
        p50_us: 0.0,
        p99_us: 0.0,
    };
    match load {
        Load::Saturated => {
            let outcome = closed::run(app.addr(), &[Call::get("/hello")], CONNECTIONS, time)?;
            Ok(Window {
                requests: outcome.tally.completed(),
                failed: outcome.tally.failed,
                seconds: outcome.took.as_secs_f64(),
                ..window
            })
        }
        Load::Paced(rate) => {
            let schedule = open::Schedule {
                path_prefix: "/hello".to_owned(),
                query: String::new(),
                rate,
                time,
                connections: CONNECTIONS,
            };
            let timings = open::run(app.addr(), &schedule)?;
            let answered = timings.iter().filter(|timing| timing.status == 200);
            let took_us: Vec<f64> =
                answered.map(|it| (it.received_ns - it.sent_ns) as f64 / 1e3).collect();
            Ok(Window {
                requests: took_us.len() as u64,
                failed: (timings.len() - took_us.len()) as u64,
                p50_us: statistics::quantile(&took_us, 0.5).unwrap_or(0.0),
                p99_us: statistics::quantile(&took_us, 0.99).unwrap_or(0.0),
                ..window
            })
        }
    }
}
