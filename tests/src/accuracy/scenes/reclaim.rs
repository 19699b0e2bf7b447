//! A server whose file does not fit into its memory limit: each page that it
//! touches has to be read, and another given up for it.
//!
//! Separate because the device and the limits have to be made first; how long
//! the pages took is measured by the handler.

use std::rc::Rc;

use super::super::rig::Rig;
use super::plain;
use crate::cgroup::Cgroup;
use crate::slow_disk::SlowDisk;
use crate::workload::{Kind, Server};

/// Size of the file.
const FILE_BYTES: usize = 14 << 20;
/// What the server may have of it in memory, and of all else.
const MEMORY_BYTES: u64 = 8 << 20;
/// How fast it reads: a page a millisecond.
const BYTES_PER_SECOND: u64 = 4_096_000;

pub(super) fn start() -> anyhow::Result<Rig> {
    let disk = SlowDisk::create_with_file("data", FILE_BYTES)?;
    let cgroup = Rc::new(Cgroup::create("strata-accuracy/reclaim")?);
    cgroup.limit_memory(MEMORY_BYTES)?;
    cgroup.limit_reads(disk.number(), BYTES_PER_SECOND)?;
    let files = disk.files().to_string_lossy().into_owned();
    let start =
        |server: Server| server.env("FILES", &files).start_with(|argv| cgroup.command(argv));
    let mut rig = plain::rig(Kind::C, plain::act("thrash"), start)?;
    rig.keeps.push(Box::new(cgroup));
    rig.keeps.push(Box::new(disk));
    Ok(rig)
}

pub(super) fn lacks() -> Option<String> {
    let can = || {
        let disk = SlowDisk::create_with_file("data", 4_096)?;
        let cgroup = Cgroup::create("strata-accuracy/probe")?;
        cgroup.limit_memory(MEMORY_BYTES)?;
        cgroup.limit_reads(disk.number(), BYTES_PER_SECOND)
    };
    plain::lacks_c()
        .or_else(|| plain::lacks_tools(&["losetup", "mkfs.ext4", "mount"]))
        .or_else(|| can().err().map(|error| format!("no limits: {error:#}")))
}
