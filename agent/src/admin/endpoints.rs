//! The HTTP endpoints: a request in, an answer out.
//!
//! Separate from the server, which knows connections and no paths.

use super::readiness::Readiness;
use crate::export::{
    Error,
    scrape::{Exposition, Scraper},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, ALLOW, AsHeaderName, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue,
    },
};
use std::sync::Arc;

/// What the endpoints answer from.
#[derive(Debug)]
pub struct AdminState {
    /// For `/metrics` and `/healthz`.
    pub scraper: Scraper,
    /// For `/readyz`.
    pub readiness: Arc<Readiness>,
}

/// An answer; its body is in memory.
type Answer = Response<Full<Bytes>>;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const LANDING_PAGE: &str = "<!doctype html>\n\
    <html lang=\"en\"><head><title>strata</title></head><body>\n\
    <h1>strata</h1>\n\
    <ul>\n\
    <li><a href=\"/metrics\">metrics</a></li>\n\
    <li><a href=\"/healthz\">health</a></li>\n\
    <li><a href=\"/readyz\">readiness</a></li>\n\
    </ul>\n\
    </body></html>\n";

/// Answers one request. Its body, if it has one, is not read.
pub async fn answer<B>(request: &Request<B>, state: &AdminState) -> Answer {
    let path = request.uri().path();
    if !matches!(path, "/" | "/metrics" | "/healthz" | "/readyz") {
        return plain(StatusCode::NOT_FOUND, "not found\n");
    }
    // To HEAD the server sends the headers of what GET is answered.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match path {
        "/metrics" => metrics(request.headers(), &state.scraper).await,
        "/healthz" if state.scraper.is_worker_alive() => plain(StatusCode::OK, "ok\n"),
        "/healthz" => plain(StatusCode::SERVICE_UNAVAILABLE, "the worker has ended\n"),
        "/readyz" => match state.readiness.missing() {
            None => plain(StatusCode::OK, "ready\n"),
            Some(reason) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {reason}\n"))
            }
        },
        _ => with_type(
            StatusCode::OK,
            HeaderValue::from_static("text/html; charset=utf-8"),
            LANDING_PAGE.into(),
        ),
    }
}

async fn metrics(headers: &HeaderMap, scraper: &Scraper) -> Answer {
    let scraped = scraper.scrape(&joined(headers, ACCEPT), &joined(headers, ACCEPT_ENCODING)).await;
    let Exposition { content_type, is_gzip, body } = match scraped {
        Ok(exposition) => exposition,
        Err(error) => {
            tracing::warn!(%error, "scrape failed");
            let status = match error {
                Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            return plain(status, &format!("{error}\n"));
        }
    };
    // The content type is one of ours and always valid.
    let content_type = HeaderValue::try_from(content_type).unwrap_or(PLAIN);
    let mut answer = with_type(StatusCode::OK, content_type, body);
    if is_gzip {
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

/// All lines of a header as one. A line that is not ASCII is left out.
fn joined(headers: &HeaderMap, name: impl AsHeaderName) -> String {
    let lines: Vec<&str> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    lines.join(",")
}

fn plain(status: StatusCode, text: &str) -> Answer {
    with_type(status, PLAIN, Bytes::copy_from_slice(text.as_bytes()))
}

fn with_type(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
