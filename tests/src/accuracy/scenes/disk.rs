//! A handler that brings a file to a slow device.
//!
//! Separate because the device has to be made first; how long each sync took
//! is measured by the handler, since a throttled device is not regular.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::rig::{Act, Rig};
use super::plain;
use crate::load::Connection;
use crate::slow_disk::SlowDisk;
use crate::workload::Kind;

/// What the device writes in a millisecond.
const BYTES_PER_MS: u64 = 4_096;

#[derive(Default)]
struct Disk {
    connection: Option<Connection>,
}

impl Act for Disk {
    fn request(
        &mut self,
        server: SocketAddr,
        id: u64,
        size: Duration,
        is_touched: bool,
    ) -> anyhow::Result<u64> {
        let ms = if is_touched { size.as_millis() } else { 0 };
        let bytes = u64::try_from(ms)? * BYTES_PER_MS;
        plain::get(&mut self.connection, server, &format!("/fsync/{id:06}?bytes={bytes}"))
    }
}

fn device() -> anyhow::Result<SlowDisk> {
    SlowDisk::create(BYTES_PER_MS * 1_000)
}

pub(super) fn start() -> anyhow::Result<Rig> {
    let disk = device()?;
    let files = disk.files().to_string_lossy().into_owned();
    let mut rig =
        plain::rig(Kind::C, Box::<Disk>::default(), |server| server.env("FILES", &files).start())?;
    rig.keeps.push(Box::new(disk));
    Ok(rig)
}

pub(super) fn lacks() -> Option<String> {
    plain::lacks_c()
        .or_else(|| plain::lacks_tools(&["losetup", "mkfs.ext4", "mount"]))
        .or_else(|| device().err().map(|error| format!("no slow device: {error:#}")))
}
