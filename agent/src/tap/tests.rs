//! Tests of the tap: what listeners get, and what it costs when they are slow.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use agent_common::conn::Protocol;
use agent_common::head::Method;
use agent_common::parts::{PARTS, Part, Split};

use super::listener::MAX_QUEUED_BYTES;
use super::listeners::MAX_LISTENERS;
use super::query::{Query, Targets};
use super::traced::{NOTICE_PREFIX, Notice, Traced};
use super::*;
use crate::attribution::identity::{ContainerInfo, Identity};
use crate::attribution::services::{ServiceKey, Services};
use crate::event::call::{Call, Caller};
use crate::event::ids::ContainerId;
use crate::event::request::Request;
use crate::sys::clock;

/// A request of 1 ms that began at this millisecond.
pub(super) fn request(at_ms: u64) -> Request {
    let arrival_ns = at_ms * 1_000_000;
    let mut ns = [0; PARTS];
    ns[Part::Cpu as usize] = 300_000;
    ns[Part::Unknown as usize] = 700_000;
    Request {
        service: 0,
        arrival_ns,
        read_ns: arrival_ns + 1_000,
        end_ns: arrival_ns + 1_000_000,
        parts: Split { ns, overrun_ns: 0 },
        path: Some("/x".into()),
        ..Request::sample(1_000_000)
    }
}

/// A call of that goroutine, sent at this time.
pub(super) fn call(sent_ns: u64) -> Call {
    Call {
        service: 0,
        protocol: Protocol::Opaque,
        method: Method::None,
        status: 0,
        flags: 0,
        caller: Caller::Sender,
        tgid: 10,
        tid: 99,
        goid: 12,
        request_read_ns: 0,
        retransmits: 0,
        sent_ns,
        ready_ns: sent_ns + 10,
        read_ns: sent_ns + 20,
        end_ns: sent_ns + 30,
        bytes_out: 1,
        bytes_in: 1,
        loss_ns: 0,
        netns: 1,
        local: (Ipv6Addr::LOCALHOST, 40_001),
        peer: (Ipv6Addr::from(0xffff_0a01_0203_u128), 6379),
    }
}

/// The identity of a workload without a pod.
pub(super) fn identity(workload: &str) -> Identity {
    let nothing: Arc<str> = Arc::from("");
    Identity {
        namespace: nothing.clone(),
        pod: nothing.clone(),
        container: nothing,
        workload: workload.into(),
    }
}

/// One service, of index 0, in a container if there is an id.
pub(super) fn services(identity: Identity, container_id: &str) -> Services {
    let info = ContainerId::parse(container_id).map(|container_id| ContainerInfo {
        container_id,
        runtime: None,
        pod_uid: None,
    });
    let mut services = Services::default();
    let key = ServiceKey::Host(identity.clone());
    services.get_or_add(&key, || (Some(identity), info));
    services
}

fn listen(tap: &mut Tap, query: Query) -> Stream {
    tap.listen(&query).unwrap()
}

/// What has been sent: requests and notices, in order.
pub(super) fn lines(stream: &mut Stream) -> (Vec<Traced<'static>>, Vec<Notice>) {
    let (mut requests, mut notices) = (Vec::new(), Vec::new());
    while let Ok(chunk) = stream.chunks.try_recv() {
        stream.queued_bytes.fetch_sub(chunk.len(), std::sync::atomic::Ordering::Relaxed);
        assert_eq!(chunk.last(), Some(&b'\n'), "chunks hold whole lines");
        for line in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if line.starts_with(NOTICE_PREFIX) {
                notices.push(serde_json::from_slice(line).unwrap());
            } else {
                requests.push(serde_json::from_slice(line).unwrap());
            }
        }
    }
    (requests, notices)
}

#[test]
fn without_listeners_it_is_idle_and_with_one_it_is_not() {
    let mut tap = Tap::default();
    assert!(tap.is_idle());
    let stream = listen(&mut tap, Query::default());
    assert!(!tap.is_idle());
    drop(stream);
    tap.flush();
    assert!(tap.is_idle(), "who has gone is forgotten");
}

#[test]
fn a_request_is_a_line_with_its_identity_and_parts() {
    let mut tap = Tap::default();
    let mut stream = listen(&mut tap, Query { paths: true, ..Query::default() });
    tap.request(&request(5), services(identity("process/api"), "").get(0));
    tap.flush();
    let (requests, notices) = lines(&mut stream);
    assert_eq!(notices, [Notice::Begin]);
    let [line] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(
        (&*line.workload, &*line.method, line.path.as_deref()),
        ("process/api", "GET", Some("/x"))
    );
    assert_eq!(line.parts.0.iter().sum::<u64>(), line.wall_ns);
    assert_eq!((&*line.client, line.server_port, &*line.unit), ("[::1]:40000", 8080, "goroutine"));
    let now_ns = clock::unix_ns();
    let unix_ns = line.end_unix_ns - line.end_ns + clock::monotonic_ns();
    assert!(now_ns.abs_diff(unix_ns) < 1_000_000_000, "{line:?}");
}

#[test]
fn a_path_is_shown_to_who_asked_for_it_or_where_they_are_kept_anyway() {
    let mut tap = Tap::default();
    let mut plain = listen(&mut tap, Query::default());
    assert!(!tap.wants_paths());
    let of_path = Query { path: Some("/x*".to_owned()), ..Query::default() };
    let mut asking = listen(&mut tap, of_path);
    assert!(tap.wants_paths());
    tap.request(&request(5), None);
    tap.set_keeps_paths(true);
    tap.request(&request(6), None);
    tap.flush();
    let paths = |stream: &mut Stream| {
        let (requests, _) = lines(stream);
        requests.into_iter().map(|request| request.path.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&mut plain), [false, true]);
    assert_eq!(paths(&mut asking), [true, true]);
}

