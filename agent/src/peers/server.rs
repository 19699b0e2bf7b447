//! Answers: who has an address, and what changed. Over HTTP, with the endpoints
//! that every program of a cluster has.
//!
//! - `/v1/peers` POST, see [`super::wire`]
//! - `/metrics` its own metrics
//! - `/healthz` 200 while it runs
//! - `/readyz` 200 when it has seen the whole cluster and is in touch with the
//!   API server
//!
//! Separate from the directory, which knows no time of day and no sockets.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::directory::Directory;
pub use super::own::Touch;
use super::own::{Counts, Outcome, snapshot};
use super::wire::{Answer, MAX_ASKED, MAX_CHANGED, MAX_QUESTION, Named, PATH, Question, Seen};
use crate::event::holder::HolderUpdate;
use crate::export::{Detail, encode, negotiate};
use crate::sys::clock;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What answers are made of.
#[derive(Debug)]
pub struct State {
    /// A lock, for the watches and the connections are tasks of their own. It is
    /// held for microseconds, and never while something is waited for.
    directory: Mutex<Directory>,
    touch: Touch,
    counts: Counts,
    /// This run of this server.
    id: u64,
}

impl State {
    /// A server that knows nothing yet.
    #[must_use]
    pub fn new(touch: Touch) -> Self {
        Self {
            directory: Mutex::default(),
            touch,
            counts: Counts::default(),
            // Two replicas do not begin within the same nanosecond.
            id: clock::unix_ns(),
        }
    }

    /// Takes up what the API server told.
    pub fn update(&self, update: HolderUpdate) {
        self.directory().update(update, clock::monotonic_ns());
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        // A panic ends the program: there is no other thread to see it.
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let (path, method) = (head.uri.path(), &head.method);
        let allowed = if path == PATH { "POST" } else { "GET, HEAD" };
        let is_allowed = match path {
            PATH => method == Method::POST,
            "/metrics" | "/healthz" | "/readyz" => [Method::GET, Method::HEAD].contains(method),
            _ => return with(StatusCode::NOT_FOUND, PLAIN, "not found\n".into()),
        };
        if !is_allowed {
            let text = format!("only {allowed}\n");
            let mut answer = with(StatusCode::METHOD_NOT_ALLOWED, PLAIN, text.into());
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return answer;
        }
        match path {
            "/healthz" => with(StatusCode::OK, PLAIN, "ok\n".into()),
            "/readyz" => match self.age_ms() {
                Ok(_) => with(StatusCode::OK, PLAIN, "ready\n".into()),
                Err(why) => unavailable(why),
            },
            "/metrics" => {
                let accept = head.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
                self.metrics(accept.unwrap_or_default())
            }
            _ => match Limited::new(body, MAX_QUESTION).collect().await {
                Ok(body) => self.peers(&body.to_bytes()),
                Err(_) => self.refused(StatusCode::PAYLOAD_TOO_LARGE),
            },
        }
    }

    /// Milliseconds since the API server last answered, or why nobody should be
    /// told anything.
    fn age_ms(&self) -> Result<u64, &'static str> {
        if !self.directory().is_listed() {
            return Err("the cluster is not listed yet");
        }
        self.touch.age_ms(clock::monotonic_ns())
    }

    fn metrics(&self, accept: &str) -> Response<Full<Bytes>> {
        let content_type = negotiate::content_type(accept);
        let snapshot = Arc::new(snapshot(&self.directory(), &self.touch, &self.counts));
        match encode(&[snapshot], content_type.format, Detail::Normal, false) {
            Ok(body) => {
                let content_type = HeaderValue::try_from(content_type.header()).unwrap_or(PLAIN);
                with(StatusCode::OK, content_type, body.into())
            }
            Err(error) => {
                tracing::warn!(%error, "scrape failed");
                with(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n").into())
            }
        }
    }

    fn peers(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let Ok(question) = serde_json::from_slice::<Question>(body) else {
            return self.refused(StatusCode::BAD_REQUEST);
        };
        if question.addresses.len() > MAX_ASKED {
            return self.refused(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let age_ms = match self.age_ms() {
            Ok(age_ms) => age_ms,
            Err(why) => {
                self.counts.question(Outcome::NotReady);
                return unavailable(why);
            }
        };
        let answer = self.told(&question, age_ms);
        match serde_json::to_vec(&answer) {
            Ok(text) => {
                let (asked, named) = (question.addresses.len(), answer.peers.len());
                self.counts.question(Outcome::Answered);
                self.counts.answer(asked, named, answer.changed.is_some(), text.len());
                with(StatusCode::OK, JSON, text.into())
            }
            Err(error) => {
                with(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n").into())
            }
        }
    }

    fn told(&self, question: &Question, age_ms: u64) -> Answer {
        let (directory, now_ns) = (self.directory(), clock::monotonic_ns());
        let seen = question.seen.iter().find(|seen| seen.server == self.id);
        let named = question.addresses.iter().filter_map(|address| {
            let address = address.to_canonical();
            // Of its own node an agent knows more, sooner.
            if directory.is_on(address, &question.node) {
                return None;
            }
            let name = directory.find(address, now_ns)?;
            Some(Named {
                address,
                namespace: name.namespace.as_ref().to_owned(),
                workload: name.workload.as_ref().to_owned(),
                zone: name.zone.as_ref().to_owned(),
            })
        });
        Answer {
            at: Seen { server: self.id, revision: directory.revision() },
            age_ms,
            zone: directory.zone(&question.node).as_ref().to_owned(),
            changed: seen.and_then(|seen| directory.changed_since(seen.revision, MAX_CHANGED)),
            peers: named.collect(),
        }
    }

    fn refused(&self, status: StatusCode) -> Response<Full<Bytes>> {
        self.counts.question(Outcome::Refused);
        with(status, PLAIN, "no question\n".into())
    }
}

fn unavailable(why: &str) -> Response<Full<Bytes>> {
    with(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("not ready: {why}\n").into())
}

fn with(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
