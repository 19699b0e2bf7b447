//! The endpoints over real sockets; separate to keep the server short.

use super::readiness::Readiness;
use super::{server::Limits, *};
use crate::export::scrape::Scraper;
use crate::{
    aggregate::{
        channel::{SnapshotPublisher, snapshot_channel},
        labels::LabelSet,
        snapshot::{Snapshot, Value},
    },
    export::Detail,
    metrics::agent::QUEUE_DEPTH,
};
use flate2::read::GzDecoder;
use std::sync::Arc;
use std::{io::Read as _, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

const SHORT: Limits = Limits {
    connections: 4,
    head_wait: Duration::from_millis(300),
    age: Duration::from_millis(900),
    grace: Duration::from_millis(300),
};

struct Server {
    address: SocketAddr,
    publisher: SnapshotPublisher,
    readiness: Arc<Readiness>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// A server with `series` series of one gauge.
async fn start(limits: Limits, series: usize) -> Server {
    let (source, mut publisher) = snapshot_channel();
    let mut snapshot = Snapshot::new(1);
    for _ in 0..series {
        snapshot
            .family(&QUEUE_DEPTH)
            .push(LabelSet::new(&QUEUE_DEPTH, None, &[]), Value::Gauge(3.0));
    }
    publisher.publish(Arc::new(snapshot), None);
    let readiness = Arc::new(Readiness::new());
    let scraper = Scraper::new(source, Detail::Normal);
    let state = Arc::new(AdminState { scraper, readiness: Arc::clone(&readiness) });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let served = tokio::spawn(server::serve(listener, state, limits, shutdown));
    Server { address, publisher, readiness, stop, served }
}

/// Sends `request` and reads until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    answer
}

/// Status line, headers in lower case, body.
async fn get(address: SocketAddr, head: &str) -> (String, String, Vec<u8>) {
    let answer =
        exchange(address, &format!("{head}\r\nHost: test\r\nConnection: close\r\n\r\n")).await;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    (status.to_owned(), headers.to_lowercase(), answer[end + 4..].to_vec())
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let server = start(Limits::default(), 1).await;
    let (status, headers, body) = get(server.address, "GET /metrics?x=1 HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(
        headers.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{headers}"
    );
    assert!(!headers.contains("content-encoding"));
    assert!(String::from_utf8(body).unwrap().contains("\nstrata_agent_queue_depth 3\n"));

    // Two Accept lines are one list.
    let head = "GET /metrics HTTP/1.1\r\nAccept: text/plain;q=0.5\r\naccept: application/openmetrics-text;version=1.0.0\r\nAccept-Encoding: gzip";
    let (_, headers, body) = get(server.address, head).await;
    assert!(
        headers
            .contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{headers}"
    );
    assert!(headers.contains("content-encoding: gzip"), "{headers}");
    let mut text = String::new();
    GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_refused() {
    let server = start(Limits::default(), 1).await;
    for (head, expected) in [
        ("GET / HTTP/1.1", "200 OK"),
        ("GET /healthz HTTP/1.1", "200 OK"),
        ("GET /metrics/ HTTP/1.1", "404 Not Found"),
        ("GET /../metrics HTTP/1.1", "404 Not Found"),
        ("DELETE /nothing HTTP/1.1", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 0", "405 Method Not Allowed"),
        ("OPTIONS / HTTP/1.1", "405 Method Not Allowed"),
        ("GET /metrics HTTP/9.9", "505 HTTP Version Not Supported"),
    ] {
        let answer =
            exchange(server.address, &format!("{head}\r\nHost: test\r\nConnection: close\r\n\r\n"))
                .await;
        let status = String::from_utf8_lossy(&answer);
        let status = status.lines().next().unwrap_or_default();
        // What hyper says to an unknown version is hyper's choice of 4xx or 5xx.
        let is_expected = status == format!("HTTP/1.1 {expected}")
            || (head.ends_with("9.9") && (status.contains(" 4") || status.contains(" 5")));
        assert!(is_expected, "{head}: {status}");
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let server = start(Limits::default(), 1).await;
    let (status, headers, body) = get(server.address, "HEAD /healthz HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(headers.contains("content-length: 3"), "{headers}");
    assert_eq!(body, b"");
}

#[tokio::test]
async fn readiness_and_health_say_what_is_missing() {
    let server = start(Limits::default(), 1).await;
    let (status, _, body) = get(server.address, "GET /readyz HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(body, b"not ready: lanes are not attached yet\n");
    server.readiness.set_lanes_attached();
    server.readiness.set_first_sweep_done();
    let (status, ..) = get(server.address, "GET /readyz HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    drop(server.publisher);
    let (status, ..) = get(server.address, "GET /healthz HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let server = start(Limits::default(), 1).await;
    let request = "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let answer = exchange(server.address, &format!("{request}{request}{last}")).await;
    assert_eq!(String::from_utf8(answer).unwrap().matches("HTTP/1.1 200 OK").count(), 3);
}

#[tokio::test]
async fn peers_that_send_too_slowly_are_closed() {
    let server = start(SHORT, 1).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let started = Instant::now();
    // A byte at a time would keep a timeout of reads alive for ever.
    let mut answer = Vec::new();
    let drip = async {
        while stream.write_all(b"G").await.is_ok() && started.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if timeout(Duration::from_millis(1), stream.read_buf(&mut answer))
                .await
                .is_ok_and(|read| !matches!(read, Ok(1..)))
            {
                break;
            }
        }
    };
    drip.await;
    assert!(started.elapsed() < PATIENCE / 2);
    let (status, ..) = get(server.address, "GET /healthz HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn peers_that_read_nothing_are_closed_and_give_their_place_back() {
    // More than the socket buffers hold.
    let server = start(SHORT, 300_000).await;
    let mut stalled = Vec::new();
    for _ in 0..SHORT.connections {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        stalled.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    // All places are taken: the next is closed without an answer.
    assert!(is_refused(server.address).await);
    let started = Instant::now();
    while is_refused(server.address).await {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(stalled);
}

async fn is_refused(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    // Closed with our request unread, the socket may also be reset.
    let is_sent = stream.write_all(request).await.is_ok();
    let is_read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().is_ok();
    !(is_sent && is_read && answer.starts_with(b"HTTP/1.1 200"))
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_frees_the_port() {
    let server = start(Limits { head_wait: PATIENCE, age: PATIENCE, ..SHORT }, 1).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        assert_ne!(idle.read_buf(&mut answer).await.unwrap(), 0);
    }
    server.stop.send(()).unwrap();
    timeout(PATIENCE / 2, server.served).await.unwrap().unwrap();
    assert_eq!(timeout(PATIENCE, idle.read_to_end(&mut answer)).await.unwrap().unwrap(), 0);
    assert!(TcpStream::connect(server.address).await.is_err());
}
