//! Clients that take their time: over their own body, or over the response.
//!
//! Separate because here it is the client that injects; what the server noted
//! of its wait is the truth all the same.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::super::rig::{Act, Rig};
use super::plain;
use crate::load::{Call, Connection};
use crate::sys;
use crate::workload::{Kind, Server};

/// Bytes of a body, half of which comes late.
const BODY: usize = 40_000;

#[derive(Default)]
struct Sender {
    connection: Option<Connection>,
}

impl Act for Sender {
    fn request(
        &mut self,
        server: SocketAddr,
        id: u64,
        size: Duration,
        is_touched: bool,
    ) -> anyhow::Result<u64> {
        let open = match &mut self.connection {
            Some(open) => open,
            None => self.connection.insert(Connection::open(server)?),
        };
        let bytes = Call::post(&format!("/body/{id:06}"), &[b'x'; BODY]).encode(server, "");
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let sent_ns = open.send(first)?;
        if is_touched {
            thread::sleep(size);
        }
        open.send(second)?;
        let status = open.read_response("POST")?.status;
        anyhow::ensure!(status == 200, "/body gave {status}");
        Ok(sent_ns)
    }
}

pub(super) fn slow_sender() -> anyhow::Result<Rig> {
    plain::rig(Kind::C, Box::new(Sender::default()), Server::start)
}

/// More than both ends' buffers hold.
const RESPONSE: usize = 8_000_000;
/// What the client lets the kernel hold for it.
const WINDOW: usize = 256 << 10;

#[derive(Default)]
struct Reader {
    connection: Option<Connection>,
}

impl Act for Reader {
    fn request(
        &mut self,
        server: SocketAddr,
        id: u64,
        size: Duration,
        is_touched: bool,
    ) -> anyhow::Result<u64> {
        let open = match &mut self.connection {
            Some(open) => open,
            None => {
                let open = Connection::open(server)?;
                sys::set_receive_buffer(open.stream(), WINDOW)?;
                self.connection.insert(open)
            }
        };
        let call = Call::get(&format!("/big/{id:06}?bytes={RESPONSE}"));
        let sent_ns = open.send(&call.encode(server, ""))?;
        if is_touched {
            thread::sleep(size);
        }
        let response = open.read_response("GET")?;
        anyhow::ensure!(response.body_bytes == RESPONSE as u64, "a response was cut");
        Ok(sent_ns)
    }
}

pub(super) fn slow_reader() -> anyhow::Result<Rig> {
    plain::rig(Kind::C, Box::new(Reader::default()), Server::start)
}
