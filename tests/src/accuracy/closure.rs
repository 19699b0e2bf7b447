//! Many requests at once, and whether each came back once, with parts that sum
//! to its wall time.
//!
//! Separate from the trials because nothing is injected here: the claim is
//! about every request, not about means.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_common::parts::Part;
use anyhow::Context as _;

use super::answer::Answer;
use super::compare::mean;
use crate::bench::statistics::quantile;
use crate::load::{Call, Connection};

/// One kind of request: the first segment of its path, and its query with `?`.
pub type Kind = (&'static str, &'static str);

/// Sends `count` requests over some connections, of the kinds in turn; request
/// 7 asks for `/KIND/000007`.
///
/// # Errors
/// When one is not answered with 200.
pub fn load(
    addr: SocketAddr,
    kinds: &[Kind],
    count: u64,
    connections: usize,
) -> anyhow::Result<()> {
    let next = AtomicU64::new(0);
    let serve = || -> anyhow::Result<()> {
        let mut connection = Connection::open(addr)?;
        loop {
            let id = next.fetch_add(1, Ordering::Relaxed);
            if id >= count {
                return Ok(());
            }
            let kind = usize::try_from(id).unwrap_or(0) % kinds.len().max(1);
            let (kind, query) = kinds.get(kind).context("no kinds of requests")?;
            connection.send(&Call::get(&format!("/{kind}/{id:06}{query}")).encode(addr, ""))?;
            let status = connection.read_response("GET")?.status;
            anyhow::ensure!(status == 200, "/{kind}/{id:06}{query} gave {status}");
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(serve)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked")))
        })
    })
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Closure {
    /// Ids that never came.
    pub missing: Vec<u64>,
    /// Ids that came more than once.
    pub twice: Vec<u64>,
    /// Ids whose parts do not sum to their wall, or whose wall is not from their
    /// arrival to their end.
    pub open: Vec<u64>,
    /// Each kind's shares, 0 to 1.
    pub kinds: BTreeMap<String, Shares>,
}

/// Shares of the requests of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares {
    /// How many requests.
    pub count: usize,
    /// Unattributed, by request: median.
    pub unattributed_p50: f64,
    /// And 95th percentile.
    pub unattributed_p95: f64,
    /// Unattributed, of all their time.
    pub unattributed: f64,
    /// Requests of which some part is an estimate.
    pub estimated: f64,
    /// The largest parts, in all their time.
    pub top: Vec<(Part, f64)>,
    /// Mean of their wall times, in nanoseconds.
    pub wall_ns: f64,
    /// Mean of `application.cpu`, in nanoseconds.
    pub run_ns: f64,
}

/// Looks at the answers to the requests 0 to below `count`.
#[must_use]
pub fn check(answers: &[Answer], count: u64) -> Closure {
    let mut closure = Closure::default();
    let mut times = BTreeMap::<u64, u64>::new();
    let mut by_kind = BTreeMap::<String, Vec<&Answer>>::new();
    for answer in answers {
        let Some(id) = answer.id() else { continue };
        *times.entry(id).or_default() += 1;
        let sum: u128 = answer.parts.iter().map(|ns| u128::from(*ns)).sum();
        let from_to = answer.end_ns.checked_sub(answer.arrival_ns);
        if sum != u128::from(answer.wall_ns) || from_to != Some(answer.wall_ns) {
            closure.open.push(id);
        }
        by_kind.entry(answer.kind().to_owned()).or_default().push(answer);
    }
    closure.missing = (0..count).filter(|id| !times.contains_key(id)).collect();
    closure.twice = times.into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id).collect();
    closure.kinds = by_kind.into_iter().map(|(kind, answers)| (kind, shares(&answers))).collect();
    closure
}

fn shares(answers: &[&Answer]) -> Shares {
    let unattributed = |answer: &Answer| answer.of(Part::Unknown) + answer.of(Part::Sampled);
    let of_each: Vec<f64> = answers
        .iter()
        .map(|answer| unattributed(answer) as f64 / (answer.wall_ns as f64).max(1.0))
        .collect();
    let sum = |of: &dyn Fn(&Answer) -> u64| answers.iter().map(|it| of(it) as f64).sum::<f64>();
    let all = sum(&|answer| answer.wall_ns).max(1.0);
    let mut top: Vec<_> = Part::ALL
        .into_iter()
        .map(|part| (part, sum(&|answer| answer.of(part)) / all))
        .filter(|(_, share)| *share >= 0.005)
        .collect();
    top.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let means = |of: &dyn Fn(&Answer) -> u64| {
        mean(&answers.iter().map(|answer| of(answer) as f64).collect::<Vec<_>>())
    };
    Shares {
        count: answers.len(),
        unattributed_p50: quantile(&of_each, 0.5).unwrap_or(0.0),
        unattributed_p95: quantile(&of_each, 0.95).unwrap_or(0.0),
        unattributed: sum(&unattributed) / all,
        estimated: sum(&|answer| u64::from(!answer.estimated.is_empty()))
            / (answers.len() as f64).max(1.0),
        top,
        wall_ns: means(&|answer| answer.wall_ns),
        run_ns: means(&|answer| answer.of(Part::Cpu)),
    }
}

impl fmt::Display for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, ids) in
            [("missing", &self.missing), ("twice", &self.twice), ("not closed", &self.open)]
        {
            if let Some(first) = ids.first() {
                writeln!(f, "{what}: {} requests, the first {first}", ids.len())?;
            }
        }
        for (kind, shares) in &self.kinds {
            write!(
                f,
                "{kind:8} {:6} requests, {:9.1} us, run {:9.1} us; unattributed p50 {:5.2} % \
                 p95 {:5.2} % of all {:5.2} %; estimated {:5.1} %:",
                shares.count,
                shares.wall_ns / 1e3,
                shares.run_ns / 1e3,
                shares.unattributed_p50 * 100.0,
                shares.unattributed_p95 * 100.0,
                shares.unattributed * 100.0,
                shares.estimated * 100.0
            )?;
            for (part, share) in &shares.top {
                write!(f, " {} {:.1} %", super::name(*part), share * 100.0)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_common::parts::PARTS;

    fn answer(id: u64, wall_ns: u64, cpu_ns: u64, unknown_ns: u64) -> Answer {
        let mut parts = [0; PARTS];
        parts[Part::Cpu as usize] = cpu_ns;
        parts[Part::Unknown as usize] = unknown_ns;
        Answer {
            path: format!("/hello/{id:06}"),
            status: 200,
            arrival_ns: 5,
            read_ns: 6,
            end_ns: 5 + wall_ns,
            wall_ns,
            parts,
            estimated: Vec::new(),
            unit: "thread".to_owned(),
            goid: 0,
            stops: 0,
            zone_ns: 0,
            runqueue_worst_ns: 0,
            culprit: None,
            calls: Vec::new(),
        }
    }

    #[test]
    fn what_is_missing_or_twice_or_open_is_named() {
        let answers =
            [answer(0, 10, 10, 0), answer(2, 10, 9, 0), answer(3, 10, 5, 5), answer(3, 10, 10, 0)];
        let closure = check(&answers, 4);
        assert_eq!((closure.missing, closure.twice, closure.open), (vec![1], vec![3], vec![2]));
        let shares = &closure.kinds["hello"];
        assert_eq!(shares.count, 4);
        assert!((shares.unattributed - 5.0 / 40.0).abs() < 1e-9);
        assert!((shares.unattributed_p95 - 0.5).abs() < 1e-9);
        assert_eq!(shares.top[0].0, Part::Cpu);
    }
}
