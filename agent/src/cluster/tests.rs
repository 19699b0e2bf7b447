//! The watch against an API server of ours, in memory: it answers by a script,
//! and says what it was asked.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use hyper::{Request, Response};
use kube::Client;
use kube::runtime::utils::Backoff;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tower::{Layer, Service};

use super::meter::Meter;
use super::watch::{Ended, Rhythm, follow};
use super::{Place, run};
use crate::event::ids::PodUid;
use crate::event::pod::PodUpdate;
use crate::telemetry::Own;
use crate::telemetry::metadata::{MetadataError, MetadataRequest, MetadataState};

/// What the server does with a request.
enum Answer {
    /// A status and a whole body.
    Text(u16, String),
    /// A body that grows; it ends when the other end is dropped.
    Lines(mpsc::UnboundedReceiver<String>),
    /// There is no connection.
    Refused,
    /// Nothing, ever.
    Silent,
}

/// The server: without an answer left it is silent.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

struct Answered(Option<Bytes>, Option<mpsc::UnboundedReceiver<String>>);

impl Body for Answered {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(whole) = self.0.take() {
            return Poll::Ready(Some(Ok(Frame::data(whole))));
        }
        let Some(lines) = &mut self.1 else { return Poll::Ready(None) };
        lines.poll_recv(context).map(|line| Some(Ok(Frame::data(format!("{}\n", line?).into()))))
    }
}

impl<In: Send + 'static> Service<Request<In>> for Server {
    type Response = Response<Answered>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answered>, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        self.asked.lock().unwrap().push(request.uri().to_string());
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Silent);
        Box::pin(async move {
            let (status, body) = match answer {
                Answer::Text(status, text) => (status, Answered(Some(text.into()), None)),
                Answer::Lines(lines) => (200, Answered(None, Some(lines))),
                Answer::Refused => return Err(std::io::ErrorKind::ConnectionRefused.into()),
                Answer::Silent => std::future::pending().await,
            };
            Ok(Response::builder().status(status).body(body).unwrap())
        })
    }
}

/// Pauses that a test can wait for.
struct Short;

impl Iterator for Short {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(5))
    }
}

impl Backoff for Short {
    fn reset(&mut self) {}
}

fn uid(n: u8) -> String {
    format!("cb2635a6-d721-417d-9ff1-46f7403230{n:02}")
}

fn pod(n: u8, version: u32) -> serde_json::Value {
    json!({
        "metadata": {"name": format!("api-{n}"), "namespace": "shop", "uid": uid(n),
            "resourceVersion": version.to_string(), "labels": {"app": "api"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "api"}]},
    })
}

fn list(pods: &[u8], token: &str) -> Answer {
    let items: Vec<_> = pods.iter().map(|n| pod(*n, 7)).collect();
    let metadata = json!({"resourceVersion": "10", "continue": token});
    Answer::Text(
        200,
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items})
            .to_string(),
    )
}

fn event(kind: &str, object: serde_json::Value) -> String {
    json!({"type": kind, "object": object}).to_string()
}

fn status(code: u16) -> Answer {
    let text = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": "no", "reason": "x", "metadata": {}});
    Answer::Text(code, text.to_string())
}

/// What is told, in few words: `all 1 2`, `+3`, `-1`.
fn words(update: &PodUpdate) -> String {
    let number =
        |uid: &PodUid| uid.as_str().rsplit_once("403230").unwrap().1.parse::<u8>().unwrap();
    match update {
        PodUpdate::All { pods, .. } => pods.iter().fold("all".to_owned(), |text, pod| {
            text + &format!(" {}", number(pod.uid.as_ref().unwrap()))
        }),
        PodUpdate::Applied(pod) => format!("+{}", number(pod.uid.as_ref().unwrap())),
        PodUpdate::Gone(uid) => format!("-{}", number(uid)),
    }
}

/// A watch of a server, and what came of it.
struct Watched {
    server: Server,
    own: Arc<Own>,
    told: Rc<RefCell<Vec<String>>>,
    keys: watch::Sender<Arc<[String]>>,
    task: tokio::task::JoinHandle<Ended>,
}

