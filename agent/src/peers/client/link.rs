//! One connection to the server, for the questions of one round.
//!
//! Separate because it is all that knows HTTP here. A connection for each round:
//! it costs some 50 us every five seconds, needs no idle connection of five
//! thousand agents in the server, and whichever replica is there answers.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::peers::wire::{Answer, MAX_AGE_MS, MAX_ANSWER, PATH, Question};
use crate::telemetry::peers::PeersAnswer;

/// See the module.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Link {
    /// Connects, and does something with the connection.
    pub(super) async fn with<T>(
        url: &str,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, PeersAnswer>,
    ) -> Result<T, PeersAnswer> {
        let uri: Uri = url.parse().map_err(unreachable)?;
        let authority = uri.authority().ok_or(PeersAnswer::Unreachable)?.to_string();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80)));
        let stream = stream.await.map_err(unreachable)?;
        let shaken = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(unreachable)?;
        let mut link = Self { sender, authority };
        tokio::select! {
            result = work(&mut link) => result,
            // What was received before it ended is still to be read.
            never = async { let _ = connection.await; std::future::pending().await } => never,
        }
    }

    /// Asks, and takes an answer that may be believed.
    pub(super) async fn ask(&mut self, question: &Question) -> Result<Answer, PeersAnswer> {
        let body = serde_json::to_vec(question).map_err(garbage)?;
        let request = Request::post(PATH)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.into()))
            .map_err(garbage)?;
        let response = self.sender.send_request(request).await;
        let (head, body) = response.map_err(unreachable)?.into_parts();
        match head.status {
            StatusCode::OK => {}
            StatusCode::SERVICE_UNAVAILABLE => return Err(PeersAnswer::NotReady),
            _ => return Err(PeersAnswer::Garbage),
        }
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(garbage)?.to_bytes();
        let answer: Answer = serde_json::from_slice(&body).map_err(garbage)?;
        if answer.age_ms > MAX_AGE_MS {
            return Err(PeersAnswer::Stale);
        }
        Ok(answer)
    }
}

/// The reason is for who looks closer: the result is counted.
fn unreachable(error: impl std::fmt::Display) -> PeersAnswer {
    tracing::debug!(%error, "no connection");
    PeersAnswer::Unreachable
}

fn garbage(error: impl std::fmt::Display) -> PeersAnswer {
    tracing::debug!(%error, "no answer");
    PeersAnswer::Garbage
}
