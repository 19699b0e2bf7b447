//! A real OpenTelemetry Collector, and endpoints of spans that are not well.
//!
//! Separate because it is the reader that spans are written for.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::agent_process::free_port;
use crate::process::Process;
use crate::{apps, eventually};

/// How long a Collector may take until it listens.
const LISTENS: Duration = Duration::from_secs(60);

/// Where a Collector listens, and by which certificate.
#[derive(Clone, Debug)]
pub struct Place {
    /// For gRPC.
    pub grpc: SocketAddr,
    /// For HTTP.
    pub http: SocketAddr,
    /// Certificate and key, PEM files; `None`: without TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Place {
    /// Two ports that were free a moment ago.
    ///
    /// # Errors
    /// When none can be had.
    pub fn free() -> anyhow::Result<Self> {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { grpc: at(free_port()?), http: at(free_port()?), tls: None })
    }
}

/// A running Collector that writes what it gets to a file; it ends with this
/// value.
#[derive(Debug)]
pub struct Collector {
    process: Process,
    place: Place,
    dir: tempfile::TempDir,
}

/// A span as the Collector has it, with what its resource says.
#[derive(Clone, Debug)]
pub struct Span {
    /// Attributes of its resource, as text.
    pub resource: BTreeMap<String, String>,
    /// Its own, as text; numbers in their shortest form.
    pub attributes: BTreeMap<String, String>,
    /// Name.
    pub name: String,
    /// 2 for a server's, 3 for a client's.
    pub kind: u64,
    /// Its trace.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// Its parent's; empty for none.
    pub parent: String,
    /// Unix time, nanoseconds.
    pub start_ns: u64,
    /// Unix time, nanoseconds.
    pub end_ns: u64,
    /// Names and times of its events.
    pub events: Vec<(String, u64)>,
    /// Code of its status; 2 for an error.
    pub status: u64,
    /// Traces and spans that it points to.
    pub links: Vec<(String, String)>,
}

/// Kind of a server's span.
pub const SERVER: u64 = 2;
/// Kind of a client's span.
pub const CLIENT: u64 = 3;

impl Span {
    /// An attribute; empty if it is not there.
    #[must_use]
    pub fn get(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// End less start.
    #[must_use]
    pub fn wall_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// Sum of its parts, seconds.
    #[must_use]
    pub fn parts(&self) -> f64 {
        let parts = self.attributes.iter().filter(|(key, _)| key.starts_with("strata.part."));
        parts.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
    }
}

impl Collector {
    /// Starts one on free ports and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be built, or does not listen in time.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_at(Place::free()?)
    }

    /// The same at a place of one's own.
    ///
    /// # Errors
    /// As [`Collector::start`].
    pub fn start_at(place: Place) -> anyhow::Result<Self> {
        Self::start_with(place, None)
    }

    /// One that also judges whole traces, by these policies of its tail sampling
    /// (in YAML, on one line): what it keeps is in [`Collector::kept`].
    ///
    /// # Errors
    /// As [`Collector::start`].
    pub fn start_judging(policies: &str) -> anyhow::Result<Self> {
        Self::start_with(Place::free()?, Some(policies))
    }

    fn start_with(place: Place, policies: Option<&str>) -> anyhow::Result<Self> {
        let binary = apps::collector()?;
        let dir = tempfile::Builder::new().prefix("strata-collector").tempdir()?;
        let config = dir.path().join("collector.yaml");
        std::fs::write(&config, config_text(&place, dir.path(), policies))?;
        let mut command = Command::new(binary);
        command.arg("--config").arg(&config);
        let mut process = Process::spawn(&mut command, dir.path(), "collector")?;
        let listens = eventually::until(LISTENS, || {
            if process.try_wait().is_some() {
                return Some(false);
            }
            let is_open = |at| TcpStream::connect_timeout(at, Duration::from_secs(1)).is_ok();
            (is_open(&place.grpc) && is_open(&place.http)).then_some(true)
        });
        anyhow::ensure!(listens == Some(true), "no Collector: {}", process.stderr());
        Ok(Self { process, place, dir })
    }

    /// Where it listens.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Everything it got, as it wrote it.
    #[must_use]
    pub fn raw(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("spans.jsonl")).unwrap_or_default()
    }

    /// Every span that it got.
    ///
    /// # Errors
    /// When a line that is whole is not what the file exporter documents.
    pub fn spans(&self) -> anyhow::Result<Vec<Span>> {
        self.spans_in("spans.jsonl")
    }

    /// Every span of the traces that its tail sampling kept.
    ///
    /// # Errors
    /// As [`Collector::spans`].
    pub fn kept(&self) -> anyhow::Result<Vec<Span>> {
        self.spans_in("kept.jsonl")
    }

    fn spans_in(&self, name: &str) -> anyhow::Result<Vec<Span>> {
        let text = std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        let mut spans = Vec::new();
        for line in whole.lines() {
            let line: Value = serde_json::from_str(line).context("a line of the Collector")?;
            for of in array(&line["resourceSpans"]) {
                let resource = attributes(&of["resource"]);
                let all = array(&of["scopeSpans"]).iter().flat_map(|of| array(&of["spans"]));
                for one in all {
                    spans.push(span(one, &resource)?);
                }
            }
        }
        Ok(spans)
    }
}

