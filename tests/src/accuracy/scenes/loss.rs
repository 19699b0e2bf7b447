//! Segments that are lost on their way from the server: to its downstream, or
//! to its client.
//!
//! Separate because it needs a wire of its own, with the server at one end and
//! whom it sends to at the other, which loses what is marked. The server marks
//! what it sends for touched requests, by its type of service; how soon a
//! segment is sent again is a property of the route.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::super::rig::{Act, PROBE, Rig};
use super::plain;
use crate::load::{Call, Connection};
use crate::netns::{Netns, Wire};
use crate::nft;
use crate::workload::{Kind, Server};
use crate::{agent_process, process, sys};

/// Type of service of a marked segment: expedited forwarding.
const MARK: u32 = 0xb8;
/// Of one that is not, where the server is to send in the same way.
const NO_MARK: u32 = 0x04;
/// Bytes of what is large.
const LARGE: u64 = 1_000_000;

/// What is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The only segment of a call.
    Call,
    /// In the middle of a call's body.
    Body,
    /// In the middle of a response.
    Response,
}

impl Lost {
    fn path(self, id: u64, is_touched: bool) -> String {
        let mark = if is_touched { MARK } else { NO_MARK };
        match self {
            Self::Call => format!("/down/{id:06}?us=0&tos={mark}"),
            Self::Body => format!("/post/{id:06}?bytes={LARGE}&tos={mark}"),
            Self::Response => format!("/big/{id:06}?bytes={LARGE}&tos={mark}"),
        }
    }
}

struct Loss {
    lost: Lost,
    connection: Connection,
    wire: Rc<Wire>,
}

impl Act for Loss {
    fn prepare(&mut self, _server: SocketAddr, size: Duration) -> anyhow::Result<()> {
        let least = format!("{}ms", size.as_millis());
        let argv = ["ip", "route", "change", "10.77.0.0/24", "dev", "veth0", "src"];
        let mut argv: Vec<_> = argv.map(str::to_owned).to_vec();
        argv.extend([Wire::CLIENT.to_string(), "rto_min".to_owned(), least]);
        process::run(&mut self.wire.client.command(&argv))?;
        Ok(())
    }

    fn probe(&mut self, server: SocketAddr) -> anyhow::Result<()> {
        self.connection.send(&Call::get(PROBE).encode(server, ""))?;
        self.connection.read_response("GET")?;
        Ok(())
    }

    fn request(
        &mut self,
        server: SocketAddr,
        id: u64,
        _size: Duration,
        is_touched: bool,
    ) -> anyhow::Result<u64> {
        let call = Call::get(&self.lost.path(id, is_touched));
        let sent_ns = self.connection.send(&call.encode(server, ""))?;
        let status = self.connection.read_response("GET")?.status;
        anyhow::ensure!(status == 200, "{} gave {status}", call.path);
        Ok(sent_ns)
    }
}

pub(super) fn start(lost: Lost) -> anyhow::Result<Rig> {
    let wire = Rc::new(Wire::create()?);
    let far = SocketAddr::new(Wire::SERVER, agent_process::free_port()?);
    let downstream =
        Server::new(Kind::C).listen(far).start_with(|argv| wire.server.command(argv))?;
    let lose = if lost == Lost::Call { nft::drop_marked_once } else { nft::drop_marked_and_after };
    lose(&wire.server, MARK >> 2)?;
    let (dir, log) = plain::log_file()?;
    let near = SocketAddr::new(Wire::CLIENT, agent_process::free_port()?);
    let server = Server::new(Kind::C)
        .listen(near)
        .arg(log.to_string_lossy())
        .env("DOWNSTREAM", &far.to_string())
        .start_with(|argv| wire.client.command(argv))?;
    let side = if lost == Lost::Response { &wire.server } else { &wire.client };
    let connection = open_in(side, server.addr())?;
    let act = Loss { lost, connection, wire: Rc::clone(&wire) };
    Ok(Rig {
        act: Box::new(act),
        server,
        kind: Kind::C,
        log,
        keeps: vec![Box::new(downstream), Box::new(wire), Box::new(dir)],
    })
}

/// A connection whose client is in a namespace.
fn open_in(netns: &Netns, server: SocketAddr) -> anyhow::Result<Connection> {
    let file = netns.file();
    // A thread for it: no way back is needed.
    let thread = std::thread::spawn(move || {
        sys::enter_netns(&file)?;
        Connection::open(server)
    });
    thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")))
}

pub(super) fn lacks() -> Option<String> {
    plain::lacks_c()
        .or_else(|| plain::lacks_tools(&["ip", "nsenter", "nft"]))
        .or_else(|| (!nft::is_usable()).then(|| "nftables does not work here".to_owned()))
}
