//! Runs a scene: server, agent, trace and one client; gives matched requests.
//!
//! Separate from the scenes, which only say what is injected and how.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use agent_common::parts::Part;
use anyhow::Context as _;

use super::answer::Answer;
use super::tracer::Tracer;
use super::trial::{self, Outcome, Sample};
use super::{plan, truth};
use crate::agent_process::Agent;
use crate::journal::{self, Entry};
use crate::load::{Call, sequential};
use crate::workload::{Kind, Workload};

/// One kind of injection.
#[derive(Clone, Copy)]
pub struct Scene {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// What is done, in words.
    pub what: &'static str,
    /// The parts that it is to be shown in.
    pub parts: &'static [Part],
    /// Words of the journal that mean another part than usual here.
    pub words: &'static [(&'static str, Part)],
    /// What else is known of a request, by two clocks that are one.
    pub join: Join,
    /// Name of the thread that runs instead, where there is one.
    pub culprit: Option<&'static str>,
    /// Starts what it needs.
    pub build: fn() -> anyhow::Result<Rig>,
    /// Why it cannot be had on this machine.
    pub lacks: fn() -> Option<String>,
}

/// A wait that only client and server together know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// None.
    Nothing,
    /// From the client's send to the handler's start.
    UntilStart(Part),
    /// From the client's send to the server's accept.
    UntilAccept(Part),
}

/// What a scene runs on. Its fields end in this order.
pub struct Rig {
    /// Makes the requests.
    pub act: Box<dyn Act>,
    /// Serves them.
    pub server: Workload,
    /// Which server that is.
    pub kind: Kind,
    /// Where it writes down what it did.
    pub log: PathBuf,
    /// What else has to be there meanwhile.
    pub keeps: Vec<Box<dyn std::any::Any>>,
}

/// Path of the requests that only ask whether tracing has begun.
pub const PROBE: &str = "/hello/probe";

/// How requests are made and touched.
pub trait Act {
    /// Makes a request for [`PROBE`].
    ///
    /// # Errors
    /// When it is not answered.
    fn probe(&mut self, server: SocketAddr) -> anyhow::Result<()> {
        sequential::run(server, &[Call::get(PROBE)], 1, false)?;
        Ok(())
    }

    /// Before the requests of one size.
    ///
    /// # Errors
    /// What stands in the way.
    fn prepare(&mut self, _server: SocketAddr, _size: Duration) -> anyhow::Result<()> {
        Ok(())
    }

    /// Makes one request to its end; says when it was sent.
    ///
    /// # Errors
    /// When it is not answered as it should be.
    fn request(
        &mut self,
        server: SocketAddr,
        id: u64,
        size: Duration,
        is_touched: bool,
    ) -> anyhow::Result<u64>;
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Touched requests of each size; as many are not.
    pub requests: usize,
    /// Sizes of the injections, in milliseconds.
    pub sizes_ms: &'static [u64],
}

impl Effort {
    /// As the README's table is made.
    pub const FULL: Self = Self { requests: 400, sizes_ms: &[5, 20, 100] };
    /// A few minutes for all scenes.
    pub const QUICK: Self = Self { requests: 60, sizes_ms: &[20] };
}

/// One request as it was made.
struct Made {
    is_touched: bool,
    sent_ns: u64,
    /// 0 for the A/A run, else the size's number from 1.
    group: usize,
}

/// Runs a scene in all sizes; one outcome each.
///
/// # Errors
/// When anything does not run as it should; a wrong answer is no error.
pub fn run(scene: &Scene, effort: &Effort) -> anyhow::Result<Vec<Outcome>> {
    let mut rig = (scene.build)()?;
    let addr = rig.server.addr();
    let port = addr.port().to_string();
    let agent = Agent::start(&["--port", &port, "--paths-keep=true"])?;
    let tracer = Tracer::start(&agent, addr, PROBE, || rig.act.probe(addr))?;
    let mut made = Vec::new();
    let sizes = effort.sizes_ms.iter().map(|ms| Duration::from_millis(*ms));
    let first = sizes.clone().next().context("no sizes")?;
    for (group, size) in std::iter::once(first).chain(sizes.clone()).enumerate() {
        rig.act.prepare(addr, size)?;
        for lot in plan::halves(effort.requests, group as u64) {
            let id = made.len() as u64;
            let sent_ns = rig.act.request(addr, id, size, lot && group > 0)?;
            made.push(Made { is_touched: lot, sent_ns, group });
        }
    }
    let answers = tracer.finish(made.len())?;
    drop(agent);
    drop(rig.act);
    rig.server.stop()?;
    let entries = journal::read(&rig.log)?;
    let groups = matched(scene, rig.kind, &made, &answers, &entries)?;
    let (same, runs) = groups.split_first().context("no A/A run")?;
    runs.iter()
        .zip(sizes)
        .map(|((samples, unmatched), size)| {
            let culprit = scene.culprit;
            trial::judge(size, scene.parts, culprit, samples, &same.0, *unmatched)
                .with_context(|| format!("{}: no request was matched", scene.name))
        })
        .collect()
}

/// The samples of each group, and how many of its requests have not one answer.
fn matched(
    scene: &Scene,
    kind: Kind,
    made: &[Made],
    answers: &[Answer],
    entries: &[Entry],
) -> anyhow::Result<Vec<(Vec<Sample>, usize)>> {
    let mut by_id = BTreeMap::<u64, Vec<&Answer>>::new();
    for answer in answers {
        by_id.entry(answer.id().unwrap_or(u64::MAX)).or_default().push(answer);
    }
    let log: BTreeMap<u64, &Entry> =
        entries.iter().filter_map(|entry| Some((entry.id?, entry))).collect();
    let count = made.iter().map(|made| made.group + 1).max().unwrap_or(0);
    let mut groups: Vec<(Vec<Sample>, usize)> = (0..count).map(|_| Default::default()).collect();
    for (id, made) in (0u64..).zip(made) {
        let Some((samples, unmatched)) = groups.get_mut(made.group) else { continue };
        let entry = log.get(&id).with_context(|| format!("the server has no request {id}"))?;
        match by_id.get(&id).map(Vec::as_slice) {
            Some([answer]) => samples.push(Sample {
                is_touched: made.is_touched,
                truth: known(scene, kind, made, entry),
                seen: answer.parts,
                culprit: answer.culprit.clone(),
            }),
            _ => *unmatched += 1,
        }
    }
    Ok(groups)
}

/// What is known of one request.
fn known(scene: &Scene, kind: Kind, made: &Made, entry: &Entry) -> super::Nanoseconds {
    let mut truth = truth::of(kind, entry);
    let mut add = |part: Part, ns: i64| {
        if let Some(slot) = truth.get_mut(part as usize) {
            *slot = slot.saturating_add_signed(ns);
        }
    };
    for (word, part) in scene.words {
        let ns = i64::try_from(entry.noted_ns(word)).unwrap_or(0);
        if let Some(usual) = truth::part(kind, word) {
            add(usual, -ns);
        }
        add(*part, ns);
    }
    let since_sent = |to_ns: u64| i64::try_from(to_ns.saturating_sub(made.sent_ns)).unwrap_or(0);
    match scene.join {
        Join::Nothing => {}
        Join::UntilStart(part) => add(part, since_sent(entry.start_ns)),
        Join::UntilAccept(part) => add(part, since_sent(entry.noted_ns("accepted"))),
    }
    truth
}
