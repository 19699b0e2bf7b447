//! The HTTP/1.1 server: connections, each with bounds on number and time.
//!
//! Separate from the endpoints because it is all about peers that misbehave:
//! the port is open to the pod network, and whoever holds a connection must not
//! be able to keep Prometheus out for long.

use super::{AdminState, answer};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

/// Bounds on connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; further ones are closed at once.
    pub connections: usize,
    /// Longest wait for a whole request head, also between two requests: an
    /// idle connection ends with it.
    pub head_wait: Duration,
    /// Age at which a connection gets no further request.
    pub age: Duration,
    /// How long an answer may still take after that, or after shutdown. With
    /// `age` it bounds how long a peer that reads nothing holds its place.
    pub grace: Duration,
}

impl Default for Limits {
    /// 32 connections, 5 s for a head, 30 s of age, 2 s of grace.
    fn default() -> Self {
        Self {
            connections: 32,
            head_wait: Duration::from_secs(5),
            age: Duration::from_secs(30),
            grace: Duration::from_secs(2),
        }
    }
}

/// Bytes of a request head. hyper's smallest; Prometheus sends 700.
const MAX_HEAD_BYTES: usize = 8192;

/// How long to wait after a failed accept. It fails when descriptors run out,
/// and would again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the agent's endpoints; see [`serve_with`].
pub async fn serve(
    listener: TcpListener,
    state: Arc<AdminState>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let answer = move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move { answer(&request, &state).await }
    };
    serve_with(listener, answer, limits, shutdown).await;
}

/// Serves `listener` until `shutdown` is ready, then lets answers that are under
/// way finish within the grace of `limits`.
///
/// Connections are tasks of a set that this function owns: it starts each, and
/// none outlives it. Needs a runtime with time enabled.
pub async fn serve_with<A, F>(
    listener: TcpListener,
    answer: A,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let mut shutdown = pin!(shutdown);
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Those that have ended hold no place.
                    while connections.try_join_next().is_some() {}
                    if connections.len() < limits.connections {
                        connections.spawn(connection(stream, answer.clone(), limits, stopped.clone()));
                    } else {
                        tracing::debug!(%peer, "too many connections; closed a new one");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    // Connections wait for the sender to go.
    drop(stop);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // Those that do not end by themselves are aborted with the set.
    let _ = timeout(limits.grace, all_ended).await;
}

async fn connection<A, F>(
    stream: TcpStream,
    answer: A,
    limits: Limits,
    mut stopped: watch::Receiver<()>,
) where
    A: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let service = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_wait)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        // An error: the sender is gone.
        _ = stopped.changed() => None,
        () = tokio::time::sleep(limits.age) => None,
    };
    let ended = match ended {
        Some(ended) => Ok(ended),
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(limits.grace, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        // Peers that time out, speak something else or go away: their affair.
        Ok(Err(error)) => tracing::debug!(%error, "connection ended"),
        Err(_) => tracing::debug!("connection did not end in time; closed it"),
    }
}
