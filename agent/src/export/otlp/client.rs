//! One batch to the endpoint, once: HTTP with protobuf, or gRPC.
//!
//! Separate from the sender, which decides what is sent again. One HTTP client
//! does both: a unary call of gRPC is a POST over HTTP/2 with five bytes before
//! the message and the status in the trailers, and a library for it would be
//! more to build than to write.

use std::error::Error as StdError;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::answer::{Answer, of_grpc, of_http, plain};
use crate::config::{Compression, Headers, TraceProtocol, Traces};

/// The most of an answer that is read.
const MAX_ANSWER: usize = 64 << 10;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);
/// The method of gRPC that takes spans.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// What a URL without a path gets.
const HTTP_PATH: &str = "/v1/traces";

/// Where spans go, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    uri: Uri,
    protocol: TraceProtocol,
    compression: Compression,
    certificate: Option<PathBuf>,
    pub(super) timeout: Duration,
    headers: HeaderMap,
    /// The Kubernetes node; empty for none.
    pub(super) node: String,
}

impl Settings {
    /// What the configuration says; `None` if there is no endpoint.
    ///
    /// # Errors
    ///
    /// What is no URL, or no header; never a header's value.
    pub fn new(
        traces: &Traces,
        headers: &Headers,
        node: Option<&str>,
    ) -> Result<Option<Self>, String> {
        let Some(endpoint) = &traces.endpoint else { return Ok(None) };
        let mut to = HeaderMap::new();
        for (name, value) in headers.iter() {
            let (Ok(name_of), Ok(mut value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            else {
                return Err(format!("`{name}` is no header"));
            };
            value.set_sensitive(true);
            to.insert(name_of, value);
        }
        Ok(Some(Self {
            uri: uri_of(endpoint, traces.protocol)?,
            protocol: traces.protocol,
            compression: traces.compression,
            certificate: traces.certificate.clone(),
            timeout: traces.timeout,
            headers: to,
            node: node.unwrap_or_default().to_owned(),
        }))
    }

    /// Where spans go.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }
}

fn uri_of(endpoint: &str, protocol: TraceProtocol) -> Result<Uri, String> {
    let bad = |error: &dyn std::fmt::Display| format!("`{endpoint}`: {error}");
    let uri: Uri = endpoint.parse().map_err(|error| bad(&error))?;
    let rest = endpoint.split_once("://").map_or("", |(_, rest)| rest);
    let path = match protocol {
        TraceProtocol::Grpc => GRPC_PATH,
        TraceProtocol::HttpProtobuf if !rest.contains('/') => HTTP_PATH,
        TraceProtocol::HttpProtobuf => uri.path(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().map_err(|error| bad(&error))?);
    Uri::from_parts(parts).map_err(|error| bad(&error))
}

/// A client with its connections.
pub(super) struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// A client without connections.
    ///
    /// # Errors
    ///
    /// When certificates cannot be had.
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let is_grpc = settings.protocol == TraceProtocol::Grpc;
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_nodelay(true);
        plain.set_connect_timeout(Some(settings.timeout));
        let schemes = HttpsConnectorBuilder::new().with_tls_config(tls(settings)?).https_or_http();
        let connector = if is_grpc {
            schemes.enable_http2().wrap_connector(plain)
        } else {
            schemes.enable_http1().wrap_connector(plain)
        };
        let http = Http::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http2_only(is_grpc)
            .build(connector);
        Ok(Self { http })
    }

    /// Sends a message, and waits for the answer, at most for the timeout.
    pub(super) async fn send(&self, settings: &Settings, message: Bytes) -> Answer {
        let request = match request(settings, message) {
            Ok(request) => request,
            Err(why) => return Answer::Refused { why },
        };
        let exchange = self.exchange(settings, request);
        tokio::time::timeout(settings.timeout, exchange).await.unwrap_or(Answer::Late)
    }

    async fn exchange(&self, settings: &Settings, request: Request<Full<Bytes>>) -> Answer {
        let response = match self.http.request(request).await {
            Ok(response) => response,
            Err(error) => return Answer::Unreachable { why: chain(&error) },
        };
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => body,
            Err(error) => return Answer::Unreachable { why: chain(&*error) },
        };
        let trailers = body.trailers().cloned().unwrap_or_default();
        let body = body.to_bytes();
        let header = |name: &str| {
            let value = trailers.get(name).or_else(|| head.headers.get(name))?;
            value.to_str().ok()
        };
        let (status, retry_after) = (head.status.as_u16(), header("retry-after"));
        match settings.protocol {
            TraceProtocol::HttpProtobuf => of_http(status, retry_after, &body),
            TraceProtocol::Grpc => {
                let (code, said) = (header("grpc-status"), header("grpc-message"));
                of_grpc(status, code, said, retry_after, &body)
            }
        }
    }
}

