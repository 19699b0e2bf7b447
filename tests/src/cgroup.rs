//! Cgroups as Kubernetes lays them out, in every hierarchy that is mounted.
//!
//! Separate because identity is tested by them alone: v1, v2 and hybrid hosts
//! differ here and nowhere else in the tests.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;

use crate::eventually;

/// Directories made by this process and not yet removed: a parent goes with
/// the last of its children, whichever group made it.
static MADE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// One mounted cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Whether it is the unified (v2) one.
    pub is_unified: bool,
    /// Options of a v1 mount, among them its controllers.
    pub options: Vec<String>,
}

/// The hierarchies of this host, v1 ones first.
///
/// # Errors
/// When `/proc` cannot be read or none is mounted.
pub fn hierarchies() -> anyhow::Result<Vec<Hierarchy>> {
    let text = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
    let found = parse_mounts(&text);
    anyhow::ensure!(!found.is_empty(), "no cgroup hierarchy is mounted");
    Ok(found)
}

fn parse_mounts(text: &str) -> Vec<Hierarchy> {
    let mut found: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let [_, mount, kind @ ("cgroup" | "cgroup2"), options, ..] = fields[..] else {
                return None;
            };
            Some(Hierarchy {
                mount: PathBuf::from(mount),
                is_unified: kind == "cgroup2",
                options: options.split(',').map(str::to_owned).collect(),
            })
        })
        .collect();
    found.sort_by_key(|hierarchy| hierarchy.is_unified);
    found
}

/// The same path in every hierarchy; removed at drop, with what parents it made.
#[derive(Debug)]
pub struct Cgroup {
    path: String,
    dirs: Vec<(Hierarchy, PathBuf)>,
}

/// A path as a kubelet makes it with the cgroupfs driver, Burstable class.
#[must_use]
pub fn kubepods_path(pod_uid: &str, container_id: &str) -> String {
    format!("kubepods/burstable/pod{pod_uid}/{container_id}")
}

impl Cgroup {
    /// Makes `path` (without a leading slash) in every hierarchy.
    ///
    /// # Errors
    /// When a directory cannot be made: this needs root.
    pub fn create(path: &str) -> anyhow::Result<Self> {
        Self::create_in(path, &hierarchies()?)
    }

    /// Makes `path` in the unified hierarchy only.
    ///
    /// # Errors
    /// As [`Cgroup::create`], or when there is no unified hierarchy.
    pub fn create_unified(path: &str) -> anyhow::Result<Self> {
        let unified: Vec<_> = hierarchies()?.into_iter().filter(|h| h.is_unified).collect();
        anyhow::ensure!(!unified.is_empty(), "no unified hierarchy is mounted");
        Self::create_in(path, &unified)
    }

    fn create_in(path: &str, hierarchies: &[Hierarchy]) -> anyhow::Result<Self> {
        let mut cgroup = Self { path: path.to_owned(), dirs: Vec::new() };
        for hierarchy in hierarchies {
            let dir = hierarchy.mount.join(path);
            cgroup.dirs.push((hierarchy.clone(), dir));
            make_path(hierarchy, path)?;
        }
        Ok(cgroup)
    }

