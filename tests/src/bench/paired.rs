//! The macro method: windows without and with the agent, side by side, in the
//! order off, on, on, off, so that a drift of the machine cancels out.
//!
//! Separate from `windows`, which is one of them.

use anyhow::Context as _;

use super::lanes::LaneSet;
use super::statistics::{self, Estimate};
use super::windows::{self, Load, Window};
use super::{Effort, usage};
use crate::agent_process::Agent;
use crate::sys;
use crate::workload::Workload;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// CPU of the server, microseconds a request.
    App,
    /// CPU of the client, microseconds a request.
    Client,
    /// Both.
    AppAndClient,
    /// Median latency, microseconds.
    P50,
    /// 99th percentile of latency, microseconds.
    P99,
    /// Requests a second that are lost, percent.
    Lost,
}

impl Figure {
    fn of(self, window: &Window) -> f64 {
        match self {
            Self::App => window.per_request_us(window.app_ns),
            Self::Client => window.per_request_us(window.client_ns),
            Self::AppAndClient => window.per_request_us(window.app_ns + window.client_ns),
            Self::P50 => window.p50_us,
            Self::P99 => window.p99_us,
            Self::Lost => window.per_second(),
        }
    }

    /// How much `on` is worse than `off`.
    fn difference(self, off: &Window, on: &Window) -> f64 {
        let (off, on) = (self.of(off), self.of(on));
        match self {
            Self::Lost => (off - on) / off * 100.0,
            _ => on - off,
        }
    }
}

/// What one choice of lanes costs under one load.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// The lanes.
    pub set: LaneSet,
    /// Those of them that do not work here.
    pub missing: Vec<&'static str>,
    /// The load.
    pub load: Load,
    pairs: Vec<(Window, Window)>,
}

impl Pairs {
    /// A figure without the agent: the median.
    #[must_use]
    pub fn off(&self, figure: Figure) -> Option<f64> {
        let values: Vec<f64> = self.pairs.iter().map(|(off, _)| figure.of(off)).collect();
        statistics::median(&values)
    }

    /// How much worse a figure is with the agent.
    #[must_use]
    pub fn added(&self, figure: Figure) -> Option<Estimate> {
        let values: Vec<f64> =
            self.pairs.iter().map(|(off, on)| figure.difference(off, on)).collect();
        statistics::estimate(&values)
    }

    /// How far two windows without the agent lie apart.
    #[must_use]
    pub fn floor(&self, figure: Figure) -> Option<f64> {
        let offs = self.pairs.iter().map(|(off, _)| off);
        let apart: Vec<f64> = offs
            .clone()
            .zip(offs.skip(1))
            .map(|(one, other)| figure.difference(one, other))
            .collect();
        statistics::noise_floor(&apart)
    }

    /// CPU of the agent, microseconds a request.
    #[must_use]
    pub fn agent_us(&self) -> Option<Estimate> {
        let values: Vec<f64> =
            self.pairs.iter().map(|(_, on)| on.per_request_us(on.agent_ns)).collect();
        statistics::estimate(&values)
    }
}

/// Measures pairs of windows.
///
/// # Errors
/// When the server, the agent or the client breaks.
pub fn run(
    effort: &Effort,
    set: LaneSet,
    load: Load,
    app: &Workload,
    say: &dyn Fn(&str),
) -> anyhow::Result<Pairs> {
    say(&format!("macro, {} lanes, {load:?}", set.name));
    let mut missing = Vec::new();
    let mut pairs = Vec::new();
    let mut agent: Option<Agent> = None;
    windows::run(load, app, None, effort.window).context("warming up")?;
    for turn in 0..effort.pairs {
        let mut off = None;
        if turn % 2 == 0 {
            agent = None;
            off = Some(windows::run(load, app, None, effort.window)?);
        }
        if agent.is_none() {
            agent = Some(set.start(app.addr().port())?);
        }
        let running = agent.as_ref().context("the agent was not started")?;
        let on = windows::run(load, app, Some(running), effort.window)?;
        missing = set.missing(running)?;
        let off = match off {
            Some(off) => off,
            None => {
                agent = None;
                windows::run(load, app, None, effort.window)?
            }
        };
        pairs.push((off, on));
    }
    Ok(Pairs { set, missing, load, pairs })
}

/// What the kernel programs took in one window, by the kernel's own statistics.
#[derive(Clone, Debug)]
pub struct ProgramCosts {
    /// The window. Statistics cost time themselves: it is not compared.
    pub window: Window,
    /// Programs that ran: name, runs a request, nanoseconds a run.
    pub programs: Vec<(String, f64, f64)>,
}

impl ProgramCosts {
    /// Microseconds of all programs for one request.
    #[must_use]
    pub fn per_request_us(&self) -> f64 {
        self.programs.iter().map(|(_, runs, run_ns)| runs * run_ns / 1e3).sum()
    }

    /// Runs of all programs for one request.
    #[must_use]
    pub fn runs_per_request(&self) -> f64 {
        self.programs.iter().map(|(_, runs, _)| runs).sum()
    }
}

/// One window with the kernel's statistics on; they are off again afterwards.
///
/// # Errors
/// As [`run`], or when statistics are refused.
pub fn program_costs(
    agent: &Agent,
    load: Load,
    app: &Workload,
    effort: &Effort,
) -> anyhow::Result<ProgramCosts> {
    let statistics = sys::enable_bpf_stats().context("turning on statistics of programs")?;
    let before = usage::programs(agent.pid())?;
    let window = windows::run(load, app, Some(agent), effort.window * 2)?;
    let after = usage::programs(agent.pid())?;
    drop(statistics);
    let requests = window.requests.max(1) as f64;
    let mut programs: Vec<(String, f64, f64)> = after
        .iter()
        .filter_map(|program| {
            let start = before.iter().find(|other| other.id == program.id)?;
            let (runs, run_ns) = (program.runs - start.runs, program.run_ns - start.run_ns);
            (runs > 0).then(|| {
                (program.name.clone(), runs as f64 / requests, run_ns as f64 / runs as f64)
            })
        })
        .collect();
    programs.sort_by(|one, other| (other.1 * other.2).total_cmp(&(one.1 * one.2)));
    anyhow::ensure!(!programs.is_empty(), "no program ran in a window of {requests} requests");
    Ok(ProgramCosts { window, programs })
}
