//! A stand-in for the API server: lists and watches of pods, Services and
//! nodes, as its clients see them, and objects that a test makes.
//!
//! Separate because it speaks a protocol: pages are left out, which a server
//! may do, and so is all that nobody asks here.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nodes.
    Node,
    /// Services.
    Service,
    /// Pods.
    Pod,
}

impl Kind {
    const ALL: [(Self, &str, &str); 3] = [
        (Self::Node, "Node", "nodes"),
        (Self::Service, "Service", "services"),
        (Self::Pod, "Pod", "pods"),
    ];
}

/// One line of a watch.
#[derive(Debug)]
struct Event {
    revision: u64,
    kind: Kind,
    line: String,
}

#[derive(Debug, Default)]
struct World {
    revision: u64,
    objects: BTreeMap<(Kind, String), Value>,
    /// All that ever happened: a test is short.
    log: Vec<Arc<Event>>,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    world: Mutex<World>,
    changed: Condvar,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module. Ends at drop; connections end with who made them.
#[derive(Debug)]
pub struct Api {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Api {
    /// Starts one that knows of nothing.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (addr, shared) = (listener.local_addr()?, Arc::new(Shared::default()));
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.world().is_over {
                    return;
                }
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Ok(Self { addr, shared })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Writes a kubeconfig for whoever reaches it at `addr`: here, or by a way.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kubeconfig(addr: SocketAddr, dir: &Path) -> anyhow::Result<PathBuf> {
        let path = dir.join(format!("kubeconfig-{}", addr.port()));
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{addr}")}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&path, text.to_string())?;
        Ok(path)
    }

    /// Makes an object, or another of one with its uid.
    pub fn put(&self, kind: Kind, object: Value) {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let mut world = self.shared.world();
        let is_new = !world.objects.contains_key(&(kind, uid.clone()));
        let object = world.tell(kind, if is_new { "ADDED" } else { "MODIFIED" }, object);
        world.objects.insert((kind, uid), object);
        drop(world);
        self.shared.changed.notify_all();
    }

    /// Takes an object away.
    pub fn remove(&self, kind: Kind, uid: &str) {
        let mut world = self.shared.world();
        if let Some(object) = world.objects.remove(&(kind, uid.to_owned())) {
            world.tell(kind, "DELETED", object);
        }
        drop(world);
        self.shared.changed.notify_all();
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shared.world().is_over = true;
        self.shared.changed.notify_all();
        // Whoever waits for a connection gets one, and sees that it is over.
        let _ = TcpStream::connect(self.addr);
    }
}

impl World {
    /// Notes what happens to an object, and gives it with its version.
    fn tell(&mut self, kind: Kind, what: &str, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let line = line(what, &object);
        self.log.push(Arc::new(Event { revision: self.revision, kind, line }));
        object
    }

    /// What happened after a revision.
    fn since(&self, revision: u64) -> &[Arc<Event>] {
        let start = self.log.partition_point(|event| event.revision <= revision);
        self.log.get(start..).unwrap_or_default()
    }
}

fn line(what: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": what, "object": object}))
}

/// Answers on one connection until its end.
fn serve(stream: &TcpStream, shared: &Shared) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        // The rest of the head; nobody here sends a body.
        while lines.next().is_some_and(|line| !line.is_empty()) {}
        let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
        if answer(stream, &target, shared).is_err() {
            return;
        }
    }
}

fn answer(stream: &TcpStream, target: &str, shared: &Shared) -> std::io::Result<()> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let plural = path.strip_prefix("/api/v1/").unwrap_or_default();
    let kind = Kind::ALL.into_iter().find(|(_, _, of)| *of == plural);
    match kind {
        Some((kind, name, _)) if parameter("watch") == Some("true") => {
            let number = |name| parameter(name).and_then(|value| value.parse().ok());
            let from = number("resourceVersion").unwrap_or_default();
            let limit = Duration::from_secs(number("timeoutSeconds").unwrap_or(300));
            watch(stream, shared, (kind, name), from, limit)
        }
        Some((kind, name, _)) => {
            let world = shared.world();
            let of_kind = world.objects.iter().filter(|((of, _), _)| *of == kind);
            let items: Vec<&Value> = of_kind.map(|(_, object)| object).collect();
            let list = json!({"kind": format!("{name}List"), "apiVersion": "v1", "items": items,
                "metadata": {"resourceVersion": world.revision.to_string()}});
            drop(world);
            whole(stream, "200 OK", &list)
        }
        None if path == "/version" => whole(
            stream,
            "200 OK",
            &json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "",
                "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "",
                "platform": ""}),
        ),
        None => whole(stream, "404 Not Found", &json!({"kind": "Status", "code": 404})),
    }
}

fn whole(mut stream: &TcpStream, status: &str, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes())
}

/// Tells of what happens to one kind from a revision on, for so long.
fn watch(
    mut stream: &TcpStream,
    shared: &Shared,
    (kind, name): (Kind, &str),
    from: u64,
    limit: Duration,
) -> std::io::Result<()> {
    let (end, mut seen) = (Instant::now() + limit, from);
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    loop {
        let mut world = shared.world();
        while world.revision <= seen && !world.is_over && Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            let waited = shared.changed.wait_timeout(world, left);
            (world, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let news: String = world
            .since(seen)
            .iter()
            .filter(|event| event.kind == kind)
            .map(|event| event.line.as_str())
            .collect();
        seen = world.revision.max(seen);
        let is_over = world.is_over || Instant::now() >= end;
        drop(world);
        if !news.is_empty() {
            chunk(stream, &news)?;
        }
        if is_over {
            // Where the next watch goes on, as the API server tells before each end.
            let metadata = json!({"resourceVersion": seen.to_string()});
            let bookmark = json!({"kind": name, "apiVersion": "v1", "metadata": metadata});
            chunk(stream, &line("BOOKMARK", &bookmark))?;
            return stream.write_all(b"0\r\n\r\n");
        }
    }
}

fn chunk(mut stream: &TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
}

/// A pod of the Deployment `of` in the namespace `shop`, its uid made of a
/// number; one that is ending has its address still, as in a cluster.
#[must_use]
pub fn pod(number: u32, of: &str, address: Ipv4Addr, is_ending: bool) -> (String, Value) {
    let uid = format!("cb2635a6-d721-417d-9ff1-46f7{number:08x}");
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{of}-7d9f8b6c5-{number:05}"), "namespace": "shop", "uid": uid,
            "labels": {"app": of, "pod-template-hash": "7d9f8b6c5"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": uid,
                "name": format!("{of}-7d9f8b6c5"), "controller": true}],
        },
        "spec": {"nodeName": "elsewhere", "containers": [{"name": "app", "image": "x:1"}]},
        "status": {"phase": "Running", "podIP": IpAddr::V4(address),
            "podIPs": [{"ip": IpAddr::V4(address)}]},
    });
    if is_ending {
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    (uid, pod)
}
