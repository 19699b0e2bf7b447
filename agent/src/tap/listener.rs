//! One listener: what it means, what it has not been sent yet, what it missed.
//!
//! Separate because everything here is bounded by what this one listener may
//! cost the agent, however slow it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::capture::Capture;
use super::channel::Stream;
use super::filter::{Filter, Fit};
use super::join::{Joined, Joiner, Outcome};
use super::query::Query;
use super::traced::{Notice, Traced};
use crate::attribution::identity::Identity;
use crate::attribution::services::Service;
use crate::config::Unfit;
use crate::event::call::Call;
use crate::event::request::Request;

/// Bytes that wait for a listener: with 900 bytes a line a quarter of a second
/// of 20 000 requests a second. What comes beyond is dropped.
pub(super) const MAX_QUEUED_BYTES: usize = 4 << 20;
/// Chunks that wait for it.
const MAX_CHUNKS: usize = 1_024;
/// Bytes that are sent as one.
const CHUNK_BYTES: usize = 64 << 10;
/// Services whose fit is remembered: all that the agent has.
const SERVICES: usize = agent_common::limits::MAX_SERVICES as usize;

/// See the module.
#[derive(Debug)]
pub(super) struct Listener {
    id: u64,
    filter: Filter,
    /// What each service is to it, with the epoch of that service.
    fits: Vec<Option<(u64, Fit)>>,
    /// Of services that are not known yet.
    nobody: Identity,
    joiner: Joiner<Identity>,
    /// Lines that are not sent yet.
    buffer: Vec<u8>,
    chunks: mpsc::Sender<Vec<u8>>,
    queued_bytes: Arc<AtomicUsize>,
    sent: u64,
    pub(super) dropped: u64,
    /// Dropped and not yet told.
    untold: u64,
    has_ended: bool,
    /// What it captures, if it does.
    pub(super) capture: Option<Box<Capture>>,
}

impl Listener {
    /// A listener, and what it hears through.
    ///
    /// # Errors
    ///
    /// If a pattern of the query is none.
    pub(super) fn new(id: u64, query: &Query) -> Result<(Self, Stream), Unfit> {
        let (chunks, receiver) = mpsc::channel(MAX_CHUNKS);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let stream = Stream { id, chunks: receiver, queued_bytes: queued_bytes.clone() };
        let nothing: Arc<str> = Arc::from("");
        let mut listener = Self {
            id,
            filter: Filter::new(query)?,
            fits: vec![None; SERVICES],
            nobody: Identity {
                namespace: nothing.clone(),
                pod: nothing.clone(),
                container: nothing.clone(),
                workload: nothing,
            },
            joiner: Joiner::default(),
            buffer: Vec::new(),
            chunks,
            queued_bytes,
            sent: 0,
            dropped: 0,
            untold: 0,
            has_ended: false,
            capture: None,
        };
        Notice::Begin.write(&mut listener.buffer);
        Ok((listener, stream))
    }

    /// Its number.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// Whether paths are to be kept for it.
    pub(super) const fn wants_paths(&self) -> bool {
        self.filter.query().wants_paths()
    }

    /// Tells that one request record in 2^`shift` comes from now on.
    pub(super) fn tell_sampling(&mut self, shift: u32) {
        let one_in = 1u64.checked_shl(shift).unwrap_or(u64::MAX);
        self.tell(&Notice::Sampling { one_in });
    }

    /// Tells that so many requests were not seen, of whatever workload.
    pub(super) fn tell_unseen(&mut self, requests: u64) {
        self.tell(&Notice::Unseen { requests });
    }

    /// A request came.
    pub(super) fn request(
        &mut self,
        request: &Request,
        service: Option<&Service>,
        shows_path: bool,
        now_ns: u64,
        offset_ns: u64,
    ) {
        let fit = self.fit(request.service, service);
        if self.has_ended || !self.filter.has(request, fit) {
            self.joiner.pass(request);
            return;
        }
        let identity = service.and_then(|service| service.identity.as_ref());
        let identity = identity.unwrap_or(&self.nobody).clone();
        let keep = || {
            let path = if shows_path { request.path.clone() } else { None };
            (Request { path, ..request.clone() }, identity.clone())
        };
        match self.joiner.request(request, now_ns, keep) {
            Outcome::Now(calls, missing) => {
                let path = if shows_path { request.path.as_deref() } else { None };
                self.write(|| Traced::new(request, path, &identity, &calls, missing, offset_ns));
            }
            Outcome::Held(None) => {}
            Outcome::Held(Some(joined)) => self.write_joined(&joined, offset_ns),
        }
    }