impl Watched {
    fn begin(answers: impl IntoIterator<Item = Answer>) -> Self {
        let server = Server::default();
        server.answers.lock().unwrap().extend(answers);
        let own = Arc::new(Own::default());
        own.metadata.set_on();
        let client = Client::new(Meter::new(Arc::clone(&own)).layer(server.clone()), "default");
        let (keys, mut asked) = watch::channel(Arc::from(["app".to_owned()]));
        let told = Rc::new(RefCell::new(Vec::new()));
        let (telling, counting) = (Rc::clone(&told), Arc::clone(&own));
        let task = tokio::task::spawn_local(async move {
            let place = Place { node_name: "n1".to_owned(), kubeconfig: None };
            let rhythm = Rhythm { list_timeout: Duration::from_millis(300), pauses: || Short };
            let tell = async |update: PodUpdate| {
                telling.borrow_mut().push(words(&update));
                true
            };
            follow(client, &place, &counting, &mut asked, rhythm, &tell).await
        });
        Self { server, own, told, keys, task }
    }

    /// Waits until this was told, all of it, in this order.
    async fn until(&self, expected: &[&str]) {
        for _ in 0..500 {
            if self.told.borrow().as_slice() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("told {:?}, not {expected:?}; asked {:?}", self.told.borrow(), self.asked());
    }

    fn asked(&self) -> Vec<String> {
        self.server.asked.lock().unwrap().clone()
    }

    fn errors(&self) -> Vec<(MetadataError, u64)> {
        let all = MetadataError::ALL.map(|reason| (reason, self.own.metadata.errors(reason)));
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

fn lines() -> (mpsc::UnboundedSender<String>, Answer) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Answer::Lines(receiver))
}

/// Runs a test on one thread, as the agent does.
fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn pods_are_listed_from_the_servers_memory_then_watched() {
    block_on(async {
        let (server, watching) = lines();
        let watched = Watched::begin([list(&[1], "more"), list(&[2], ""), watching]);
        watched.until(&["all 1 2"]).await;
        assert_eq!(watched.own.metadata.state(), MetadataState::Watching);
        server.send(event("ADDED", pod(3, 11))).unwrap();
        server.send(event("MODIFIED", pod(1, 12))).unwrap();
        server.send(event("DELETED", pod(2, 13))).unwrap();
        watched.until(&["all 1 2", "+3", "+1", "-2"]).await;
        let [first, second, third] = watched.asked().try_into().unwrap();
        for asked in [&first, &second, &third] {
            assert!(
                asked.starts_with("/api/v1/pods?")
                    && asked.contains("fieldSelector=spec.nodeName%3Dn1"),
                "{asked}"
            );
        }
        assert!(first.contains("resourceVersion=0") && !first.contains("limit="), "{first}");
        assert!(second.contains("continue=more"), "{second}");
        assert!(
            third.contains("watch=true") && third.contains("allowWatchBookmarks=true"),
            "{third}"
        );
        assert!(third.contains("resourceVersion=10"), "{third}");
        assert_eq!(watched.errors(), []);
        assert_eq!(MetadataRequest::ALL.map(|of| watched.own.metadata.requests(of)), [2, 1]);
    });
}

#[test]
fn a_watch_that_ends_goes_on_from_its_last_bookmark_without_a_list() {
    block_on(async {
        let (server, first) = lines();
        let (again, second) = lines();
        let watched = Watched::begin([list(&[1], ""), first, second]);
        watched.until(&["all 1"]).await;
        server
            .send(event(
                "BOOKMARK",
                json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"resourceVersion": "99"}}),
            ))
            .unwrap();
        drop(server);
        again.send(event("ADDED", pod(2, 100))).unwrap();
        watched.until(&["all 1", "+2"]).await;
        assert!(watched.asked()[2].contains("resourceVersion=99"), "{:?}", watched.asked());
        assert_eq!(watched.errors(), []);
        assert_eq!(watched.own.metadata.requests(MetadataRequest::Watch), 2);
    });
}

#[test]
fn after_410_gone_everything_is_listed_again() {
    block_on(async {
        let (server, first) = lines();
        let (_again, second) = lines();
        let watched = Watched::begin([list(&[1, 2], ""), first, list(&[2, 3], ""), second]);
        watched.until(&["all 1 2"]).await;
        let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
            "reason": "Expired", "message": "too old resource version", "metadata": {}});
        server.send(event("ERROR", gone)).unwrap();
        watched.until(&["all 1 2", "all 2 3"]).await;
        assert_eq!(watched.errors(), [(MetadataError::Gone, 1)]);
        assert_eq!(watched.own.metadata.state(), MetadataState::Watching);
    });
}

