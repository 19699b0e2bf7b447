//! Server and client over real sockets: what an agent is told, by whom, and what
//! it makes of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};

use super::client::{self, Place};
use super::directory::Directory;
use super::server::{State, Touch};
use super::wire::{MAX_ASKED, Question};
use crate::admin::server::{Limits, serve_with};
use crate::attribution::peers::Peers;
use crate::event::edge::Remote;
use crate::event::holder::{Holder, HolderKind, HolderUpdate};
use crate::event::peer::{Changed, PeersTold, PeersWanted};
use crate::sys::clock;
use crate::telemetry::Own;
use crate::telemetry::peers::PeersAnswer;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn address(n: u8) -> IpAddr {
    IpAddr::from([10, 1, 0, n])
}

fn pod(uid: u128, workload: &str, addresses: &[IpAddr]) -> HolderUpdate {
    HolderUpdate::Is(Holder {
        kind: HolderKind::Pod,
        uid,
        namespace: "shop".to_owned(),
        workload: workload.to_owned(),
        node: "n2".to_owned(),
        zone: String::new(),
        addresses: addresses.to_vec(),
    })
}

fn in_touch() -> Touch {
    let touch = Touch::default();
    for watch in touch.watches.iter().chain([&touch.probe]) {
        watch.metadata.set_on();
        watch.metadata.set_heard(clock::monotonic_ns());
        watch.metadata.set_listed();
    }
    touch
}

