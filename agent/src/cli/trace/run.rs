//! `strata trace` on a node: one stream of lines, from whoever watches it.
//!
//! Separate from the forms of the output, which are the same for a cluster.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::printer::Summary;
use super::{Options, printer};
use crate::admin::socket::Request;
use crate::admin::socket::client::{self as wire, Client};
use crate::app::client::{self, Origin, Selection, Watcher};
use crate::cli::Error;
use crate::cli::exit::say;
use crate::cli::target::PodTargets;
use crate::cli::top::rates::Sampled;
use crate::cli::top::run::{nobody, targets, there};
use crate::config::Config;
use crate::export::json::Workloads;
use crate::tap::query::Query;

/// How long an agent may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long the end may take: what had finished is printed yet.
const END_WAIT: Duration = Duration::from_secs(2);
/// Chunks between the socket and the printer. Few: what waits should wait in
/// the agent, which counts what it must drop.
const CHUNKS: usize = 4;
/// Prints requests until the count, the time, a signal, or the reader's end.
///
/// # Errors
///
/// If nobody watches and this process may not, no workload matches the
/// targets, the agent goes away, or stdout does not take it.
pub fn run(config: &Config, pods: &PodTargets, options: &Options) -> Result<(), Error> {
    // An engine in this process may have something to say that matters.
    crate::app::log_warnings();
    let selection = Selection::find(config, &pods.query())?;
    let query = options.query(Selection::of_requests(config, pods.query())?, config.paths.keep);
    crate::app::block_on(async {
        let (mut watcher, client) = Watcher::find(config).await?;
        let outcome = trace(&mut watcher, client, &selection, (config, pods), query, options).await;
        watcher.close().await;
        outcome
    })?
}

async fn trace(
    watcher: &mut Watcher,
    mut client: Client,
    selection: &Selection,
    named: (&Config, &PodTargets),
    query: Query,
    options: &Options,
) -> Result<(), Error> {
    let pid = client.pid();
    client.ask(&Request::workloads(None)).await.map_err(client::Error::from)?;
    let sample = in_time(client.next()).await?;
    let meant = meant(&sample, selection, named)?;
    let mut client = watcher.client().await?;
    in_time(client.trace(query)).await?;
    let who = match (watcher.origin(), pid) {
        (Origin::Own, _) => "no agent, own programs".to_owned(),
        (Origin::Agent(_), Some(pid)) => format!("agent pid {pid}"),
        (Origin::Agent(path), None) => format!("agent at {}", path.display()),
    };
    let ending =
        if options.count.is_some() || options.timeout.is_some() { "" } else { "; Ctrl-C ends" };
    say(&format!("tracing {meant} ({who}){ending}"));
    let summary = print(client, options).await?;
    if summary.requests == 0 && sample.workloads.is_empty() {
        say(nobody(watcher.origin()));
    }
    if summary.dropped > 0 {
        say(&format!(
            "{} of {} requests were dropped, because they were not read fast enough",
            summary.dropped,
            summary.dropped + summary.requests
        ));
    }
    Ok(())
}

/// What is meant, in words; of workloads that are named there must be one.
pub(in crate::cli) fn meant(
    sample: &Workloads,
    selection: &Selection,
    named: (&Config, &PodTargets),
) -> Result<String, Error> {
    let count = sample.workloads.iter().filter(|row| selection.has(row)).count();
    match count {
        0 if !selection.is_all() => {
            let sampled = Sampled::first(sample);
            Err(Error::NoMatch {
                targets: targets(named.0, named.1),
                there: there(&sampled, selection),
            })
        }
        0 => Ok("whatever comes".to_owned()),
        1 => Ok("1 workload".to_owned()),
        count => Ok(format!("{count} workloads")),
    }
}

/// Hands lines to the printer until one of the ends.
async fn print(mut client: Client, options: &Options) -> Result<Summary, Error> {
    let signals = |kind| signal(kind).map_err(crate::app::Error::Runtime);
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut terminate = signals(SignalKind::terminate())?;
    let (chunks, received) = mpsc::channel(CHUNKS);
    let (done, mut printed) = oneshot::channel();
    let form = options.output;
    std::thread::spawn(move || done.send(printer::run(received, form)));
    let mut chunks = Some(chunks);
    let mut end = Box::pin(tokio::time::sleep(options.timeout.unwrap_or(Duration::MAX)));
    let mut is_finishing = false;
    let mut broken = None;
    loop {
        tokio::select! {
            // It is done when it has printed the last chunk, or cannot print.
            summary = &mut printed => {
                let summary = summary.unwrap_or_else(|_| Ok(Summary::default()))?;
                return match broken {
                    Some(error) => Err(client::Error::from(error).into()),
                    None if summary.ended > 0 => Ok(summary),
                    None => Err(client::Error::from(wire::Error::Ended).into()),
                };
            }
            lines = next(&mut client, chunks.as_ref()) => match lines {
                Ok(true) => {}
                // The end: the printer has the rest.
                Ok(false) => chunks = None,
                Err(error) => {
                    broken = Some(error);
                    chunks = None;
                }
            },
            _ = interrupt.recv(), if !is_finishing => {
                is_finishing = true;
                client.finish().await;
                end = Box::pin(tokio::time::sleep(END_WAIT));
            }
            _ = terminate.recv(), if !is_finishing => {
                is_finishing = true;
                client.finish().await;
                end = Box::pin(tokio::time::sleep(END_WAIT));
            }
            () = &mut end => {
                if is_finishing {
                    say("not everything was printed: the reader, or the agent, takes too long");
                    return Ok(Summary::default());
                }
                is_finishing = true;
                client.finish().await;
                end = Box::pin(tokio::time::sleep(END_WAIT));
            }
        }
    }
}

/// Moves the next lines on, when the printer has room for them; `false` at the
/// end. Safe to cancel.
async fn next(
    client: &mut Client,
    chunks: Option<&mpsc::Sender<Vec<u8>>>,
) -> Result<bool, wire::Error> {
    let Some(chunks) = chunks else { return std::future::pending().await };
    let Ok(room) = chunks.reserve().await else {
        // The printer says why it is gone.
        return std::future::pending().await;
    };
    let lines = client.lines().await?;
    if lines.is_empty() {
        return Ok(false);
    }
    room.send(lines);
    Ok(true)
}

pub(in crate::cli) async fn in_time<T>(
    answer: impl Future<Output = Result<T, wire::Error>>,
) -> Result<T, client::Error> {
    match tokio::time::timeout(ANSWER_WAIT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(client::Error::Silent { wait: ANSWER_WAIT }),
    }
}
