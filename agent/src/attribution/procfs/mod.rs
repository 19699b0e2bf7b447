//! Processes, as `/proc` tells.
//!
//! Separate so that everything that can vanish while it is read is read in one
//! place, from any root: tests give a tree of their own, an agent in a
//! container gives the host's. The numbers are those of the PID namespace that
//! the root was mounted in; it must be the host's for them to be the kernel
//! programs' numbers ([`ProcRoot::is_host_pid_namespace`]).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::event::ids::{ProcessKey, Tgid};

pub mod cpu_ticks;
pub mod process;
pub mod sockets;
pub mod stat;

use process::Process;

/// Inode number of the initial PID namespace: `PROC_PID_INIT_INO` in the
/// kernel's `include/linux/proc_ns.h`, fixed since Linux 3.8.
const INITIAL_PID_NAMESPACE: u32 = 0xEFFF_FFFC;
/// Processes that are found from those that started them, at most.
const MAX_DESCENDANTS: usize = 4096;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or a directory.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has not the form that the kernel gives it.
    #[error("{} is not in the form that is known", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// The number was given to another process while it was read.
    #[error("process {tgid} ended while it was read, and its number is used again")]
    Reused {
        /// The number.
        tgid: Tgid,
    },
}

impl Error {
    /// The process ended: nothing is wrong, and nothing is to be told.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        // ESRCH (3) comes from files that were opened while it lived.
        match self {
            Self::Read { source, .. } => {
                source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(3)
            }
            Self::Reused { .. } => true,
            Self::Malformed { .. } => false,
        }
    }

    /// The agent lacks a right (`CAP_SYS_PTRACE`, `CAP_DAC_READ_SEARCH`).
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// A mounted `/proc`.
#[derive(Clone, Debug)]
pub struct ProcRoot {
    path: PathBuf,
}

impl Default for ProcRoot {
    fn default() -> Self {
        Self::new("/proc")
    }
}

impl ProcRoot {
    /// Where it is mounted.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The processes that there are. Lazy: the caller paces the pass, and a
    /// process that starts or ends meanwhile may or may not be among them.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed.
    pub fn processes(&self) -> Result<impl Iterator<Item = Tgid> + use<>, Error> {
        let entries = fs::read_dir(&self.path)
            .map_err(|source| Error::Read { path: self.path.clone(), source })?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Tgid)))
    }

    /// A process. Reads nothing yet.
    #[must_use]
    pub fn process(&self, tgid: Tgid) -> Process {
        Process::new(self.path.join(tgid.to_string()), tgid)
    }

    /// These processes and those that they have started, and so on, as many as
    /// 4 096; one that does not exist is itself alone.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed.
    pub fn with_descendants(&self, tgids: &[u32]) -> Result<Vec<u32>, Error> {
        if tgids.is_empty() {
            return Ok(Vec::new());
        }
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for tgid in self.processes()? {
            if let Ok(stat) = self.process(tgid).stat() {
                children.entry(stat.parent).or_default().push(tgid.0);
            }
        }
        let mut found = tgids.to_vec();
        let mut next = 0;
        while let Some(tgid) = found.get(next).copied() {
            next += 1;
            // Each has one parent, so that none comes twice but those named.
            let new = children.remove(&tgid).unwrap_or_default();
            let new = new.into_iter().filter(|child| !tgids.contains(child));
            found.extend(new.take(MAX_DESCENDANTS.saturating_sub(found.len())));
        }
        Ok(found)
    }

    /// Whether the process that `key` names is still there.
    #[must_use]
    pub fn is_alive(&self, key: ProcessKey) -> bool {
        self.process(key.tgid).stat().is_ok_and(|stat| stat.start == key.start)
    }

    /// Whether process numbers here are those that the kernel programs see;
    /// `None` if that cannot be read.
    #[must_use]
    pub fn is_host_pid_namespace(&self) -> Option<bool> {
        let inode = read_inode_link(&self.path.join("self/ns/pid"), "pid:[").ok()?;
        Some(inode == u64::from(INITIAL_PID_NAMESPACE))
    }

    /// The text of a small file below the root.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read_text(&self, relative: &str) -> Result<String, Error> {
        read_text(&self.path.join(relative))
    }
}

/// Bytes of a file that are read at most. The largest that is read whole,
/// `mountinfo` on a node with 200 containers, has some hundred kilobytes.
const MAX_TEXT_BYTES: u64 = 8 << 20;

/// The whole of a small file, as text; bytes that are not UTF-8 are replaced.
fn read_text(path: &Path) -> Result<String, Error> {
    let read = || {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(File::open(path)?, MAX_TEXT_BYTES), &mut bytes)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    };
    read().map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn read_link(path: &Path) -> Result<PathBuf, Error> {
    fs::read_link(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// The number in a link such as `net:[4026531840]`, given its `net:[`.
fn read_inode_link(path: &Path, prefix: &str) -> Result<u64, Error> {
    let target = read_link(path)?;
    parse_inode(&target, prefix).ok_or_else(|| Error::Malformed { path: path.to_owned() })
}

fn parse_inode(target: &Path, prefix: &str) -> Option<u64> {
    target.to_str()?.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests;