#[test]
fn each_listener_gets_what_it_means_and_ends_after_its_count() {
    let mut tap = Tap::default();
    let targets = Targets { ports: vec![1], ..Targets::default() };
    let mut none = listen(&mut tap, Query { targets, ..Query::default() });
    let mut two = listen(&mut tap, Query { count: 2, ..Query::default() });
    for at_ms in 0..5 {
        tap.request(&request(at_ms), None);
    }
    tap.flush();
    assert_eq!(lines(&mut none).0.len(), 0);
    let (requests, notices) = lines(&mut two);
    assert_eq!(requests.len(), 2);
    assert_eq!(notices.last(), Some(&Notice::End { requests: 2, dropped: 0 }));
    assert!(matches!(
        two.chunks.try_recv(),
        Err(tokio::sync::mpsc::error::TryRecvError::Disconnected)
    ));
    assert_eq!(tap.listeners.len(), 1);
}

#[test]
fn what_is_held_back_comes_when_the_listener_finishes() {
    let mut tap = Tap::default();
    let mut stream = listen(&mut tap, Query::default());
    let mut waiting = request(5);
    waiting.work.calls = 1;
    tap.request(&waiting, None);
    tap.flush();
    assert_eq!(lines(&mut stream).0.len(), 0);
    tap.follow(Order::Finish { id: stream.id });
    let (requests, notices) = lines(&mut stream);
    assert_eq!(requests[0].flags, ["calls_missing"]);
    assert_eq!(notices.last(), Some(&Notice::End { requests: 1, dropped: 0 }));
    assert!(tap.is_idle());
}

#[test]
fn a_slow_listener_loses_requests_is_told_how_many_and_holds_no_more_than_its_bound() {
    let mut tap = Tap::default();
    let mut slow = listen(&mut tap, Query::default());
    let mut sent = 0;
    while tap.listeners[0].dropped < 100 {
        tap.request(&request(sent), None);
        tap.flush();
        sent += 1;
        assert!(sent < 100_000, "there is a bound");
    }
    let queued = slow.queued_bytes.load(std::sync::atomic::Ordering::Relaxed);
    assert!(queued <= MAX_QUEUED_BYTES + 4096, "{queued}");
    let (before, _) = lines(&mut slow);
    tap.flush();
    let (rest, notices) = lines(&mut slow);
    assert_eq!(notices, [Notice::Dropped { requests: 100 }], "told without a further request");
    tap.follow(Order::Finish { id: slow.id });
    let (_, notices) = lines(&mut slow);
    let requests = (before.len() + rest.len()) as u64;
    assert_eq!(notices, [Notice::End { requests, dropped: 100 }]);
    assert_eq!(requests + 100, sent, "none is missing without a word");
}

#[test]
fn there_are_few_listeners() {
    let mut tap = Tap::default();
    let streams: Vec<_> = (0..MAX_LISTENERS).map(|_| listen(&mut tap, Query::default())).collect();
    assert_eq!(tap.listen(&Query::default()).unwrap_err(), Refusal::Full { max: MAX_LISTENERS });
    drop(streams);
    assert!(tap.listen(&Query::default()).is_ok(), "places are free again");
}

#[test]
fn sampling_is_told_when_it_changes_and_at_the_beginning() {
    let mut tap = Tap::default();
    let mut first = listen(&mut tap, Query::default());
    tap.set_sample_shift(3);
    tap.set_sample_shift(3);
    let mut second = listen(&mut tap, Query::default());
    tap.set_sample_shift(0);
    tap.flush();
    let told = |one_in| Notice::Sampling { one_in };
    assert_eq!(lines(&mut first).1, [Notice::Begin, told(8), told(1)]);
    assert_eq!(lines(&mut second).1, [Notice::Begin, told(8), told(1)]);
}

#[test]
fn requests_that_never_came_are_told_from_when_one_listens_on() {
    let mut tap = Tap::default();
    tap.set_unseen(7);
    let mut stream = listen(&mut tap, Query::default());
    for total in [7, 10, 10, 2, 3] {
        tap.set_unseen(total);
    }
    tap.flush();
    let told = |requests| Notice::Unseen { requests };
    assert_eq!(lines(&mut stream).1, [Notice::Begin, told(3), told(1)]);
}

#[tokio::test]
async fn a_connection_gets_its_stream_and_its_end_through_the_channel() {
    let (source, mut orders) = channel();
    let worker = async {
        let mut tap = Tap::default();
        tap.follow(orders.next().await);
        tap.request(&request(1), None);
        tap.flush();
        tap.follow(orders.next().await);
    };
    let connection = async {
        let mut stream = source.listen(Query::default()).await.unwrap();
        source.finish(&stream).await;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend(chunk);
        }
        String::from_utf8(bytes).unwrap()
    };
    let both = async { tokio::join!(worker, connection).1 };
    let text = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[tokio::test]
async fn without_a_worker_nobody_listens() {
    let (source, orders) = channel();
    drop(orders);
    assert_eq!(source.listen(Query::default()).await.unwrap_err(), Refusal::Busy);
}
