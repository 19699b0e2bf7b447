//! `kubectl strata trace`: requests of pods as they finish, from every node
//! that they are on.
//!
//! Separate from the trace on a node: here are several streams, some of which
//! may end before the others.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::merge::Merge;
use super::{Error, Way, interrupted, say};
use crate::admin::socket::client::{self, Client};
use crate::cli::trace::Options;
use crate::cli::trace::printer::{self, Summary};
use crate::kubectl::choose::{Plan, Scope};
use crate::kubectl::stream::Stream;
use crate::tap::query::Query;

/// How long an agent may take to begin: the way to it is made first.
const BEGIN_WAIT: Duration = Duration::from_secs(15);
/// How long the end may take: what had finished is printed yet.
const END_WAIT: Duration = Duration::from_secs(3);
/// How long a line waits for earlier ones of other nodes.
const MERGE_WAIT: Duration = Duration::from_millis(250);
/// Chunks between the streams and here, and from here to the printer. Few:
/// what waits should wait in the agent, which counts what it must drop.
const CHUNKS: usize = 4;

/// What a stream says.
enum Said {
    Begun,
    Lines(Vec<u8>),
    Ended(Option<client::Error>),
    Silent,
}

/// Prints requests until the count, the time, a signal, or the reader's end.
///
/// # Errors
///
/// If no agent can be asked, an agent goes away, or stdout does not take it.
pub(super) async fn run(way: &Way, scope: &Scope, options: &Options) -> Result<(), Error> {
    let plan = way.plan(scope).await?;
    let mut streams = Vec::new();
    let mut tasks = JoinSet::new();
    let (said, received) = mpsc::channel(CHUNKS);
    let (finish, finishing) = watch::channel(false);
    for (index, asked) in plan.asked.iter().enumerate() {
        let (stream, client) =
            Stream::open(&way.kubectl, &asked.agent, way.agent_socket.as_deref())?;
        streams.push(stream);
        let query = options.query(asked.targets.clone(), false);
        tasks.spawn(listen(index, client, query, said.clone(), finishing.clone()));
    }
    drop((said, finishing));
    let mut trace = Trace {
        streams,
        begun: 0,
        waiting: plan.asked.len(),
        failed: None,
        finish,
        words: words(&plan, options),
    };
    let outcome = trace.print(received, &plan, options).await;
    // The pipes to kubectl are the tasks'.
    tasks.shutdown().await;
    for stream in trace.streams {
        stream.close().await;
    }
    outcome
}

fn words(plan: &Plan, options: &Options) -> String {
    let plural = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    let pods = plan.pods.map_or("every pod".to_owned(), |count| plural(count, "pod"));
    let is_bounded = options.count.is_some() || options.timeout.is_some();
    let ending = if is_bounded { "" } else { "; Ctrl-C ends" };
    format!("tracing {pods} on {}{ending}", plural(plan.asked.len(), "node"))
}

/// Moves what one agent says, until there is no more.
async fn listen(
    index: usize,
    mut client: Client,
    query: Query,
    said: mpsc::Sender<(usize, Said)>,
    mut finishing: watch::Receiver<bool>,
) {
    let tell = |word| {
        let said = &said;
        async move { said.send((index, word)).await.is_ok() }
    };
    match timeout(BEGIN_WAIT, client.trace(query)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tell(Said::Ended(Some(error))).await;
            return;
        }
        Err(_) => {
            tell(Said::Silent).await;
            return;
        }
    }
    if !tell(Said::Begun).await {
        return;
    }
    let mut is_finishing = false;
    loop {
        let lines = tokio::select! {
            lines = client.lines() => lines,
            // An error: who asks is gone.
            _ = finishing.changed(), if !is_finishing => {
                is_finishing = true;
                client.finish().await;
                continue;
            }
        };
        let word = match lines {
            Ok(lines) if lines.is_empty() => Said::Ended(None),
            Ok(lines) => Said::Lines(lines),
            Err(error) => Said::Ended(Some(error)),
        };
        let is_last = matches!(word, Said::Ended(_));
        if !tell(word).await || is_last {
            return;
        }
    }
}

/// The trace of all nodes.
struct Trace {
    streams: Vec<Stream>,
    /// Agents that trace, or have.
    begun: usize,
    /// Agents that have not begun yet.
    waiting: usize,
    /// Why a stream broke, the first one.
    failed: Option<Error>,
    finish: watch::Sender<bool>,
    words: String,
}