fn config_text(place: &Place, dir: &Path, policies: Option<&str>) -> String {
    let tls = place.tls.as_ref().map_or(String::new(), |(certificate, key)| {
        format!(", tls: {{cert_file: {}, key_file: {}}}", certificate.display(), key.display())
    });
    let (grpc, http, dir) = (place.grpc, place.http, dir.display());
    // A trace is whole when its first span comes: it leaves the agent as one.
    let judges = policies.map_or(String::new(), |policies| {
        format!("processors:\n  tail_sampling: {{decision_wait: 3s, policies: {policies}}}\n")
    });
    let judged = policies.map_or("", |_| {
        "    traces/kept: {receivers: [otlp], processors: [tail_sampling], exporters: [file/kept]}\n"
    });
    format!(
        "{judges}receivers:
  otlp:
    protocols:
      grpc: {{endpoint: \"{grpc}\"{tls}}}
      http: {{endpoint: \"{http}\"{tls}}}
exporters:
  file: {{path: {dir}/spans.jsonl, flush_interval: 100ms}}
  file/kept: {{path: {dir}/kept.jsonl, flush_interval: 100ms}}
service:
  pipelines:
    traces: {{receivers: [otlp], exporters: [file]}}
{judged}"
    )
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| match value.as_object().and_then(|one| one.values().next()) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let key = |one: &Value| one["key"].as_str().unwrap_or_default().to_owned();
    array(&of["attributes"]).iter().map(|one| (key(one), text(&one["value"]))).collect()
}

fn span(of: &Value, resource: &BTreeMap<String, String>) -> anyhow::Result<Span> {
    let text = |key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let nanoseconds = |of: &Value| of.as_str().and_then(|text| text.parse::<u64>().ok());
    let events = array(&of["events"]).iter().map(|event| {
        let name = event["name"].as_str().unwrap_or_default().to_owned();
        Ok((name, nanoseconds(&event["timeUnixNano"]).context("an event without a time")?))
    });
    Ok(Span {
        resource: resource.clone(),
        attributes: attributes(of),
        name: text("name"),
        kind: of["kind"].as_u64().unwrap_or_default(),
        trace: text("traceId"),
        id: text("spanId"),
        parent: text("parentSpanId"),
        start_ns: nanoseconds(&of["startTimeUnixNano"]).context("no start")?,
        end_ns: nanoseconds(&of["endTimeUnixNano"]).context("no end")?,
        events: events.collect::<anyhow::Result<_>>()?,
        status: of["status"]["code"].as_u64().unwrap_or_default(),
        links: array(&of["links"])
            .iter()
            .map(|link| ["traceId", "spanId"].map(|key| link[key].as_str().unwrap_or_default()))
            .map(|[trace, span]| (trace.to_owned(), span.to_owned()))
            .collect(),
    })
}

/// What an endpoint does that is not well.
#[derive(Clone, Copy, Debug)]
pub enum Illness {
    /// It takes connections and says nothing.
    Hangs,
    /// It answers with these bytes, after this pause.
    Answers(&'static str, Duration),
}

/// An endpoint that is not well; it ends with this value.
#[derive(Debug)]
pub struct IllEndpoint {
    addr: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl IllEndpoint {
    /// One on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(illness: Illness) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening")?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut held = Vec::new();
            while !over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => match illness {
                        Illness::Hangs => held.push(stream),
                        Illness::Answers(bytes, pause) => answer(stream, bytes, pause),
                    },
                    Err(_) => std::thread::sleep(Duration::from_millis(10)),
                }
            }
        });
        Ok(Self { addr, is_over, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for IllEndpoint {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads a request to its end, or what there is of it within a second, and
/// answers. Who sent it may have gone.
fn answer(mut stream: TcpStream, bytes: &str, pause: Duration) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut got = Vec::new();
    let mut block = [0; 16 << 10];
    while !is_whole(&got) {
        match stream.read(&mut block) {
            Ok(length @ 1..) => got.extend_from_slice(block.get(..length).unwrap_or_default()),
            _ => break,
        }
    }
    std::thread::sleep(pause);
    let _ = stream.write_all(bytes.as_bytes());
}

/// Whether a request's head and as much body as it announces are there.
fn is_whole(got: &[u8]) -> bool {
    let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(got.get(..end).unwrap_or_default()).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|text| text.trim().parse::<usize>().ok()).unwrap_or(0);
    got.len() >= end + 4 + length
}