    /// Its path below each mount, without a leading slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its id to the kernel: the inode of the v2 directory; `None` on a host
    /// without the unified hierarchy.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        let (_, dir) = self.dirs.iter().find(|(hierarchy, _)| hierarchy.is_unified)?;
        Some(fs::metadata(dir).ok()?.ino())
    }

    /// A command that puts itself into this cgroup and then becomes `argv`:
    /// the program never runs outside of it.
    #[must_use]
    pub fn command(&self, argv: &[String]) -> Command {
        let mut script = String::from("set -e\n");
        for (_, dir) in &self.dirs {
            script.push_str(&format!("echo $$ > '{}/cgroup.procs'\n", dir.display()));
        }
        script.push_str("exec \"$@\"\n");
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).arg("sh").args(argv);
        command
    }

    /// Lets its processes run `quota` in every `period`, in the cpu controller
    /// of whichever version the host has.
    ///
    /// # Errors
    /// When no hierarchy has a cpu controller, or it refuses.
    pub fn set_cpu_quota(&self, quota: Duration, period: Duration) -> anyhow::Result<()> {
        let (quota_us, period_us) = (quota.as_micros(), period.as_micros());
        self.write_cpu_quota(&quota_us.to_string(), &period_us.to_string())
    }

    /// Lets its processes run as long as they want again.
    ///
    /// # Errors
    /// As [`Cgroup::set_cpu_quota`].
    pub fn lift_cpu_quota(&self) -> anyhow::Result<()> {
        self.write_cpu_quota("-1", "100000")
    }

    fn write_cpu_quota(&self, quota_us: &str, period_us: &str) -> anyhow::Result<()> {
        for (hierarchy, dir) in &self.dirs {
            if hierarchy.options.iter().any(|option| option == "cpu") {
                write(&dir.join("cpu.cfs_period_us"), period_us)?;
                return write(&dir.join("cpu.cfs_quota_us"), quota_us);
            }
            if hierarchy.is_unified && dir.join("cpu.max").exists() {
                let quota_us = if quota_us == "-1" { "max" } else { quota_us };
                return write(&dir.join("cpu.max"), &format!("{quota_us} {period_us}"));
            }
        }
        anyhow::bail!("no cpu controller here")
    }

    /// Lets its processes have so much memory, page cache included.
    ///
    /// # Errors
    /// When no hierarchy has a memory controller, or it refuses.
    pub fn limit_memory(&self, bytes: u64) -> anyhow::Result<()> {
        let text = bytes.to_string();
        self.write_first(&["memory.limit_in_bytes", "memory.max"], &[&text, &text])
    }

    /// Lets its processes read so much a second from the device `MAJOR:MINOR`.
    ///
    /// # Errors
    /// When no hierarchy has a controller that throttles reads, or it refuses.
    pub fn limit_reads(&self, device: &str, bytes_per_second: u64) -> anyhow::Result<()> {
        let old = format!("{device} {bytes_per_second}");
        let new = format!("{device} rbps={bytes_per_second}");
        self.write_first(&["blkio.throttle.read_bps_device", "io.max"], &[&old, &new])
    }

    /// Writes into the first of the files that there is, its own text.
    fn write_first(&self, files: &[&str], texts: &[&str]) -> anyhow::Result<()> {
        for (_, dir) in &self.dirs {
            for (file, text) in files.iter().zip(texts) {
                if dir.join(file).exists() {
                    return write(&dir.join(file), text);
                }
            }
        }
        anyhow::bail!("no controller here has {}", files.join(" or "))
    }

    /// Time for which its processes were throttled, by the kernel's own count.
    ///
    /// # Errors
    /// When no hierarchy has a cpu controller.
    pub fn throttled(&self) -> anyhow::Result<Duration> {
        for (_, dir) in &self.dirs {
            let text = fs::read_to_string(dir.join("cpu.stat")).unwrap_or_default();
            let field = |name| {
                let mut words = text.split_whitespace();
                words.by_ref().find(|word| *word == name)?;
                words.next()?.parse().ok()
            };
            if let Some(throttled_ns) = field("throttled_time") {
                return Ok(Duration::from_nanos(throttled_ns));
            }
            if let Some(throttled_us) = field("throttled_usec") {
                return Ok(Duration::from_micros(throttled_us));
            }
        }
        anyhow::bail!("no cpu controller here")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for (hierarchy, dir) in &self.dirs {
            // A cgroup stays busy until its last process has been reaped.
            eventually::until(Duration::from_secs(3), || match fs::remove_dir(dir) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => None,
                _ => Some(()),
            });
            let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
            made.remove(dir);
            for parent in dir.ancestors().skip(1).take_while(|parent| *parent != hierarchy.mount) {
                if made.contains(parent) && fs::remove_dir(parent).is_ok() {
                    made.remove(parent);
                }
            }
        }
    }
}

fn make_path(hierarchy: &Hierarchy, path: &str) -> anyhow::Result<()> {
    let mut dir = hierarchy.mount.clone();
    for part in path.split('/') {
        let parent = dir.clone();
        dir.push(part);
        if hierarchy.is_unified {
            // Without this the children of a pure v2 host have no limits. On
            // a hybrid host the controllers are elsewhere and this is refused.
            for controller in ["+cpu", "+memory", "+io"] {
                let _ = fs::write(parent.join("cgroup.subtree_control"), controller);
            }
        }
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::create_dir(&dir) {
            Ok(()) => {
                made.insert(dir.clone());
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("making {}", dir.display())),
        }
        drop(made);
        // A v1 cpuset takes no process until it has CPUs and memory nodes.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let inherited = fs::read_to_string(parent.join(file)).unwrap_or_default();
            if !hierarchy.is_unified && dir.join(file).exists() {
                write(&dir.join(file), inherited.trim())?;
            }
        }
    }
    Ok(())
}

fn write(path: &Path, value: &str) -> anyhow::Result<()> {
    fs::write(path, value).with_context(|| format!("writing {value} to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_mounts_give_v1_first_and_v2_last() {
        let text = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                    cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid 0 0\n\
                    cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n";
        let found = parse_mounts(text);
        assert_eq!(found.len(), 2);
        assert!(!found[0].is_unified && found[0].options.contains(&"cpu".to_owned()));
        assert!(found[1].is_unified);
    }
}
