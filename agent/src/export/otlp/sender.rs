//! Batches of spans, sent until they are taken or given up.
//!
//! Separate from one try, because patience is decided here: one batch is under
//! way at a time, and while it waits the queue before it fills and then drops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message as _;
use tokio::sync::watch;

use super::answer::Answer;
use super::backoff::Backoff;
use super::client::{Client, Settings};
use super::{resource, span};
use crate::spans::{Finished, Received};
use crate::telemetry::Own;
use crate::telemetry::traces::{Sent, Undelivered};

/// Requests of a batch.
const MAX_REQUESTS: usize = 512;
/// Their bytes: a batch is written whole, about twice that, and most endpoints
/// take no more than 4 MiB.
const MAX_BYTES: u64 = 1 << 20;
/// How long a batch waits for more.
const GATHER: Duration = Duration::from_secs(1);
/// How long one try may take when the agent is stopping.
const LAST_TRY: Duration = Duration::from_secs(1);
/// Version of the conventions that names follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.44.0";

/// A batch as it is sent.
struct Batch {
    message: Bytes,
    requests: u64,
    spans: u64,
    /// What it takes of the queue.
    queued_bytes: u64,
}

/// Sends what comes until nothing more does.
pub async fn run(
    settings: Settings,
    mut received: Received,
    own: Arc<Own>,
    stopping: watch::Receiver<bool>,
) {
    let mut sender = Sender { settings, own, stopping, client: None, trouble: None };
    while let Some(first) = received.next().await {
        let requests = sender.gather(first, &mut received).await;
        let batch = batch(&requests, &sender.settings);
        drop(requests);
        sender.deliver(&batch).await;
        sender.own.traces.release(batch.queued_bytes);
    }
}

struct Sender {
    settings: Settings,
    own: Arc<Own>,
    stopping: watch::Receiver<bool>,
    /// Made when it is needed, and again after trouble: names and certificates
    /// may have changed.
    client: Option<Client>,
    /// How the last try failed, so that it is logged once.
    trouble: Option<Sent>,
}

impl Sender {
    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// The first request and those that come soon after it.
    async fn gather(&mut self, first: Finished, received: &mut Received) -> Vec<Finished> {
        let mut bytes = first.bytes();
        let mut requests = vec![first];
        let deadline = tokio::time::sleep(GATHER);
        tokio::pin!(deadline);
        while requests.len() < MAX_REQUESTS && bytes < MAX_BYTES {
            tokio::select! {
                next = received.next() => match next {
                    Some(next) => {
                        bytes += next.bytes();
                        requests.push(next);
                    }
                    None => break,
                },
                () = &mut deadline => break,
            }
        }
        requests
    }

    async fn deliver(&mut self, batch: &Batch) {
        let mut backoff = Backoff::default();
        loop {
            let start = Instant::now();
            let answer = self.send(batch.message.clone()).await;
            backoff.add(start.elapsed());
            let (sent, asked, undelivered, why) = match answer {
                Answer::Taken { rejected, said } => {
                    self.taken(batch, rejected, &said);
                    return;
                }
                Answer::Refused { why } => {
                    self.failed(Sent::Refused, &why);
                    self.own.traces.undelivered(Undelivered::Refused, batch.requests);
                    return;
                }
                Answer::Busy { after, why } => (Sent::Busy, after, Undelivered::Busy, why),
                Answer::Unreachable { why } => {
                    (Sent::Unreachable, None, Undelivered::Unreachable, why)
                }
                Answer::Late => {
                    let why = format!("no answer within {:?}", self.settings.timeout);
                    (Sent::Timeout, None, Undelivered::Timeout, why)
                }
            };
            self.failed(sent, &why);
            let pause = if self.is_stopping() { None } else { backoff.next(asked) };
            let Some(pause) = pause else {
                self.own.traces.undelivered(undelivered, batch.requests);
                return;
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // One more try, and the end.
                _ = self.stopping.wait_for(|is_stopping| *is_stopping) => {}
            }
        }
    }

    async fn send(&mut self, message: Bytes) -> Answer {
        let client = match self.client.take() {
            Some(client) => client,
            None => match Client::new(&self.settings) {
                Ok(client) => client,
                Err(why) => return Answer::Unreachable { why },
            },
        };
        let answer = if self.is_stopping() {
            let last = tokio::time::timeout(LAST_TRY, client.send(&self.settings, message));
            last.await.unwrap_or(Answer::Late)
        } else {
            client.send(&self.settings, message).await
        };
        if !matches!(answer, Answer::Unreachable { .. } | Answer::Late) {
            self.client = Some(client);
        }
        answer
    }

    fn taken(&mut self, batch: &Batch, rejected: u64, said: &str) {
        let books = &self.own.traces;
        books.sent(Sent::Ok);
        // Which ones were rejected is not said: no more requests than spans.
        let rejected_requests = rejected.min(batch.requests);
        if rejected > 0 {
            books.undelivered(Undelivered::Rejected, rejected_requests);
            tracing::warn!(rejected, said, "the endpoint of spans does not want some");
        }
        let spans = batch.spans.saturating_sub(rejected);
        books.delivered(batch.requests - rejected_requests, spans);
        if self.trouble.take().is_some() {
            tracing::info!(endpoint = %self.settings.uri(), "spans are taken again");
        }
    }

    fn failed(&mut self, sent: Sent, why: &str) {
        self.own.traces.sent(sent);
        if self.trouble.replace(sent) != Some(sent) {
            let endpoint = self.settings.uri();
            tracing::warn!(%endpoint, result = sent.as_str(), why, "cannot send spans");
        }
    }
}

/// Writes requests, those of one workload together.
fn batch(requests: &[Finished], settings: &Settings) -> Batch {
    let mut groups: Vec<(&Finished, Vec<_>)> = Vec::new();
    for request in requests {
        let spans = span::spans(request);
        let known = groups.iter_mut().find(|(other, _)| {
            Arc::ptr_eq(&other.origin, &request.origin) || other.origin == request.origin
        });
        match known {
            Some((_, all)) => all.extend(spans),
            None => groups.push((request, spans)),
        }
    }
    let scope = InstrumentationScope {
        name: "strata".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let resource_spans = groups.into_iter().map(|(request, spans)| ResourceSpans {
        resource: Some(resource::resource(&request.origin, &settings.node)),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope.clone()),
            spans,
            schema_url: SCHEMA.to_owned(),
        }],
        schema_url: SCHEMA.to_owned(),
    });
    let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
    Batch {
        message: request.encode_to_vec().into(),
        requests: requests.len() as u64,
        spans: requests.iter().map(Finished::spans).sum(),
        queued_bytes: requests.iter().map(Finished::bytes).sum(),
    }
}
