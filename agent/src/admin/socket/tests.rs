//! Tests of the protocol: both ends over a pair of sockets, and peers that
//! break the rules.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{any, proptest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::client::{Client, Error};
use super::server::{Limits, Sources, connection};
use super::{MAX_REQUEST_BYTES, Request};
use crate::aggregate::channel::{SnapshotPublisher, snapshot_channel};
use crate::aggregate::labels::{Identity, LabelSet};
use crate::aggregate::snapshot::{Snapshot, Value};
use crate::export::json::Feed;
use crate::metrics::workload::REQUESTS;

fn feed() -> (Feed, SnapshotPublisher) {
    let (source, mut publisher) = snapshot_channel();
    publisher.publish(Arc::new(Snapshot::new(7)), None);
    (Feed::new(source), publisher)
}

/// A feed, and a tap that is nobody's.
fn sources(feed: Feed) -> Sources {
    Sources { feed, taps: crate::tap::channel().0 }
}

/// A snapshot whose line is larger than what a socket holds.
fn large() -> Snapshot {
    let mut snapshot = Snapshot::new(7);
    for i in 0..5000 {
        let identity = Identity::new("", "", "", &format!("process/{i:0200}"));
        let labels = LabelSet::new(&REQUESTS, Some(&identity), &["exported"]);
        snapshot.family(&REQUESTS).push(labels, Value::Counter(1.0));
    }
    snapshot
}

/// Sends these bytes, and gives what comes back until the end.
async fn exchange(bytes: &[u8], limits: Limits) -> String {
    let (mut near, far) = UnixStream::pair().unwrap();
    let (feed, _publisher) = feed();
    let (_stop, stopped) = watch::channel(());
    let peer = async {
        // The other end may be gone before all is written.
        let _ = near.write_all(bytes).await;
        let mut answer = String::new();
        let _ = near.read_to_string(&mut answer).await;
        answer
    };
    tokio::join!(peer, connection(far, sources(feed), limits, stopped)).0
}

#[tokio::test]
async fn one_line_is_answered_when_no_interval_is_asked_for() {
    let answer = exchange(&Request::workloads(None).line(), Limits::default()).await;
    assert_eq!(answer.lines().count(), 1, "{answer}");
    assert!(answer.starts_with("{\"version\":1,\"workloads\":{\"taken_unix_ns\":7,"), "{answer}");
}

#[tokio::test]
async fn lines_come_until_the_client_goes() {
    let (near, far) = UnixStream::pair().unwrap();
    let (feed, _publisher) = feed();
    let (_stop, stopped) = watch::channel(());
    let client = async {
        let mut client = Client::over(near);
        client.ask(&Request::workloads(Some(Duration::from_millis(100)))).await.unwrap();
        for _ in 0..3 {
            assert_eq!(client.next().await.unwrap().taken_unix_ns, 7);
        }
    };
    let both =
        async { tokio::join!(client, connection(far, sources(feed), Limits::default(), stopped)) };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("it ends with the client");
}

#[tokio::test]
async fn a_connection_ends_when_the_agent_stops() {
    let (near, far) = UnixStream::pair().unwrap();
    let (feed, _publisher) = feed();
    let (stop, stopped) = watch::channel(());
    let client = async {
        let mut client = Client::over(near);
        client.ask(&Request::workloads(Some(Duration::from_secs(60)))).await.unwrap();
        client.next().await.unwrap();
        drop(stop);
        client.next().await
    };
    let (last, ()) =
        tokio::join!(client, connection(far, sources(feed), Limits::default(), stopped));
    assert!(matches!(last, Err(Error::Ended)), "{last:?}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_the_reason() {
    for (line, reason) in [
        ("{}\n", "version"),
        ("GET / HTTP/1.1\n", "no request"),
        (r#"{"version":2,"verb":"workloads"}"#, "version 1, not 2"),
        (r#"{"version":1,"verb":"net"}"#, "`workloads`"),
        (r#"{"version":1,"verb":"workloads","query":{}}"#, "`query`"),
        (r#"{"version":1,"verb":"trace","interval_ms":1000}"#, "`interval_ms`"),
        (r#"{"version":1,"verb":"trace","query":{"slower":1}}"#, "slower"),
        (r#"{"version":1,"verb":"workloads","interval_ms":1}"#, "100 to 60000"),
        (r#"{"version":1,"verb":"workloads","all":true}"#, "all"),
    ] {
        let line = format!("{}\n", line.trim_end());
        let answer = exchange(line.as_bytes(), Limits::default()).await;
        assert!(answer.contains("\"error\":"), "{line}: {answer}");
        assert!(answer.contains(reason), "{line}: {answer}");
        assert!(!answer.contains("workloads\":{"), "{answer}");
    }
}

#[tokio::test]
async fn a_line_that_is_too_long_or_does_not_end_gets_nothing() {
    let limits = Limits { request_wait: Duration::from_millis(50), ..Limits::default() };
    assert_eq!(exchange(&vec![b'x'; 2 * MAX_REQUEST_BYTES], limits).await, "");
    assert_eq!(exchange(b"{\"version\":1", limits).await, "", "the wait is bounded");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let (mut near, far) = UnixStream::pair().unwrap();
    let (source, mut publisher) = snapshot_channel();
    publisher.publish(Arc::new(large()), None);
    let (_stop, stopped) = watch::channel(());
    near.write_all(&Request::workloads(Some(super::MIN_INTERVAL)).line()).await.unwrap();
    let limits = Limits { write_wait: Duration::from_millis(50), ..Limits::default() };
    let served = connection(far, sources(Feed::new(source)), limits, stopped);
    tokio::time::timeout(Duration::from_secs(20), served).await.expect("it does not wait for ever");
}

#[tokio::test]
async fn a_refusal_and_a_strange_answer_are_told_apart() {
    for (line, is_refusal) in [
        ("{\"version\":1,\"error\":\"no\"}\n", true),
        ("{\"version\":9}\n", false),
        ("{\"version\":1}\n", false),
        ("hello\n", false),
    ] {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(line.as_bytes()).await.unwrap();
        let error = Client::over(near).next().await.unwrap_err();
        assert_eq!(matches!(error, Error::Refused { .. }), is_refusal, "{line}: {error}");
        assert_eq!(matches!(error, Error::Malformed { .. }), !is_refusal, "{line}: {error}");
    }
}

#[tokio::test]
async fn no_agent_is_no_error() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("s.sock");
    assert!(Client::connect(&path).await.unwrap().is_none());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(Client::connect(&path).await.unwrap().is_none(), "one that was killed");
}

proptest! {
    #[test]
    fn any_request_line_is_answered_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::asked(&bytes);
    }
}