impl Trace {
    async fn print(
        &mut self,
        mut received: mpsc::Receiver<(usize, Said)>,
        plan: &Plan,
        options: &Options,
    ) -> Result<(), Error> {
        let nodes: Vec<String> = plan.asked.iter().map(|asked| asked.agent.node.clone()).collect();
        let hold = if nodes.len() > 1 { MERGE_WAIT } else { Duration::ZERO };
        let mut merge = Merge::new(&nodes, options.count);
        let (chunks, to_print) = mpsc::channel(CHUNKS);
        let (done, mut printed) = oneshot::channel();
        let form = options.output;
        std::thread::spawn(move || done.send(printer::run(to_print, form)));
        let mut chunks = Some(chunks);
        let mut due: Option<Instant> = None;
        let mut end = Box::pin(tokio::time::sleep(options.timeout.unwrap_or(Duration::MAX)));
        let mut enough = Box::pin(interrupted());
        let mut is_finishing = false;
        loop {
            let is_over = merge.is_full();
            tokio::select! {
                summary = &mut printed => {
                    let summary = summary.unwrap_or_else(|_| Ok(Summary::default()))?;
                    return self.conclude(summary);
                }
                room = room(chunks.clone(), due), if due.is_some() => {
                    due = None;
                    if let Some(room) = room {
                        room.send(merge.take());
                    }
                }
                said = received.recv(), if chunks.is_some() && merge.has_room() => match said {
                    Some((index, Said::Lines(lines))) => {
                        merge.push(index, &lines);
                        if !merge.is_empty() && due.is_none() {
                            due = Some(Instant::now() + hold);
                        }
                    }
                    Some((index, said)) => self.take(index, said).await,
                    // Every stream is over; the printer has the rest.
                    None => {
                        if let (false, Some(chunks)) = (merge.is_empty(), &chunks) {
                            // If it is gone, it says why.
                            let _ = chunks.send(merge.take()).await;
                        }
                        due = None;
                        chunks = None;
                    }
                },
                () = &mut enough, if !is_finishing => {
                    is_finishing = true;
                    end = Box::pin(tokio::time::sleep(END_WAIT));
                    let _ = self.finish.send(true);
                }
                () = std::future::ready(()), if is_over && !is_finishing => {
                    is_finishing = true;
                    end = Box::pin(tokio::time::sleep(END_WAIT));
                    let _ = self.finish.send(true);
                }
                () = &mut end => {
                    if is_finishing {
                        say("not everything was printed: the reader, or an agent, takes too long");
                        return Ok(());
                    }
                    is_finishing = true;
                    end = Box::pin(tokio::time::sleep(END_WAIT));
                    let _ = self.finish.send(true);
                }
            }
        }
    }

    /// What an agent says besides lines.
    async fn take(&mut self, index: usize, said: Said) {
        let has_begun = matches!(said, Said::Begun);
        let error = match (said, self.streams.get_mut(index)) {
            (Said::Ended(Some(error)), Some(stream)) => Some(stream.explain(error).await),
            (Said::Silent, Some(stream)) => {
                Some(crate::kubectl::Error::Silent { node: stream.node.clone(), wait: BEGIN_WAIT })
            }
            _ => None,
        };
        if has_begun {
            self.begun += 1;
        }
        if has_begun || (error.is_some() && self.waiting > 0) {
            self.waiting = self.waiting.saturating_sub(1);
            if self.waiting == 0 && self.begun > 0 {
                say(&self.words);
            }
        }
        if let Some(error) = error {
            if self.failed.is_some() || self.begun > 0 || self.waiting > 0 {
                say(&error.to_string());
                self.failed.get_or_insert(Error::Ended(1));
            } else {
                self.failed = Some(error.into());
            }
        }
    }

    fn conclude(&mut self, summary: Summary) -> Result<(), Error> {
        if summary.dropped > 0 {
            say(&format!(
                "{} of {} requests were dropped, because they were not read fast enough",
                summary.dropped,
                summary.dropped + summary.requests
            ));
        }
        match self.failed.take() {
            Some(error) => Err(error),
            None if summary.ended < self.begun => {
                say("an agent ended without saying so: it was stopped, or is being replaced");
                Err(Error::Ended(1))
            }
            None => Ok(()),
        }
    }
}

/// Room at the printer, when it is time. Safe to cancel.
async fn room(
    chunks: Option<mpsc::Sender<Vec<u8>>>,
    due: Option<Instant>,
) -> Option<mpsc::OwnedPermit<Vec<u8>>> {
    let (Some(chunks), Some(due)) = (chunks, due) else { return None };
    sleep_until(due).await;
    match chunks.reserve_owned().await {
        Ok(room) => Some(room),
        // The printer says why it is gone.
        Err(_) => std::future::pending().await,
    }
}
