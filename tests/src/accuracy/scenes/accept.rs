//! A connection that is established, and accepted late.
//!
//! Separate because every request needs a connection of its own, and another
//! to say beforehand that the next one shall wait.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::rig::{Act, Rig};
use super::plain;
use crate::load::Connection;
use crate::workload::{Kind, Server};

#[derive(Default)]
struct Accept {
    control: Option<Connection>,
}

impl Act for Accept {
    fn request(
        &mut self,
        server: SocketAddr,
        id: u64,
        size: Duration,
        is_touched: bool,
    ) -> anyhow::Result<u64> {
        let us = if is_touched { size.as_micros() } else { 0 };
        plain::get(&mut self.control, server, &format!("/late/control?us={us}"))?;
        plain::get(&mut None, server, &format!("/hello/{id:06}"))
    }
}

pub(super) fn start() -> anyhow::Result<Rig> {
    plain::rig(Kind::C, Box::new(Accept::default()), Server::start)
}
