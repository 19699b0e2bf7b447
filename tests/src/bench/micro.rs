//! The micro method: short fixed work in a watched process and in one that
//! nobody watches, while the agent comes and goes.
//!
//! Separate from `ops`, which is the work. Each measurement with the agent
//! lies between two without, and is compared with their mean; how far those
//! two lie apart is the noise floor.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::lanes::LaneSet;
use super::ops::Op;
use super::statistics::{self, Estimate};
use super::{Effort, SERVER_CPU};
use crate::agent_process::Agent;
use crate::eventually;

/// Runs of one measurement; the best counts.
const RUNS: u32 = 30;

/// Where an operation is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// By the process that the agent watches.
    Watched,
    /// By a client that nobody watches, served by the watched process.
    Served,
    /// By a process that nobody watches.
    Bystander,
}

/// One line of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// As in the table.
    pub name: &'static str,
    /// Where.
    pub who: Who,
    /// What.
    pub op: Op,
}

const fn case(name: &'static str, who: Who, op: Op) -> Case {
    Case { name, who, op }
}

/// What is measured, in this order.
pub const CASES: [Case; 9] = [
    case("watched: HTTP request, both ends in one thread", Who::Watched, Op::Http),
    case("watched: HTTP request, client in another process", Who::Served, Op::Served),
    case("watched: two context switches", Who::Watched, Op::Switch),
    case("watched: getppid", Who::Watched, Op::Getppid),
    case("bystander: write+read pair, pipe", Who::Bystander, Op::Pipe),
    case("bystander: write+read pair, Unix socket", Who::Bystander, Op::Unix),
    case("bystander: write+read pair, TCP", Who::Bystander, Op::Tcp),
    case("bystander: two context switches", Who::Bystander, Op::Switch),
    case("bystander: getppid", Who::Bystander, Op::Getppid),
];

/// What a case costs with a choice of lanes.
#[derive(Clone, Debug)]
pub struct Cost {
    /// What.
    pub case: Case,
    /// Nanoseconds without the agent: the median of the best runs.
    pub off_ns: f64,
    /// Nanoseconds added.
    pub added_ns: Estimate,
    /// How far two measurements without the agent lie apart, nanoseconds.
    pub floor_ns: f64,
}

/// The costs of one choice of lanes.
#[derive(Clone, Debug)]
pub struct Costs {
    /// The lanes.
    pub set: LaneSet,
    /// Those of them that do not work here.
    pub missing: Vec<&'static str>,
    /// In the order of [`CASES`].
    pub costs: Vec<Cost>,
}

impl Costs {
    /// The cost of one case.
    #[must_use]
    pub fn of(&self, who: Who, op: Op) -> Option<&Cost> {
        self.costs.iter().find(|cost| cost.case.who == who && cost.case.op == op)
    }
}

/// A `strata-micro`, ended by its drop.
#[derive(Debug)]
struct Micro {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    addr: SocketAddr,
}

impl Micro {
    fn start() -> anyhow::Result<Self> {
        let program = super::usage::sibling("strata-micro")?;
        let mut child = Command::new(&program)
            .arg(SERVER_CPU.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("no pipe from strata-micro")?);
        let mut micro = Self { child, orders, answers, addr: SocketAddr::from(([0; 4], 0)) };
        let line = micro.line()?;
        let addr = line.strip_prefix("listening ").and_then(|addr| addr.parse().ok());
        micro.addr = addr.with_context(|| format!("strata-micro said `{line}`"))?;
        Ok(micro)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line).context("reading from strata-micro")?;
        anyhow::ensure!(read > 0, "strata-micro has ended");
        Ok(line.trim_end().to_owned())
    }

    /// Nanoseconds of the best run.
    fn best(&mut self, op: Op, peer: SocketAddr) -> anyhow::Result<f64> {
        let orders = self.orders.as_mut().context("strata-micro is gone")?;
        writeln!(orders, "{} {RUNS} {peer}", op.name()).context("telling strata-micro")?;
        let line = self.line()?;
        let numbers: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
        let numbers = numbers.with_context(|| format!("strata-micro said `{line}`"))?;
        anyhow::ensure!(numbers.len() == RUNS as usize, "strata-micro said `{line}`");
        Ok(numbers.into_iter().fold(f64::INFINITY, f64::min))
    }
}

