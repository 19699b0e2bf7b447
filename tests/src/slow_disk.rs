//! A file system on a device that takes its time: a loop device, throttled by
//! the blkio controller.
//!
//! Separate because it is the only disk of the tests whose speed is known. Real
//! ones are cached by the host and sync in no time.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::cgroup;
use crate::process;

/// Size of the device.
const BYTES: u64 = 64 << 20;

/// A mounted slow device; unmounted and removed at drop.
#[derive(Debug)]
pub struct SlowDisk {
    dir: tempfile::TempDir,
    device: Option<String>,
    is_mounted: bool,
    limit: Option<(PathBuf, String)>,
}

impl SlowDisk {
    /// Makes one that writes so many bytes a second.
    ///
    /// # Errors
    /// When there is no loop device, no blkio controller that throttles, or a
    /// tool is missing: this needs root.
    pub fn create(bytes_per_second: u64) -> anyhow::Result<Self> {
        // Not in memory: the loop device writes to this file itself.
        let dir = tempfile::Builder::new().prefix("strata-disk").tempdir_in("/var/tmp")?;
        let image = dir.path().join("image");
        fs::File::create(&image)?.set_len(BYTES)?;
        let mut disk = Self { dir, device: None, is_mounted: false, limit: None };
        let device = process::run(Command::new("losetup").args(["-f", "--show"]).arg(&image))?;
        let device = disk.device.insert(device.trim().to_owned()).clone();
        // Without a journal: whoever syncs writes, and waits, itself.
        process::run(Command::new("mkfs.ext4").args(["-q", "-O", "^has_journal"]).arg(&device))?;
        fs::create_dir(disk.files())?;
        process::run(Command::new("mount").arg(&device).arg(disk.files()))?;
        disk.is_mounted = true;
        let number = fs::metadata(&device).context("looking at the loop device")?.rdev();
        // As the kernel's MAJOR and MINOR of small numbers.
        let number = format!("{}:{}", (number >> 8) & 0xfff, number & 0xff);
        let file = limit_file()?;
        fs::write(&file, format!("{number} {bytes_per_second}"))
            .with_context(|| format!("writing {}", file.display()))?;
        disk.limit = Some((file, number));
        Ok(disk)
    }

    /// Where its files are.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }
}

/// Where writes by anybody are throttled: what a file system writes back
/// belongs to the root of the hierarchy.
fn limit_file() -> anyhow::Result<PathBuf> {
    let files = cgroup::hierarchies()?
        .into_iter()
        .map(|hierarchy| hierarchy.mount.join("blkio.throttle.write_bps_device"));
    files.into_iter().find(|file| Path::exists(file)).context("no blkio controller throttles here")
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        if let Some((file, number)) = &self.limit {
            let _ = fs::write(file, format!("{number} 0"));
        }
        if self.is_mounted {
            let _ = process::run(Command::new("umount").arg(self.files()));
        }
        if let Some(device) = &self.device {
            let _ = process::run(Command::new("losetup").arg("-d").arg(device));
        }
    }
}
