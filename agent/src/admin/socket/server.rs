//! The agent's end: connections, each with bounds on number, length and time.
//!
//! Separate from the file of the socket because this also runs where there is
//! none: over a pair of connected sockets, inside one process.

use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::asked::Asked;
use super::bind::Bound;
use super::{MAX_REQUEST_BYTES, Request, trace};
use crate::export::json::{Answer, Feed};
use crate::tap::TapSource;

/// What connections are answered from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Workloads.
    pub feed: Feed,
    /// Requests as they finish.
    pub taps: TapSource,
}

/// Bounds on connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; further ones are refused.
    pub connections: usize,
    /// Longest wait for the request line.
    pub request_wait: Duration,
    /// Longest wait for the peer to take a line.
    pub write_wait: Duration,
    /// Age at which a connection ends; who wants more connects again.
    pub age: Duration,
}

impl Default for Limits {
    /// 16 connections, 5 s for a request, 5 s for a line, a day.
    fn default() -> Self {
        Self {
            connections: 16,
            request_wait: Duration::from_secs(5),
            write_wait: Duration::from_secs(5),
            age: Duration::from_secs(86_400),
        }
    }
}

/// How long to wait after a failed accept: it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is ready, then ends all connections and removes the
/// socket. Connections are tasks of a set that this function owns.
pub async fn serve(
    bound: Bound,
    sources: Sources,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    // Connections wait for the sender to go.
    let (_stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = bound.accept() => match accepted {
                Ok(stream) => {
                    while connections.try_join_next().is_some() {}
                    if connections.len() < limits.connections {
                        let sources = sources.clone();
                        connections.spawn(connection(stream, sources, limits, stopped.clone()));
                    } else {
                        refuse(&stream);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection on the socket failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Says why, as far as that is possible without waiting.
fn refuse(stream: &UnixStream) {
    let _ = stream.try_write(&Answer::refusal("too many connections".to_owned()).line());
}

/// Serves one connection until the peer goes, `stopped` loses its sender, or
/// the age is reached.
pub async fn connection(
    stream: UnixStream,
    sources: Sources,
    limits: Limits,
    mut stopped: watch::Receiver<()>,
) {
    tokio::select! {
        () = answer(stream, &sources, limits) => {}
        // An error: the sender is gone.
        _ = stopped.changed() => {}
        () = tokio::time::sleep(limits.age) => {}
    }
}

async fn answer(stream: UnixStream, sources: &Sources, limits: Limits) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let Ok(Some(line)) = timeout(limits.request_wait, request_line(&mut reader)).await else {
        tracing::debug!("no request came on the socket");
        return;
    };
    let refused = match Request::asked(&line) {
        Ok(Asked::Workloads(interval)) => {
            return workloads(reader, writer, &sources.feed, interval, limits).await;
        }
        Ok(Asked::Trace(query)) => match sources.taps.listen(*query).await {
            Ok(requests) => return trace::run(reader, writer, sources, requests).await,
            Err(refusal) => refusal.to_string(),
        },
        Err(reason) => reason,
    };
    let line = Answer::refusal(refused).line();
    let _ = timeout(limits.write_wait, writer.write_all(&line)).await;
}

async fn workloads(
    mut reader: BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
    feed: &Feed,
    asked: Option<Duration>,
    limits: Limits,
) {
    // The first tick is at once.
    let mut ticks = interval(asked.unwrap_or(super::MAX_INTERVAL));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // The peer has nothing more to say: it went, or breaks the rules.
            _ = reader.read_u8() => return,
        }
        let line = feed.line().await;
        let written = timeout(limits.write_wait, writer.write_all(&line)).await;
        if !matches!(written, Ok(Ok(()))) || asked.is_none() {
            return;
        }
    }
}

/// One line, without its end; none if it is too long or does not end.
async fn request_line(reader: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let mut bounded = reader.take(MAX_REQUEST_BYTES as u64);
    bounded.read_until(b'\n', &mut line).await.ok()?;
    (line.pop() == Some(b'\n')).then_some(line)
}
