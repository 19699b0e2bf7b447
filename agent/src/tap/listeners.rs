//! The worker's end of the tap: every listener, shown every request.
//!
//! Separate from one listener, which knows nothing of the others, and from the
//! types of both ends.

use super::listener::Listener;
use super::{Order, Refusal, Stream, Unseen, query};
use crate::attribution::services::Service;
use crate::event::call::Call;
use crate::event::point::Point;
use crate::event::request::Request;
use crate::sys::clock;

/// Listeners at a time. People look at traces, one or two at a time; each may
/// hold [`MAX_QUEUED_BYTES`](super::listener::MAX_QUEUED_BYTES).
pub(super) const MAX_LISTENERS: usize = 4;

/// The worker's end: every listener.
#[derive(Debug, Default)]
pub struct Tap {
    pub(super) listeners: Vec<Listener>,
    next_id: u64,
    /// Paths are kept anyway, whoever listens.
    keeps_paths: bool,
    /// One request record in 2^this is sent by the kernel.
    sample_shift: u32,
    /// Requests that never came here, in all.
    unseen: u64,
    /// Points of captures that never came here, in all.
    unseen_points: Unseen,
}

impl Tap {
    /// One to which nobody listens. `keeps_paths` says that paths are kept by
    /// configuration.
    #[must_use]
    pub fn new(keeps_paths: bool) -> Self {
        Self { keeps_paths, ..Self::default() }
    }

    /// Nobody listens: requests and calls need not be shown to it.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Whether a listener wants paths to be kept.
    #[must_use]
    pub fn wants_paths(&self) -> bool {
        self.listeners.iter().any(Listener::wants_paths)
    }

    /// Paths are kept by configuration, or are not.
    pub const fn set_keeps_paths(&mut self, keeps_paths: bool) {
        self.keeps_paths = keeps_paths;
    }

    /// The kernel sends one request record in 2^`shift`: listeners are told.
    pub fn set_sample_shift(&mut self, shift: u32) {
        if shift != self.sample_shift {
            self.sample_shift = shift;
            self.listeners.iter_mut().for_each(|listener| listener.tell_sampling(shift));
        }
    }

    /// So many requests have never come here, in all: listeners are told of
    /// those since they listen.
    pub fn set_unseen(&mut self, total: u64) {
        // Counters of services that are gone begin again.
        let requests = total.saturating_sub(self.unseen);
        self.unseen = total;
        if requests > 0 {
            self.listeners.iter_mut().for_each(|listener| listener.tell_unseen(requests));
        }
    }

    /// So many points of captures have never come here, in all.
    pub const fn set_unseen_points(&mut self, total: Unseen) {
        self.unseen_points = total;
    }

    /// Whether threads are to say what they do now.
    #[must_use]
    pub fn is_capturing(&self) -> bool {
        let now_ns = clock::monotonic_ns();
        self.listeners.iter().any(|listener| listener.is_capturing(now_ns))
    }

    /// Whether the threads of a service are among those.
    pub fn captures(&mut self, index: u16, service: &Service) -> bool {
        let now_ns = clock::monotonic_ns();
        self.listeners
            .iter_mut()
            .any(|listener| listener.is_capturing(now_ns) && listener.means(index, service))
    }

    /// Shows a point to who captures.
    pub fn point(&mut self, point: &Point, service: Option<&Service>) {
        for listener in &mut self.listeners {
            listener.point(point, service);
        }
    }

    /// Does what somebody at the other end asks for.
    pub fn follow(&mut self, order: Order) {
        match order {
            Order::Listen { query, answer } => {
                let stream = self.listen(&query);
                // Who does not wait any more does not listen either.
                let _ = answer.send(stream);
            }
            Order::Finish { id } => {
                if let Some(listener) = self.listeners.iter_mut().find(|one| one.id() == id) {
                    listener.asked_to_finish(clock::monotonic_ns(), unix_offset_ns());
                }
            }
        }
        self.send();
    }

    pub(super) fn listen(&mut self, query: &query::Query) -> Result<Stream, Refusal> {
        self.send();
        if self.listeners.len() >= MAX_LISTENERS {
            return Err(Refusal::Full { max: MAX_LISTENERS });
        }
        if query.capture_ns > 0 && self.listeners.iter().any(Listener::has_capture) {
            return Err(Refusal::Capturing);
        }
        self.next_id += 1;
        let (mut listener, stream) = Listener::new(self.next_id, query)?;
        if query.capture_ns > 0 {
            listener.capture(query.capture_ns, clock::monotonic_ns(), self.unseen_points);
        }
        if self.sample_shift > 0 {
            listener.tell_sampling(self.sample_shift);
        }
        self.listeners.push(listener);
        Ok(stream)
    }

    /// Shows a request to every listener, with the service that served it.
    pub fn request(&mut self, request: &Request, service: Option<&Service>) {
        let (now_ns, offset_ns) = (clock::monotonic_ns(), unix_offset_ns());
        for listener in &mut self.listeners {
            let shows_path = self.keeps_paths || listener.wants_paths();
            listener.request(request, service, shows_path, now_ns, offset_ns);
        }
    }

    /// Shows a call to every listener.
    pub fn call(&mut self, call: &Call) {
        let offset_ns = unix_offset_ns();
        self.listeners.iter_mut().for_each(|listener| listener.call(call, offset_ns));
    }

    /// Sends what was gathered, gives up waiting for calls that are late, and
    /// forgets listeners that have gone. To be called after each batch of
    /// events, and a few times a second.
    pub fn flush(&mut self) {
        if self.is_idle() {
            return;
        }
        let (now_ns, offset_ns) = (clock::monotonic_ns(), unix_offset_ns());
        let unseen = self.unseen_points;
        self.listeners.iter_mut().for_each(|listener| {
            listener.expire(now_ns, offset_ns);
            listener.tick_capture(now_ns, offset_ns, unseen);
        });
        self.send();
    }

    fn send(&mut self) {
        self.listeners.retain_mut(Listener::send);
    }
}

/// What makes unix time of `CLOCK_MONOTONIC`, now.
fn unix_offset_ns() -> u64 {
    clock::unix_ns().saturating_sub(clock::monotonic_ns())
}
