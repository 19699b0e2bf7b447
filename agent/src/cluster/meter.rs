//! Each request to the API server is counted, and each word of an answer noted.
//!
//! Separate because the watch above it is silent while nothing changes: that
//! the API server is there shows in its bookmarks, which only the connection
//! sees.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Request, Response};
use tower::{Layer, Service};

use crate::sys::clock;
use crate::telemetry::Own;
use crate::telemetry::metadata::MetadataRequest;

/// Puts a [`Metered`] around a client's service.
#[derive(Clone, Debug)]
pub(super) struct Meter(Arc<Own>);

impl Meter {
    pub(super) const fn new(own: Arc<Own>) -> Self {
        Self(own)
    }
}

impl<S> Layer<S> for Meter {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Metered<S> {
        Metered { inner, own: Arc::clone(&self.0) }
    }
}

/// A service whose answers are heard.
#[derive(Clone, Debug)]
pub(super) struct Metered<S> {
    inner: S,
    own: Arc<Own>,
}

impl<S, In, Out> Service<Request<In>> for Metered<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    Out: 'static,
{
    type Response = Response<Heard<Out>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.split('&').any(|pair| pair == "watch=true");
        let kind = if is_watch { MetadataRequest::Watch } else { MetadataRequest::List };
        self.own.metadata.count_request(kind);
        let own = Arc::clone(&self.own);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            own.metadata.set_heard(clock::monotonic_ns());
            if is_watch && answer.status().is_success() {
                own.metadata.set_watching();
            }
            Ok(answer.map(|inner| Heard { inner, own }))
        })
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Heard<B> {
    inner: B,
    own: Arc<Own>,
}

impl<B> Body for Heard<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            self.own.metadata.set_heard(clock::monotonic_ns());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
