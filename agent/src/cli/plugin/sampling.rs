//! What happened on several nodes in an interval, as one picture: once, or again
//! and again.
//!
//! Separate from the pictures, of workloads and of edges: here are streams that
//! come and go.

use std::io::Write;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::follow::{self, Change, Followed};
use super::rows::Meant;
use super::{Error, Way, interrupted, say};
use crate::admin::socket::Request;
use crate::admin::socket::client::{self, Client};
use crate::cli::Format;
use crate::cli::stdout::Stdout;
use crate::export::json::Workloads;
use crate::kubectl::choose::{Asked, Plan, Scope};
use crate::kubectl::stream::Stream;

/// How long an agent may take beyond the interval: the way to it is made first.
const ANSWER_WAIT: Duration = Duration::from_secs(15);

/// What is made of samples.
pub(super) trait Picture: Clone + Send + Sync + 'static {
    /// What happened on a node.
    type Rows: Send + 'static;

    /// What happened between two samples of a node, of what is meant; `None` if
    /// the agent said the same twice.
    fn between(&self, meant: &Meant, earlier: &Workloads, later: &Workloads) -> Option<Self::Rows>;

    /// The rows of every node together.
    fn merged(&self, all: Vec<Self::Rows>) -> Self::Rows;

    /// Prints them.
    fn print(&self, rows: &Self::Rows, format: Format, out: &mut dyn Write) -> std::io::Result<()>;

    /// What to say if there is nothing to print.
    fn nothing(&self, rows: &Self::Rows) -> Option<&'static str>;
}

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
pub(super) async fn run<P: Picture>(
    way: &Way,
    scope: &Scope,
    picture: P,
    shown: Shown,
) -> Result<(), Error> {
    let plan = way.plan(scope).await?;
    let (rows, received) = mpsc::channel(plan.asked.len().max(1));
    let mut sampling = Sampling {
        way,
        picture,
        shown,
        rows,
        streams: Vec::new(),
        tasks: JoinSet::new(),
        followed: Followed::new(&plan),
    };
    let opened = plan.asked.into_iter().try_for_each(|asked| sampling.open(asked));
    let outcome = match opened {
        Ok(()) => {
            let plans = shown.is_watched.then(|| follow::look(way, scope));
            tokio::select! {
                outcome = sampling.print(received, plans) => outcome,
                () = interrupted() => Ok(()),
            }
        }
        Err(error) => Err(error),
    };
    // The pipes to kubectl are the tasks'.
    sampling.tasks.shutdown().await;
    for running in sampling.streams {
        running.stream.close().await;
    }
    outcome
}

/// Samples of one agent until nobody wants more.
async fn sample<P: Picture, F: Future<Output = bool>>(
    mut client: Client,
    meant: watch::Receiver<Meant>,
    (picture, shown): (P, Shown),
    send: impl Fn(P::Rows) -> F,
) -> Result<(), End> {
    client.ask(&Request::workloads(Some(shown.interval))).await.map_err(End::Client)?;
    let mut earlier = None;
    loop {
        let wait = shown.interval + ANSWER_WAIT;
        let later = match timeout(wait, client.next()).await {
            Ok(later) => later.map_err(End::Client)?,
            Err(_) => return Err(End::Silent),
        };
        let sampled =
            earlier.as_ref().and_then(|earlier| picture.between(&meant.borrow(), earlier, &later));
        if let Some(sampled) = sampled
            && (!send(sampled).await || !shown.is_watched)
        {
            return Ok(());
        }
        earlier = Some(later);
    }
}

/// A stream, and what it said last.
struct Running<R> {
    stream: Stream,
    meant: watch::Sender<Meant>,
    latest: Option<R>,
    has_begun: bool,
    is_left: bool,
}

/// What a stream said, by its number.
type Said<R> = (usize, Result<R, End>);

/// The picture of all nodes.
struct Sampling<'a, P: Picture> {
    way: &'a Way,
    picture: P,
    shown: Shown,
    rows: mpsc::Sender<Said<P::Rows>>,
    streams: Vec<Running<P::Rows>>,
    tasks: JoinSet<()>,
    followed: Followed,
}

