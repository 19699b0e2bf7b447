//! Injections that the handler makes itself, told how long in the query.
//!
//! Separate because most are of this kind: one connection, `/KIND/ID?us=N`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::rig::{Act, Rig};
use crate::http;
use crate::load::{Call, Connection};
use crate::require::has_tool;
use crate::workload::{Kind, Server, Workload};

/// Asks one connection for one kind.
struct Plain {
    kind: &'static str,
    connection: Option<Connection>,
}

impl Act for Plain {
    fn prepare(&mut self, server: SocketAddr, size: Duration) -> anyhow::Result<()> {
        if self.kind == "gc" {
            // A heap that takes about as long to collect.
            let answer = http::get(server, &format!("/heap?us={}", size.as_micros()))?;
            anyhow::ensure!(answer.status == 200, "/heap gave {}", answer.status);
        }
        Ok(())
    }

    fn request(
        &mut self,
        server: SocketAddr,
        id: u64,
        size: Duration,
        is_touched: bool,
    ) -> anyhow::Result<u64> {
        let us = if is_touched { size.as_micros() } else { 0 };
        get(&mut self.connection, server, &format!("/{}/{id:06}?us={us}", self.kind))
    }
}

/// Makes one request on a connection that is opened when there is none; says
/// when it was sent.
pub(super) fn get(
    connection: &mut Option<Connection>,
    server: SocketAddr,
    path: &str,
) -> anyhow::Result<u64> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(server)?),
    };
    let sent_ns = open.send(&Call::get(path).encode(server, ""))?;
    let response = open.read_response("GET")?;
    anyhow::ensure!(response.status == 200, "{path} gave {}", response.status);
    Ok(sent_ns)
}

/// A server with its log, started by `start`.
pub(super) fn rig(
    kind: Kind,
    act: Box<dyn Act>,
    start: impl FnOnce(Server) -> anyhow::Result<Workload>,
) -> anyhow::Result<Rig> {
    let (dir, log) = log_file()?;
    let server = start(with_log(Server::new(kind), &log))?;
    Ok(Rig { act, server, kind, log, keeps: vec![Box::new(dir)] })
}

/// A folder, and the file in it for a server's log.
pub(super) fn log_file() -> anyhow::Result<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::Builder::new().prefix("strata-accuracy").tempdir()?;
    let log = dir.path().join("journal");
    Ok((dir, log))
}

fn with_log(server: Server, log: &Path) -> Server {
    let server = if server.kind == Kind::Go { server.arg("-log") } else { server };
    server.arg(log.to_string_lossy())
}

/// One that asks for this kind.
pub(super) fn act(kind: &'static str) -> Box<dyn Act> {
    Box::new(Plain { kind, connection: None })
}

fn plain(
    kind: Kind,
    path: &'static str,
    start: impl FnOnce(Server) -> anyhow::Result<Workload>,
) -> anyhow::Result<Rig> {
    rig(kind, act(path), start)
}

/// The C server under requests for one kind, with a downstream of the same.
pub(super) fn start_c(path: &'static str) -> anyhow::Result<Rig> {
    let downstream = Workload::start(Kind::C)?;
    let addr = downstream.addr().to_string();
    let mut rig = plain(Kind::C, path, |server| server.env("DOWNSTREAM", &addr).start())?;
    rig.keeps.push(Box::new(downstream));
    Ok(rig)
}

/// The same that only answers.
pub(super) fn c() -> anyhow::Result<Rig> {
    start_c("hello")
}

/// The Python server, with the C server as its downstream.
pub(super) fn start_python(path: &'static str) -> anyhow::Result<Rig> {
    let downstream = Workload::start(Kind::C)?;
    let addr = downstream.addr().to_string();
    let mut rig = plain(Kind::Python, path, |server| server.env("DOWNSTREAM", &addr).start())?;
    rig.keeps.push(Box::new(downstream));
    Ok(rig)
}

/// The Go server, with another as its downstream.
pub(super) fn start_go(path: &'static str) -> anyhow::Result<Rig> {
    let downstream = Workload::start(Kind::Go)?;
    let url = format!("http://{}/doze", downstream.addr());
    let mut rig = plain(Kind::Go, path, |server| server.arg("-downstream").arg(url).start())?;
    rig.keeps.push(Box::new(downstream));
    Ok(rig)
}

/// The Go server with a redis that sleeps when told to.
pub(super) fn start_go_redis() -> anyhow::Result<Rig> {
    let redis = Server::new(Kind::Redis).arg("--enable-debug-command").arg("local").start()?;
    let addr = redis.addr().to_string();
    let mut rig = plain(Kind::Go, "redis", |server| server.arg("-redis").arg(addr).start())?;
    rig.keeps.push(Box::new(redis));
    Ok(rig)
}

fn lacks(kinds: &[Kind]) -> Option<String> {
    let missing = kinds.iter().find(|kind| !kind.is_available())?;
    Some(format!("{} is not installed", missing.tool()))
}

pub(super) fn lacks_c() -> Option<String> {
    lacks(&[Kind::C])
}

pub(super) fn lacks_go() -> Option<String> {
    lacks(&[Kind::Go])
}

pub(super) fn lacks_python() -> Option<String> {
    lacks(&[Kind::C, Kind::Python])
}

pub(super) fn lacks_redis() -> Option<String> {
    lacks(&[Kind::Go, Kind::Redis])
}

/// Why a program is not here.
pub(super) fn lacks_tools(tools: &[&str]) -> Option<String> {
    let missing = tools.iter().find(|tool| !has_tool(tool))?;
    Some(format!("{missing} is not installed"))
}
