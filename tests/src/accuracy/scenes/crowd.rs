//! A Go program with one P, whose goroutines compute while a request comes.
//!
//! Separate because the wait is over before the handler starts: only the
//! client's send and the handler's start tell how long it was.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::rig::{Act, Rig};
use super::plain;
use crate::load::Connection;
use crate::workload::Kind;

/// How soon a program answers that does nothing else.
const AT_REST: Duration = Duration::from_millis(2);

#[derive(Default)]
struct Crowd {
    control: Option<Connection>,
    connection: Option<Connection>,
}

impl Act for Crowd {
    fn request(
        &mut self,
        server: SocketAddr,
        id: u64,
        size: Duration,
        is_touched: bool,
    ) -> anyhow::Result<u64> {
        let us = if is_touched { size.as_micros() } else { 0 };
        plain::get(&mut self.control, server, &format!("/crowd/control?us={us}"))?;
        let sent = plain::get(&mut self.connection, server, &format!("/hello/{id:06}"))?;
        // What is left of the crowd is not to meet the next request.
        for _ in 0..100 {
            let start = Instant::now();
            plain::get(&mut self.control, server, "/hello/control")?;
            if start.elapsed() < AT_REST {
                break;
            }
        }
        Ok(sent)
    }
}

pub(super) fn start() -> anyhow::Result<Rig> {
    plain::rig(Kind::Go, Box::new(Crowd::default()), |server| server.env("GOMAXPROCS", "1").start())
}