impl<P: Picture> Sampling<'_, P> {
    fn open(&mut self, asked: Asked) -> Result<(), Error> {
        let meant = Meant::new(&asked).map_err(|unfit| Error::Malformed(unfit.to_string()))?;
        let socket = self.way.agent_socket.as_deref();
        let (stream, client) = Stream::open(&self.way.kubectl, &asked.agent, socket)?;
        let (meant, means) = watch::channel(meant);
        let (rows, index) = (self.rows.clone(), self.streams.len());
        let how = (self.picture.clone(), self.shown);
        self.streams.push(Running { stream, meant, latest: None, has_begun: false, is_left: true });
        self.followed.opened(asked);
        self.tasks.spawn(async move {
            let end = sample(client, means, how, |sampled| {
                let rows = rows.clone();
                async move { rows.send((index, Ok(sampled))).await.is_ok() }
            });
            if let Err(end) = end.await {
                // Who prints has ended: nobody needs it.
                let _ = rows.send((index, Err(end))).await;
            }
        });
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
                // The agent tells of all its workloads: which are shown is decided here.
                Change::Replace(index, asked) => {
                    let meant = Meant::new(&asked);
                    let meant = meant.map_err(|unfit| Error::Malformed(unfit.to_string()))?;
                    if let Some(running) = self.streams.get(index) {
                        running.meant.send_replace(meant);
                    }
                }
            }
        }
        Ok(())
    }

    /// Prints whenever every node that is left has said something.
    async fn print(
        &mut self,
        mut received: mpsc::Receiver<Said<P::Rows>>,
        mut plans: Option<follow::Plans>,
    ) -> Result<(), Error> {
        loop {
            tokio::select! {
                said = received.recv() => {
                    let Some((index, outcome)) = said else { return Ok(()) };
                    self.take(index, outcome).await?;
                }
                Some(plan) = next(&mut plans) => self.follow(plan)?,
            }
            let is_whole = self.streams.iter().all(|it| it.latest.is_some() || !it.is_left);
            let has_rows = self.streams.iter().any(|it| it.latest.is_some());
            if is_whole && has_rows {
                let latest = self.streams.iter_mut().filter_map(|it| it.latest.take()).collect();
                self.show(latest)?;
                if !self.shown.is_watched {
                    return Ok(());
                }
            }
            if !self.streams.iter().any(|it| it.is_left) {
                return Ok(());
            }
        }
    }

    fn show(&self, latest: Vec<P::Rows>) -> Result<(), Error> {
        let rows = self.picture.merged(latest);
        let mut out = Stdout::lock();
        self.picture.print(&rows, self.shown.format, &mut out)?;
        out.flush()?;
        if let Some(nothing) = self.picture.nothing(&rows) {
            say(nothing);
        }
        Ok(())
    }

    async fn take(&mut self, index: usize, outcome: Result<P::Rows, End>) -> Result<(), Error> {
        let Some(running) = self.streams.get_mut(index) else { return Ok(()) };
        let end = match outcome {
            Ok(sampled) => {
                running.latest = Some(sampled);
                running.has_begun = true;
                return Ok(());
            }
            Err(end) => end,
        };
        let error = explain(end, &mut running.stream).await;
        running.is_left = false;
        if running.has_begun {
            self.followed.ended(index);
        }
        if self.streams.iter().all(|it| !it.is_left && it.latest.is_none()) {
            return Err(error.into());
        }
        say(&error.to_string());
        Ok(())
    }
}

/// The next plan, if there are any.
async fn next(plans: &mut Option<follow::Plans>) -> Option<Result<Plan, Error>> {
    match plans {
        Some(plans) => plans.next().await,
        None => std::future::pending().await,
    }
}

async fn explain(end: End, stream: &mut Stream) -> crate::kubectl::Error {
    match end {
        End::Client(error) => stream.explain(error).await,
        End::Silent => {
            crate::kubectl::Error::Silent { node: stream.node.clone(), wait: ANSWER_WAIT }
        }
    }
}
