//! A file system on a device that takes its time: a loop device, throttled by
//! the blkio controller.
//!
//! Separate because it is the only disk of the tests whose speed is known. Real
//! ones are cached by the host and sync in no time.

use std::fs;
use std::io::Write as _;
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
    /// `MAJOR:MINOR` of its device.
    number: String,
}

impl SlowDisk {
    /// Makes one that writes so many bytes a second.
    ///
    /// # Errors
    /// When there is no loop device, no blkio controller that throttles, or a
    /// tool is missing: this needs root.
    pub fn create(bytes_per_second: u64) -> anyhow::Result<Self> {
        let mut disk = Self::create_fast()?;
        let file = limit_file()?;
        fs::write(&file, format!("{} {bytes_per_second}", disk.number))
            .with_context(|| format!("writing {}", file.display()))?;
        disk.limit = Some((file, disk.number.clone()));
        Ok(disk)
    }

    /// Makes one that has a file of so many bytes, and is not slow to write to;
    /// how fast it is read may be limited for a cgroup
    /// ([`cgroup::Cgroup::limit_reads`]).
    ///
    /// # Errors
    /// When there is no loop device, or a tool is missing: this needs root.
    pub fn create_with_file(name: &str, bytes: usize) -> anyhow::Result<Self> {
        let mut disk = Self::create_fast()?;
        let file = fs::File::create(disk.files().join(name))?;
        (&file).write_all(&vec![b'x'; bytes])?;
        file.sync_all()?;
        drop(file);
        // What was written is in memory, as nobody's whom a limit applies to.
        process::run(Command::new("umount").arg(disk.files()))?;
        disk.mount()?;
        Ok(disk)
    }

    /// `MAJOR:MINOR` of its device.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.number
    }

    fn mount(&mut self) -> anyhow::Result<()> {
        let device = self.device.as_deref().context("no device")?;
        self.is_mounted = false;
        process::run(Command::new("mount").arg(device).arg(self.files()))?;
        self.is_mounted = true;
        Ok(())
    }

    fn create_fast() -> anyhow::Result<Self> {
        // Not in memory: the loop device writes to this file itself.
        let dir = tempfile::Builder::new().prefix("strata-disk").tempdir_in("/var/tmp")?;
        let image = dir.path().join("image");
        fs::File::create(&image)?.set_len(BYTES)?;
        let mut disk =
            Self { dir, device: None, is_mounted: false, limit: None, number: String::new() };
        let device = process::run(Command::new("losetup").args(["-f", "--show"]).arg(&image))?;
        let device = disk.device.insert(device.trim().to_owned()).clone();
        // Without a journal: whoever syncs writes, and waits, itself.
        process::run(Command::new("mkfs.ext4").args(["-q", "-O", "^has_journal"]).arg(&device))?;
        fs::create_dir(disk.files())?;
        disk.mount()?;
        let number = fs::metadata(&device).context("looking at the loop device")?.rdev();
        // As the kernel's MAJOR and MINOR of small numbers.
        disk.number = format!("{}:{}", (number >> 8) & 0xfff, number & 0xff);
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