    /// A call came.
    pub(super) fn call(&mut self, call: &Call, offset_ns: u64) {
        let fit = self.fits.get(usize::from(call.service)).copied().flatten();
        if self.has_ended || matches!(fit, Some((_, Fit::No))) {
            return;
        }
        if let Some(joined) = self.joiner.call(call) {
            self.write_joined(&joined, offset_ns);
        }
    }

    /// Gives up waiting for calls that are late.
    pub(super) fn expire(&mut self, now_ns: u64, offset_ns: u64) {
        while let Some(joined) = self.joiner.expired(now_ns) {
            self.write_joined(&joined, offset_ns);
        }
    }

    /// Writes what it holds back, and the end.
    pub(super) fn finish(&mut self, offset_ns: u64) {
        while let Some(joined) = self.joiner.rest() {
            self.write_joined(&joined, offset_ns);
        }
        self.end();
    }

    /// Sends what is written; `false` when it is not needed any more, or has
    /// gone.
    pub(super) fn send(&mut self) -> bool {
        if self.untold > 0 && self.has_room() {
            self.tell_dropped();
        }
        if self.buffer.is_empty() {
            return !self.has_ended && !self.chunks.is_closed();
        }
        let chunk = std::mem::take(&mut self.buffer);
        let bytes = chunk.len();
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.chunks.try_send(chunk) {
            Ok(()) => !self.has_ended,
            Err(mpsc::error::TrySendError::Full(chunk)) => {
                self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.buffer = chunk;
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    fn write_joined(&mut self, joined: &Joined<Identity>, offset_ns: u64) {
        let Joined { request, about: identity, calls, missing } = joined;
        let path = request.path.as_deref();
        self.write(|| Traced::new(request, path, identity, calls, *missing, offset_ns));
    }

    /// Writes a line, if there is room and it was not the last.
    fn write<'a>(&mut self, make: impl FnOnce() -> Traced<'a>) {
        if self.has_ended {
            return;
        }
        if !self.has_room() {
            self.dropped += 1;
            self.untold += 1;
            return;
        }
        if self.untold > 0 {
            self.tell_dropped();
        }
        make().write(&mut self.buffer);
        self.sent += 1;
        let count = self.filter.query().count;
        if count > 0 && self.sent >= count {
            self.end();
        } else if self.buffer.len() >= CHUNK_BYTES {
            // Who has gone is forgotten after the batch.
            self.send();
        }
    }

    fn has_room(&self) -> bool {
        self.waiting_bytes() < MAX_QUEUED_BYTES
    }

    /// Bytes that it has not read yet.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed) + self.buffer.len()
    }

    /// The query.
    pub(super) const fn query(&self) -> &Query {
        self.filter.query()
    }

    fn tell_dropped(&mut self) {
        let requests = std::mem::take(&mut self.untold);
        self.tell(&Notice::Dropped { requests });
    }

    fn end(&mut self) {
        if self.has_ended {
            return;
        }
        if self.untold > 0 {
            self.tell_dropped();
        }
        self.tell(&Notice::End { requests: self.sent, dropped: self.dropped });
        self.has_ended = true;
    }

    /// Notices are few and short: there is always room for them.
    pub(super) fn tell(&mut self, notice: &Notice) {
        if !self.has_ended {
            notice.write(&mut self.buffer);
        }
    }

    /// What a service is to it, compared once for each that has the index.
    pub(super) fn fit(&mut self, index: u16, service: Option<&Service>) -> Fit {
        // It may become known: ask again.
        let Some(known) = service.filter(|service| service.identity.is_some()) else {
            return self.filter.fit(service);
        };
        match self.fits.get_mut(usize::from(index)) {
            Some(Some((epoch, fit))) if *epoch == known.epoch => *fit,
            Some(slot) => {
                let fit = self.filter.fit(service);
                *slot = Some((known.epoch, fit));
                fit
            }
            None => self.filter.fit(service),
        }
    }
}