/// A server with two pods on two nodes, and what it takes to end it.
struct Server {
    state: Arc<State>,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(address: &str, touch: Touch) -> Self {
        let state = Arc::new(State::new(touch));
        for kind in HolderKind::ALL {
            state.update(HolderUpdate::Begin(kind));
            if kind == HolderKind::Pod {
                state.update(pod(1, "deployment/api", &[super::tests::address(1)]));
            }
            for (uid, node, zone) in [(11, "n1", "a"), (12, "n2", "b")] {
                if kind == HolderKind::Node {
                    state.update(HolderUpdate::Is(Holder {
                        kind,
                        uid,
                        namespace: String::new(),
                        workload: format!("node/{node}"),
                        node: node.to_owned(),
                        zone: zone.to_owned(),
                        addresses: vec![super::tests::address(200 + uid as u8)],
                    }));
                }
            }
            state.update(HolderUpdate::End(kind));
        }
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let answering = Arc::clone(&state);
        let answer = move |request| {
            let state = Arc::clone(&answering);
            async move { state.answer(request).await }
        };
        let stopped = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve_with(listener, answer, Limits::default(), stopped));
        Self { state, address, stop, task }
    }

    async fn stop(self) -> SocketAddr {
        drop(self.stop);
        self.task.await.unwrap();
        self.address
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// An agent that wants these addresses, and what it was told.
struct Agent {
    own: Arc<Own>,
    prompt: Arc<Notify>,
    told: Arc<Mutex<Vec<PeersTold>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Agent {
    fn start(url: String, wanted: PeersWanted) -> Self {
        let (own, prompt) = (Arc::new(Own::default()), Arc::new(Notify::new()));
        let told = Arc::new(Mutex::new(Vec::new()));
        let place = Place { url, node: "n1".to_owned() };
        let telling = Arc::clone(&told);
        let task = tokio::task::spawn_local(client::run(
            place,
            Arc::clone(&own),
            Arc::clone(&prompt),
            async move || Some(wanted.clone()),
            async move |told| {
                telling.lock().unwrap().push(told);
                true
            },
        ));
        Self { own, prompt, told, task }
    }

    /// Prompts until something is so.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let limit = tokio::time::Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(tokio::time::Instant::now() < limit, "told {:?}", self.told.lock().unwrap());
            self.prompt.notify_one();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn last(&self) -> Option<PeersTold> {
        self.told.lock().unwrap().last().cloned()
    }

    fn asks(&self, result: PeersAnswer) -> u64 {
        self.own.peers.asks(result)
    }
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn wanted() -> PeersWanted {
    // The last but one is on the asking node itself.
    let unknown = vec![address(1), address(9), address(211), address(212)];
    PeersWanted { unknown, known: vec![address(1)] }
}

fn names(told: &PeersTold) -> Vec<String> {
    let mut names: Vec<_> = told
        .found
        .iter()
        .map(|(address, name)| {
            let name = name.as_ref().map_or("-".to_owned(), |name| {
                format!("{}|{}|{}", name.namespace, name.workload, name.zone)
            });
            format!("{address} {name}")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn an_agent_is_told_names_and_what_changed_since() {
    block_on(async {
        let server = Server::start("127.0.0.1:0", in_touch()).await;
        let agent = Agent::start(server.url(), wanted());
        agent.until(|agent| agent.last().is_some()).await;
        let first = agent.told.lock().unwrap()[0].clone();
        let expected = [
            "10.1.0.1 shop|deployment/api|b",
            "10.1.0.211 -",
            "10.1.0.212 |node/n2|b",
            "10.1.0.9 -",
        ];
        assert_eq!((names(&first), &*first.zone), (expected.map(str::to_owned).to_vec(), "a"));
        assert_eq!(first.changed, Changed::All, "it had not heard this server");
        agent.until(|agent| agent.last().unwrap().changed == Changed::These(vec![])).await;
        server.state.update(pod(1, "deployment/api", &[]));
        let changed = Changed::These(vec![address(1)]);
        agent
            .until(|agent| agent.told.lock().unwrap().iter().any(|it| it.changed == changed))
            .await;
        agent.until(|agent| agent.last().unwrap().changed == Changed::These(vec![])).await;
        assert_eq!(names(&agent.last().unwrap())[0], "10.1.0.1 -");
        agent.task.abort();
    });
}

#[test]
fn a_server_that_ends_is_missed_and_another_in_its_place_is_heard() {
    block_on(async {
        let server = Server::start("127.0.0.1:0", in_touch()).await;
        let agent = Agent::start(server.url(), wanted());
        agent.until(|agent| agent.asks(PeersAnswer::Ok) >= 2).await;
        let address = server.stop().await;
        agent.until(|agent| agent.asks(PeersAnswer::Unreachable) > 0).await;
        assert!(!agent.own.peers.is_answering());
        let before = agent.told.lock().unwrap().len();
        let _server = Server::start(&address.to_string(), in_touch()).await;
        agent.until(|agent| agent.told.lock().unwrap().len() > before).await;
        let next = agent.told.lock().unwrap()[before].clone();
        assert_eq!(next.changed, Changed::All);
        assert!(agent.own.peers.is_answering());
        agent.task.abort();
    });
}

#[test]
fn a_server_that_is_out_of_touch_says_so_or_is_not_believed() {
    block_on(async {
        let touch = in_touch();
        let server = Server::start("127.0.0.1:0", touch.clone()).await;
        // The API server last answered it a minute ago.
        let now_ns = clock::monotonic_ns();
        touch.probe.metadata.set_heard(now_ns.saturating_sub(60_000_000_000).max(1));
        if now_ns > 61_000_000_000 {
            let agent = Agent::start(server.url(), wanted());
            agent.until(|agent| agent.asks(PeersAnswer::Stale) > 0).await;
            assert_eq!(agent.last(), None);
            agent.task.abort();
        }
        // A replica that has not listed everything tells nobody anything.
        let empty = Arc::new(State::new(in_touch()));
        let request = hyper::Request::post("/v1/peers")
            .body(http_body_util::Full::new(bytes::Bytes::from_static(b"{}")))
            .unwrap();
        assert_eq!(empty.answer(request).await.status(), 503);
    });
}

#[test]
fn what_is_no_question_is_refused_and_counted() {
    block_on(async {
        let state = Arc::new(State::new(in_touch()));
        let ask = async |method: &str, path: &str, body: Vec<u8>| {
            let body = http_body_util::Full::new(bytes::Bytes::from(body));
            let request = hyper::Request::builder().method(method).uri(path).body(body).unwrap();
            state.answer(request).await.status().as_u16()
        };
        let many = Question { addresses: vec![address(1); MAX_ASKED + 1], ..Question::default() };
        let many = serde_json::to_vec(&many).unwrap();
        for (method, path, body, status) in [
            ("GET", "/v1/peers", vec![], 405),
            ("POST", "/metrics", vec![], 405),
            ("GET", "/", vec![], 404),
            ("POST", "/v1/peers", b"[1".to_vec(), 400),
            ("POST", "/v1/peers", b"{\"addresses\":[\"x\"]}".to_vec(), 400),
            ("POST", "/v1/peers", many, 413),
            ("POST", "/v1/peers", vec![b' '; 100_000], 413),
            ("GET", "/healthz", vec![], 200),
            ("GET", "/readyz", vec![], 503),
            ("GET", "/metrics", vec![], 200),
        ] {
            assert_eq!(ask(method, path, body).await, status, "{method} {path}");
        }
    });
}

/// What an agent has counted on an address and not named yet: by whom it was.
type Counted = Vec<&'static str>;

/// An address that pods have one after another; the API server is told of their
/// ends when they begin to end, and of their beginnings some seconds late.
/// Once a second whoever has it is counted, by an agent that asks now and then.
fn nobody_is_named_wrongly(steps: &[(usize, u64, u64, bool)]) -> Result<(), TestCaseError> {
    const SECOND: u64 = 1_000_000_000;
    const NAMES: [&str; 3] = ["deployment/a", "deployment/b", "deployment/c"];
    let (mut directory, mut peers) = (Directory::default(), Peers::default());
    peers.expect_answers(0);
    let (at, mut now_s, mut heard) = (address(1), 0u64, None);
    let mut pending: Counted = Vec::new();
    let mut told: Vec<(u64, HolderUpdate)> = Vec::new();
    let settle = |peers: &mut Peers, pending: &mut Counted, now_ns, is_confirmed| {
        let peer = peers.name(Remote::Address(at), now_ns, is_confirmed);
        let Some(peer) = peer.filter(|_| !pending.is_empty()) else { return Ok(()) };
        for owner in pending.drain(..) {
            let name = &*peer.name.workload;
            prop_assert!(name.is_empty() || name == owner, "{owner} is counted as {name}");
        }
        Ok(())
    };
    for (uid, (name, seconds, late_s, asks)) in (1u128..).zip(steps) {
        let name = NAMES[*name];
        told.push((now_s + late_s, pod(uid, name, &[at])));
        // A pod that is gone before anybody was told of it gives its address up later.
        let seconds = *seconds.max(&(late_s + 1));
        for second in 0..=seconds {
            if second == seconds {
                // It begins to end, and has the address for this second still.
                told.push((now_s, pod(uid, name, &[])));
                told.retain(|(_, update)| *update != pod(uid, name, &[at]));
            }
            pending.push(name);
            let now_ns = now_s * SECOND;
            let (now, later): (Vec<_>, Vec<_>) =
                told.into_iter().partition(|(when, _)| *when <= now_s);
            told = later;
            now.into_iter().for_each(|(_, update)| directory.update(update, now_ns));
            settle(&mut peers, &mut pending, now_ns, false)?;
            if now_s % 5 == 0 && *asks {
                let _ = peers.wanted(now_ns, 10 * SECOND);
                let changed = heard.and_then(|revision| directory.changed_since(revision, 9));
                heard = Some(directory.revision());
                let changed = changed.map_or(Changed::All, Changed::These);
                let found = vec![(at, directory.find(at, now_ns))];
                peers.take(&PeersTold { zone: "".into(), changed, found }, now_ns);
                settle(&mut peers, &mut pending, now_ns, true)?;
                peers.settle();
            }
            now_s += 1;
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn an_address_that_is_used_again_gives_nobody_the_counts_of_another(
        steps in prop::collection::vec((0usize..3, 0u64..60, 1u64..4, prop::bool::weighted(0.8)), 1..40),
    ) {
        nobody_is_named_wrongly(&steps)?;
    }
}