#[test]
fn what_is_refused_is_counted_by_reason_and_asked_again() {
    block_on(async {
        let (_server, watching) = lines();
        let watched = Watched::begin([
            status(403),
            status(401),
            Answer::Refused,
            status(500),
            status(429),
            Answer::Text(200, "<html>not found</html>".to_owned()),
            Answer::Text(502, "bad gateway".to_owned()),
            list(&[1], ""),
            // Rights to list and not to watch.
            status(403),
            watching,
        ]);
        watched.until(&["all 1"]).await;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if watched.asked().len() == 10
                && watched.own.metadata.state() == MetadataState::Watching
            {
                break;
            }
        }
        let expected = [
            (MetadataError::Unauthorized, 1),
            (MetadataError::Forbidden, 2),
            (MetadataError::Unreachable, 1),
            (MetadataError::Server, 3),
            (MetadataError::Garbage, 1),
        ];
        assert_eq!(watched.errors(), expected);
        assert_eq!(watched.own.metadata.state(), MetadataState::Watching);
    });
}

#[test]
fn garbage_in_a_watch_costs_that_line_and_no_more() {
    block_on(async {
        let (server, watching) = lines();
        let watched = Watched::begin([list(&[1], ""), watching]);
        watched.until(&["all 1"]).await;
        let mut elsewhere = pod(4, 12);
        elsewhere["spec"]["nodeName"] = json!("n2");
        for line in ["{\"type\": 7}", "\u{0}\u{1}garbage", "[]"] {
            server.send(line.to_owned()).unwrap();
        }
        server.send(event("ADDED", elsewhere)).unwrap();
        server.send(event("ADDED", pod(2, 13))).unwrap();
        watched.until(&["all 1", "+2"]).await;
        assert_eq!(watched.errors(), [(MetadataError::Garbage, 4)]);
        assert_eq!(watched.asked().len(), 2, "the watch goes on");
    });
}

#[test]
fn a_list_that_stays_silent_is_given_up() {
    block_on(async {
        let watched = Watched::begin([Answer::Silent]);
        let ended = tokio::time::timeout(Duration::from_secs(5), watched.task).await;
        assert!(matches!(ended, Ok(Ok(Ended::TimedOut))), "{ended:?}");
        assert_eq!(watched.own.metadata.age_ns(u64::MAX), None, "nothing was heard");
    });
}

#[test]
fn a_server_that_says_nothing_new_is_heard_all_the_same() {
    block_on(async {
        let (server, watching) = lines();
        let watched = Watched::begin([list(&[1], ""), watching]);
        watched.until(&["all 1"]).await;
        let now = crate::sys::clock::monotonic_ns;
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(watched.own.metadata.age_ns(now()).unwrap() >= 300_000_000);
        assert!(!watched.task.is_finished(), "a silent watch is no silent list");
        server.send(event("BOOKMARK", json!({"metadata": {"resourceVersion": "99"}}))).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(watched.own.metadata.age_ns(now()).unwrap() < 300_000_000);
    });
}

#[test]
fn other_labels_end_it_so_that_all_pods_are_told_again() {
    block_on(async {
        let (_server, watching) = lines();
        let watched = Watched::begin([list(&[1], ""), watching]);
        watched.until(&["all 1"]).await;
        watched.keys.send(Arc::from(["tier".to_owned()])).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(5), watched.task).await;
        assert!(matches!(ended, Ok(Ok(Ended::OtherLabels))), "{ended:?}");
    });
}

#[test]
fn without_a_way_to_the_server_it_is_tried_again_and_says_so() {
    block_on(async {
        let place = Place { node_name: "n1".to_owned(), kubeconfig: Some("/nonexistent".into()) };
        let own = Arc::new(Own::default());
        own.metadata.set_on();
        let (_keys, asked) = watch::channel(Arc::default());
        let counted = Arc::clone(&own);
        let task = tokio::task::spawn_local(run(place, own, asked, async |_| true));
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if counted.metadata.errors(MetadataError::Config) >= 2 {
                break;
            }
        }
        assert!(counted.metadata.errors(MetadataError::Config) >= 2 && !task.is_finished());
        assert_eq!(counted.metadata.state(), MetadataState::Failing);
        task.abort();
    });
}
