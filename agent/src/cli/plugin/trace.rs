//! `kubectl strata trace`: requests of pods as they finish, from every node
//! that they are on.
//!
//! Separate from the trace on a node: here are several streams, some of which
//! may end before the others.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::follow::{self, Change, Followed};
use super::merge::Merge;
use super::{Error, Way, interrupted, say};
use crate::admin::socket::client::{self, Client};
use crate::cli::trace::Options;
use crate::cli::trace::printer::{self, Summary};
use crate::kubectl::choose::{Asked, Plan, Scope};
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
    let (said, received) = mpsc::channel(CHUNKS);
    let mut trace = Trace {
        way,
        options,
        said,
        streams: Vec::new(),
        tasks: JoinSet::new(),
        merge: Merge::new(options.count),
        followed: Followed::new(&plan),
        live: 0,
        begun: 0,
        waiting: plan.asked.len(),
        failed: None,
        is_finishing: false,
        words: words(&plan, options),
    };
    let opened = plan.asked.into_iter().try_for_each(|asked| trace.open(asked));
    let outcome = match opened {
        Ok(()) => trace.print(received, follow::look(way, scope)).await,
        Err(error) => Err(error),
    };
    // The pipes to kubectl are the tasks'.
    trace.tasks.shutdown().await;
    for running in trace.streams {
        running.stream.close().await;
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

/// A stream, which may have ended.
struct Running {
    stream: Stream,
    finish: watch::Sender<bool>,
    has_begun: bool,
    /// What is asked of the same agent once this has ended.
    next: Option<Asked>,
}

/// The trace of all nodes.
struct Trace<'a> {
    way: &'a Way,
    options: &'a Options,
    said: mpsc::Sender<(usize, Said)>,
    streams: Vec<Running>,
    tasks: JoinSet<()>,
    merge: Merge,
    followed: Followed,
    /// Streams that have not ended.
    live: usize,
    /// Agents that trace, or have.
    begun: usize,
    /// Agents of the beginning that have not begun yet.
    waiting: usize,
    /// Why a stream broke, the first one.
    failed: Option<Error>,
    is_finishing: bool,
    words: String,
}

impl Trace<'_> {
    fn open(&mut self, asked: Asked) -> Result<(), Error> {
        let socket = self.way.agent_socket.as_deref();
        let (stream, client) = Stream::open(&self.way.kubectl, &asked.agent, socket)?;
        let (finish, finishing) = watch::channel(false);
        let query = self.options.query(asked.targets.clone(), false);
        let index = self.streams.len();
        self.tasks.spawn(listen(index, client, query, self.said.clone(), finishing));
        self.merge.add(&stream.node);
        self.streams.push(Running { stream, finish, has_begun: false, next: None });
        self.followed.opened(asked);
        self.live += 1;
        Ok(())
    }

    /// Asks whom else the cluster has by now.
    fn follow(&mut self, plan: Result<Plan, Error>) -> Result<(), Error> {
        let (changes, told) = self.followed.changes(plan);
        if let Some(told) = told {
            say(&told);
        }
        for change in changes {
            match change {
                Change::Open(asked) => self.open(asked)?,
                Change::Replace(index, asked) => {
                    if let Some(running) = self.streams.get_mut(index) {
                        // After its end: else what finishes meanwhile came twice.
                        running.next = Some(asked);
                        let _ = running.finish.send(true);
                    }
                }
            }
        }
        Ok(())
    }

    /// Has every agent send what had finished, and end.
    fn finish(&mut self) {
        self.is_finishing = true;
        for running in &self.streams {
            // An error: it has ended.
            let _ = running.finish.send(true);
        }
    }

    async fn print(
        &mut self,
        mut received: mpsc::Receiver<(usize, Said)>,
        mut plans: follow::Plans,
    ) -> Result<(), Error> {
        let (chunks, to_print) = mpsc::channel(CHUNKS);
        let (done, mut printed) = oneshot::channel();
        let form = self.options.output;
        std::thread::spawn(move || done.send(printer::run(to_print, form)));
        let mut chunks = Some(chunks);
        let mut due: Option<Instant> = None;
        let mut end = Box::pin(tokio::time::sleep(self.options.timeout.unwrap_or(Duration::MAX)));
        let mut enough = Box::pin(interrupted());
        loop {
            let is_over = self.merge.is_full();
            tokio::select! {
                summary = &mut printed => {
                    let summary = summary.unwrap_or_else(|_| Ok(Summary::default()))?;
                    return self.conclude(summary);
                }
                room = room(chunks.clone(), due), if due.is_some() => {
                    due = None;
                    if let Some(room) = room {
                        room.send(self.merge.take());
                    }
                }
                said = received.recv(), if chunks.is_some() && self.merge.has_room() => match said {
                    Some((index, Said::Lines(lines))) => {
                        self.merge.push(index, &lines);
                        if !self.merge.is_empty() && due.is_none() {
                            let hold = if self.streams.len() > 1 { MERGE_WAIT } else { Duration::ZERO };
                            due = Some(Instant::now() + hold);
                        }
                    }
                    Some((index, said)) => {
                        self.take(index, said).await?;
                        if self.live == 0 {
                            // Every stream is over; the printer has the rest.
                            if let (false, Some(chunks)) = (self.merge.is_empty(), &chunks) {
                                // If it is gone, it says why.
                                let _ = chunks.send(self.merge.take()).await;
                            }
                            due = None;
                            chunks = None;
                        }
                    }
                    // Never: this end has a sender too.
                    None => chunks = None,
                },
                Some(plan) = plans.next(), if !self.is_finishing && self.waiting == 0 => {
                    self.follow(plan)?;
                }
                () = &mut enough, if !self.is_finishing => {
                    end = Box::pin(tokio::time::sleep(END_WAIT));
                    self.finish();
                }
                () = std::future::ready(()), if is_over && !self.is_finishing => {
                    end = Box::pin(tokio::time::sleep(END_WAIT));
                    self.finish();
                }
                () = &mut end => {
                    if self.is_finishing {
                        say("not everything was printed: the reader, or an agent, takes too long");
                        return Ok(());
                    }
                    end = Box::pin(tokio::time::sleep(END_WAIT));
                    self.finish();
                }
            }
        }
    }

    /// What an agent says besides lines.
    async fn take(&mut self, index: usize, said: Said) -> Result<(), Error> {
        let Some(running) = self.streams.get_mut(index) else { return Ok(()) };
        let has_begun = matches!(said, Said::Begun);
        let stream = &mut running.stream;
        let error = match said {
            Said::Ended(Some(error)) => Some(stream.explain(error).await),
            Said::Silent => {
                Some(crate::kubectl::Error::Silent { node: stream.node.clone(), wait: BEGIN_WAIT })
            }
            _ => None,
        };
        let next = running.next.take_if(|_| !has_begun);
        if has_begun {
            running.has_begun = true;
            self.begun += 1;
        } else {
            self.live -= 1;
            if running.has_begun {
                self.followed.ended(index);
            }
        }
        if self.waiting == 0 && has_begun && !self.is_finishing {
            let node = &running.stream.node;
            say(&format!("tracing on node {node} from now on"));
        }
        if self.waiting > 0 && (has_begun || error.is_some()) {
            self.waiting -= 1;
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
        match next {
            Some(asked) if !self.is_finishing => self.open(asked),
            _ => Ok(()),
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