impl Drop for Micro {
    fn drop(&mut self) {
        // It ends at the end of its orders, or else at once.
        self.orders = None;
        if eventually::until(Duration::from_secs(1), || self.child.try_wait().ok().flatten())
            .is_none()
        {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The two processes.
#[derive(Debug)]
struct Bench {
    watched: Micro,
    bystander: Micro,
}

impl Bench {
    /// The best of each case, in order.
    fn measure(&mut self) -> anyhow::Result<Vec<f64>> {
        let peer = self.watched.addr;
        let mut best = Vec::new();
        for case in CASES {
            let process = match case.who {
                Who::Watched => &mut self.watched,
                Who::Served | Who::Bystander => &mut self.bystander,
            };
            best.push(process.best(case.op, peer).with_context(|| case.name)?);
        }
        Ok(best)
    }

    /// Requests that a measurement makes.
    fn requests() -> u64 {
        [Op::Http, Op::Served].iter().map(|op| u64::from(op.count() * (RUNS + 1))).sum()
    }

    /// Makes sure that the watched process was watched: what costs nothing
    /// because nobody looks would be a fine result.
    fn ensure_seen(agent: &Agent) -> anyhow::Result<()> {
        let wanted = Self::requests();
        let labels = [("workload", "process/strata-micro"), ("outcome", "exported")];
        let seen = eventually::until(Duration::from_secs(5), || {
            let seen = agent.scrape().ok()?.sum("strata_requests_total", &labels);
            (seen >= 0.99 * wanted as f64).then_some(seen)
        });
        anyhow::ensure!(seen.is_some(), "the agent did not see {wanted} requests");
        Ok(())
    }
}

/// Measures every case with every choice of lanes, in turns.
///
/// # Errors
/// When a process does not start, breaks, or is not watched as it should be.
pub fn run(effort: &Effort, sets: &[LaneSet], say: &dyn Fn(&str)) -> anyhow::Result<Vec<Costs>> {
    let mut bench = Bench { watched: Micro::start()?, bystander: Micro::start()? };
    let mut missing = vec![Vec::new(); sets.len()];
    // By set and case; and for every case all measurements without the agent.
    let mut added = vec![vec![Vec::new(); CASES.len()]; sets.len()];
    let mut offs = vec![Vec::new(); CASES.len()];
    bench.measure().context("warming up")?;
    let mut before = bench.measure()?;
    for round in 1..=effort.micro_rounds {
        say(&format!("micro, round {round} of {}", effort.micro_rounds));
        for (place, set) in sets.iter().enumerate() {
            let agent = set.start(bench.watched.addr.port())?;
            let on = bench.measure()?;
            if let Some(slot) = missing.get_mut(place) {
                *slot = set.missing(&agent)?;
            }
            if set.lanes.contains(&"sockets") {
                Bench::ensure_seen(&agent)?;
            }
            drop(agent);
            let after = bench.measure()?;
            for (case, on_ns) in on.iter().enumerate() {
                let off_ns = f64::midpoint(before[case], after[case]);
                added[place][case].push(on_ns - off_ns);
                offs[case].push((before[case], after[case]));
            }
            before = after;
        }
    }
    let parts = sets.iter().zip(missing).zip(added);
    parts.map(|((set, missing), added)| costs(*set, missing, &added, &offs)).collect()
}

fn costs(
    set: LaneSet,
    missing: Vec<&'static str>,
    added: &[Vec<f64>],
    offs: &[Vec<(f64, f64)>],
) -> anyhow::Result<Costs> {
    let mut costs = Vec::new();
    for ((case, added), offs) in CASES.into_iter().zip(added).zip(offs) {
        let apart: Vec<f64> = offs.iter().map(|(before, after)| after - before).collect();
        let off: Vec<f64> = offs.iter().map(|(before, _)| *before).collect();
        costs.push(Cost {
            case,
            off_ns: statistics::median(&off).context("nothing was measured")?,
            added_ns: statistics::estimate(added).context("nothing was measured")?,
            floor_ns: statistics::noise_floor(&apart).context("nothing was measured")?,
        });
    }
    Ok(Costs { set, missing, costs })
}
