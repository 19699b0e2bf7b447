//! `strata trace`: requests as they finish, each with where its time went.
//!
//! ```text
//! agent's socket -+-> chunks of lines -> printer (a thread) -> JSON | table | waterfall
//! engine of ours -+
//! ```
//!
//! What is meant is compared in the agent; here lines are only drawn. The
//! printer is a thread of its own so that a reader who does not read stops it,
//! and neither the engine nor Ctrl-C.

mod evidence;
mod paint;
mod printer;
#[cfg(test)]
mod sample;
mod table;
mod text;
mod waterfall;

use std::time::Duration;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::Error;
use super::exit::say;
use super::top::rates::Sampled;
use super::top::{nobody, targets, there};
use crate::admin::socket::Request;
use crate::admin::socket::client::{self as wire, Client};
use crate::app::client::{self, Origin, Selection, Watcher};
use crate::config::{Config, Glob, Unfit, duration};
use crate::export::json::Workloads;
use crate::tap::query::Query;
use printer::Summary;

/// How long an agent may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long the end may take: what had finished is printed yet.
const END_WAIT: Duration = Duration::from_secs(2);
/// Chunks between the socket and the printer. Few: what waits should wait in
/// the agent, which counts what it must drop.
const CHUNKS: usize = 4;
/// Longest wall time that can be asked for.
const MAX_SLOWER: Duration = Duration::from_secs(3600);
/// Shortest and longest time to trace.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(86_400));

/// Which requests, until when, and in which form.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// Only requests that took at least this long, such as 50ms
    #[arg(long, value_name = "DURATION", value_parser = slower)]
    pub slower: Option<Duration>,
    /// Only requests with a status of 500 or more, or without a response
    #[arg(long)]
    pub errors: bool,
    /// Only requests whose path fits, such as '/v1/*'; keeps paths meanwhile
    #[arg(long, value_name = "PATTERN", value_parser = path)]
    pub path: Option<String>,
    /// End after this many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after this time, such as 10s
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub timeout: Option<Duration>,
    /// The form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    pub output: Form,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A line a request, for people.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
    /// Each request drawn to scale, with its calls and the evidence.
    Waterfall,
}

fn slower(text: &str) -> Result<Duration, Unfit> {
    duration(text, Duration::from_nanos(1), MAX_SLOWER)
}

fn timeout(text: &str) -> Result<Duration, Unfit> {
    duration(text, TIMEOUT.0, TIMEOUT.1)
}

fn path(text: &str) -> Result<String, Unfit> {
    Glob::path(text).map(|glob| glob.as_str().to_owned())
}

/// Prints requests until the count, the time, a signal, or the reader's end.
///
/// # Errors
///
/// If nobody watches and this process may not, no workload matches the
/// targets, the agent goes away, or stdout does not take it.
pub fn run(config: &Config, options: &Options) -> Result<(), Error> {
    // An engine in this process may have something to say that matters.
    crate::app::log_warnings();
    let selection = Selection::find(config)?;
    let query = Query {
        slower_ns: nanoseconds(options.slower.unwrap_or_default()),
        errors: options.errors,
        path: options.path.clone(),
        paths: config.paths.keep,
        count: options.count.unwrap_or_default(),
        targets: Selection::of_requests(config)?,
    };
    crate::app::block_on(async {
        let (mut watcher, client) = Watcher::find(config).await?;
        let outcome = trace(&mut watcher, client, &selection, config, query, options).await;
        watcher.close().await;
        outcome
    })?
}

async fn trace(
    watcher: &mut Watcher,
    mut client: Client,
    selection: &Selection,
    config: &Config,
    query: Query,
    options: &Options,
) -> Result<(), Error> {
    let pid = client.pid();
    client.ask(&Request::workloads(None)).await.map_err(client::Error::from)?;
    let sample = in_time(client.next()).await?;
    let meant = meant(&sample, selection, config)?;
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
fn meant(sample: &Workloads, selection: &Selection, config: &Config) -> Result<String, Error> {
    let count = sample.workloads.iter().filter(|row| selection.has(row)).count();
    match count {
        0 if !selection.is_all() => {
            let sampled = Sampled::first(sample);
            Err(Error::NoMatch { targets: targets(config), there: there(&sampled, selection) })
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
                    None if summary.has_ended => Ok(summary),
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

async fn in_time<T>(
    answer: impl Future<Output = Result<T, wire::Error>>,
) -> Result<T, client::Error> {
    match tokio::time::timeout(ANSWER_WAIT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(client::Error::Silent { wait: ANSWER_WAIT }),
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
