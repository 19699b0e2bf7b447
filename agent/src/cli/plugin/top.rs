//! `kubectl strata top`: what pods do, a table of all nodes together.
//!
//! Separate from the screen on a node: like `kubectl top` it prints and ends,
//! and with `--watch` prints again.

use std::io::Write as _;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::rows::{Meant, merged};
use super::{Error, Way, interrupted, say};
use crate::admin::socket::Request;
use crate::admin::socket::client::{self, Client};
use crate::cli::Format;
use crate::cli::stdout::Stdout;
use crate::cli::top::once;
use crate::cli::top::rates::Sampled;
use crate::kubectl::choose::Scope;
use crate::kubectl::stream::Stream;

/// How long an agent may take beyond the interval: the way to it is made first.
const ANSWER_WAIT: Duration = Duration::from_secs(15);

/// How it is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) interval: Duration,
    pub(super) is_watched: bool,
    pub(super) format: Format,
}

/// Why a node's rows end.
enum End {
    Client(client::Error),
    Silent,
}

/// Prints once, or until the user has enough.
///
/// # Errors
///
/// If no agent can be asked, one fails while others are not there, or stdout
/// does not take it.
pub(super) async fn run(way: &Way, scope: &Scope, shown: Shown) -> Result<(), Error> {
    let plan = way.plan(scope).await?;
    let mut streams = Vec::new();
    let mut tasks = JoinSet::new();
    let (rows, mut received) = mpsc::channel(plan.asked.len().max(1));
    for (index, asked) in plan.asked.iter().enumerate() {
        let meant = Meant::new(asked).map_err(|unfit| Error::Malformed(unfit.to_string()))?;
        let (stream, client) =
            Stream::open(&way.kubectl, &asked.agent, way.agent_socket.as_deref())?;
        streams.push(stream);
        let rows = rows.clone();
        tasks.spawn(async move {
            let end = sample(client, &meant, shown, |sampled| {
                let rows = rows.clone();
                async move { rows.send((index, Ok(sampled))).await.is_ok() }
            });
            if let Err(end) = end.await {
                // Who prints has ended: nobody needs it.
                let _ = rows.send((index, Err(end))).await;
            }
        });
    }
    drop(rows);
    let outcome = tokio::select! {
        outcome = print(&mut received, &mut streams, shown) => outcome,
        () = interrupted() => Ok(()),
    };
    // The pipes to kubectl are the tasks'.
    tasks.shutdown().await;
    for stream in streams {
        stream.close().await;
    }
    outcome
}

/// Samples of one agent until nobody wants more.
async fn sample<F: Future<Output = bool>>(
    mut client: Client,
    meant: &Meant,
    shown: Shown,
    send: impl Fn(Sampled) -> F,
) -> Result<(), End> {
    client.ask(&Request::workloads(Some(shown.interval))).await.map_err(End::Client)?;
    let mut earlier = None;
    loop {
        let wait = shown.interval + ANSWER_WAIT;
        let later = match timeout(wait, client.next()).await {
            Ok(later) => later.map_err(End::Client)?,
            Err(_) => return Err(End::Silent),
        };
        let sampled = earlier.as_ref().and_then(|earlier| meant.between(earlier, &later));
        if let Some(sampled) = sampled
            && (!send(sampled).await || !shown.is_watched)
        {
            return Ok(());
        }
        earlier = Some(later);
    }
}

/// Prints whenever every node that is left has said something.
async fn print(
    received: &mut mpsc::Receiver<(usize, Result<Sampled, End>)>,
    streams: &mut [Stream],
    shown: Shown,
) -> Result<(), Error> {
    let mut latest: Vec<Option<Sampled>> = streams.iter().map(|_| None).collect();
    let mut is_left: Vec<bool> = streams.iter().map(|_| true).collect();
    while let Some((index, outcome)) = received.recv().await {
        match (outcome, streams.get_mut(index)) {
            (Ok(sampled), _) => {
                if let Some(place) = latest.get_mut(index) {
                    *place = Some(sampled);
                }
            }
            (Err(end), Some(stream)) => {
                let error = explain(end, stream).await;
                if let Some(place) = is_left.get_mut(index) {
                    *place = false;
                }
                if !is_left.contains(&true) && latest.iter().all(Option::is_none) {
                    return Err(error.into());
                }
                say(&error.to_string());
            }
            (Err(_), None) => {}
        }
        let is_whole =
            latest.iter().zip(&is_left).all(|(sampled, is_left)| sampled.is_some() || !is_left);
        if is_whole {
            show(merged(latest.iter_mut().filter_map(Option::take).collect()), shown)?;
            if !shown.is_watched {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn explain(end: End, stream: &mut Stream) -> crate::kubectl::Error {
    match end {
        End::Client(error) => stream.explain(error).await,
        End::Silent => {
            crate::kubectl::Error::Silent { node: stream.node.clone(), wait: ANSWER_WAIT }
        }
    }
}

fn show(sampled: Sampled, shown: Shown) -> Result<(), Error> {
    let mut out = Stdout::lock();
    match shown.format {
        Format::Table => once::table(&sampled, &mut out)?,
        Format::Json => once::json(&sampled, &mut out)?,
    }
    out.flush()?;
    if sampled.rows.is_empty() {
        say(
            "the agents watch none of these pods: they watch what listens on TCP, and is not opted out",
        );
    }
    Ok(())
}