fn tls(settings: &Settings) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if settings.uri.scheme_str() != Some("https") {
        // Nobody to trust: it is never used.
        return Ok(builder
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth());
    }
    let Some(path) = &settings.certificate else {
        let builder = builder.with_native_roots();
        let builder = builder.map_err(|error| format!("the system's certificates: {error}"))?;
        return Ok(builder.with_no_client_auth());
    };
    let bad = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
        let certificate = certificate.map_err(|error| bad(&error))?;
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    if roots.is_empty() {
        return Err(bad(&"no certificate in it"));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn request(settings: &Settings, message: Bytes) -> Result<Request<Full<Bytes>>, String> {
    let is_gzip = settings.compression == Compression::Gzip;
    let message = if is_gzip { gzip(&message)? } else { message };
    let mut request = Request::post(settings.uri.clone());
    if let Some(headers) = request.headers_mut() {
        headers.extend(settings.headers.clone());
        let agent = concat!("OTel-OTLP-Exporter-strata/", env!("CARGO_PKG_VERSION"));
        headers.insert("user-agent", HeaderValue::from_static(agent));
        let (kind, encoding) = match settings.protocol {
            TraceProtocol::HttpProtobuf => ("application/x-protobuf", "content-encoding"),
            TraceProtocol::Grpc => ("application/grpc", "grpc-encoding"),
        };
        headers.insert("content-type", HeaderValue::from_static(kind));
        if is_gzip {
            headers.insert(encoding, HeaderValue::from_static("gzip"));
        }
        if settings.protocol == TraceProtocol::Grpc {
            headers.insert("te", HeaderValue::from_static("trailers"));
        }
    }
    let body = match settings.protocol {
        TraceProtocol::HttpProtobuf => message,
        TraceProtocol::Grpc => framed(&message, is_gzip)?,
    };
    request.body(Full::new(body)).map_err(|error| error.to_string())
}

/// A message as gRPC frames it.
fn framed(message: &[u8], is_gzip: bool) -> Result<Bytes, String> {
    let length = u32::try_from(message.len()).map_err(|error| error.to_string())?;
    let mut framed = Vec::with_capacity(5 + message.len());
    framed.push(u8::from(is_gzip));
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    Ok(framed.into())
}

fn gzip(message: &[u8]) -> Result<Bytes, String> {
    let mut to = GzEncoder::new(Vec::new(), Level::fast());
    let written = to.write_all(message).and_then(|()| to.finish());
    written.map(Bytes::from).map_err(|error| error.to_string())
}

/// An error with its causes, the last of which says what is wrong.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    plain(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_gets_one_and_another_stays() {
        let of = |url, protocol| uri_of(url, protocol).unwrap().to_string();
        let http = TraceProtocol::HttpProtobuf;
        assert_eq!(of("http://a:4318", http), "http://a:4318/v1/traces");
        assert_eq!(of("http://a:4318/", http), "http://a:4318/");
        assert_eq!(of("https://a/x/v1/traces", http), "https://a/x/v1/traces");
        let wanted = format!("https://a:4317{GRPC_PATH}");
        assert_eq!(of("https://a:4317/v1/traces", TraceProtocol::Grpc), wanted);
    }
}
