//! One process: its program, cgroup and network namespace.
//!
//! Separate from the root so that what belongs to one process number is read
//! through one value, which also checks that the number was not used again.

use std::path::{Path, PathBuf};

use crate::attribution::hierarchy::Hierarchy;
use crate::attribution::procfs::sockets::{self, ListeningSockets, SocketInodes};
use crate::attribution::procfs::stat::Stat;
use crate::attribution::procfs::{Error, read_inode_link, read_link, read_text};
use crate::event::ids::{ProcessKey, Tgid};

/// A process, by its number under one root.
#[derive(Clone, Debug)]
pub struct Process {
    dir: PathBuf,
    tgid: Tgid,
}

/// The program that a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Base name, without what the kernel adds to a file that was replaced.
    pub name: String,
    /// Its path in the process's own mount namespace: for showing only. To
    /// open the file take [`Process::executable_file`].
    pub path: PathBuf,
}

/// What is read of a process when it is first met, all of one life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Which process.
    pub key: ProcessKey,
    /// Name of its group leader.
    pub comm: String,
    /// Its program; `None` if it may not be read.
    pub executable: Option<Executable>,
    /// Path of its cgroup; `None` if it has none in that hierarchy.
    pub cgroup_path: Option<String>,
    /// Inode number of its network namespace; `None` if it may not be read.
    pub netns: Option<u32>,
}

impl ProcessFacts {
    /// Base name of the program, or else the leader's name.
    #[must_use]
    pub fn executable_name(&self) -> &str {
        self.executable.as_ref().map_or(&self.comm, |executable| &executable.name)
    }
}

impl Process {
    pub(super) fn new(dir: PathBuf, tgid: Tgid) -> Self {
        Self { dir, tgid }
    }

    /// Whether it has an established connection to one of these ports of others.
    /// Looks at `max_descriptors` at most; `false` if they may not be read.
    #[must_use]
    pub fn is_connected_to(&self, ports: &[u16], max_descriptors: usize) -> bool {
        let connected = sockets::read_connected_to(&self.dir, ports);
        !connected.is_empty()
            && self.socket_inodes().is_ok_and(|descriptors| {
                let mut sockets = descriptors.take(max_descriptors).flatten();
                sockets.any(|inode| connected.contains(&inode))
            })
    }

    /// Its number.
    #[must_use]
    pub fn tgid(&self) -> Tgid {
        self.tgid
    }

    /// Reads all facts, then its start again: they are of one process, even if
    /// its number was used again meanwhile. `None` for kernel threads and for
    /// processes that have ended but for their parent's wait.
    ///
    /// # Errors
    ///
    /// It is gone, or `/proc` denies even its cgroup.
    pub fn facts(&self, hierarchy: &Hierarchy) -> Result<Option<ProcessFacts>, Error> {
        let stat = self.stat()?;
        if stat.is_kernel_thread || stat.is_zombie {
            return Ok(None);
        }
        let facts = ProcessFacts {
            key: ProcessKey { tgid: self.tgid, start: stat.start },
            comm: stat.comm,
            executable: allowed(self.executable())?,
            cgroup_path: self.cgroup_path(hierarchy)?,
            netns: allowed(self.netns())?,
        };
        if self.stat()?.start == stat.start {
            Ok(Some(facts))
        } else {
            Err(Error::Reused { tgid: self.tgid })
        }
    }

    /// Its name, start and kind.
    ///
    /// # Errors
    ///
    /// It is gone.
    pub fn stat(&self) -> Result<Stat, Error> {
        let path = self.dir.join("stat");
        let text = read_text(&path)?;
        Stat::parse(&text).ok_or(Error::Malformed { path })
    }

    /// Its program.
    ///
    /// # Errors
    ///
    /// It is gone, is a kernel thread, or may not be read.
    pub fn executable(&self) -> Result<Executable, Error> {
        let path = read_link(&self.executable_file())?;
        Ok(Executable::from_link(&path))
    }

    /// A path by which its program can be opened, wherever it is mounted and
    /// also after it was deleted.
    #[must_use]
    pub fn executable_file(&self) -> PathBuf {
        self.dir.join("exe")
    }

    /// A file that has its memory, at its own addresses.
    #[must_use]
    pub fn memory_file(&self) -> PathBuf {
        self.dir.join("mem")
    }

    /// Path of its cgroup in `hierarchy`; `None` if it has none there.
    ///
    /// # Errors
    ///
    /// It is gone.
    pub fn cgroup_path(&self, hierarchy: &Hierarchy) -> Result<Option<String>, Error> {
        let text = read_text(&self.dir.join("cgroup"))?;
        Ok(hierarchy.path_in(&text).map(str::to_owned))
    }

    /// Inode number of its network namespace.
    ///
    /// # Errors
    ///
    /// It is gone, or may not be read.
    pub fn netns(&self) -> Result<u32, Error> {
        let path = self.dir.join("ns/net");
        let inode = read_inode_link(&path, "net:[")?;
        u32::try_from(inode).ok().ok_or(Error::Malformed { path })
    }

    /// The listening TCP sockets of its whole network namespace, of at most
    /// `max`. Read once per namespace, not per process.
    ///
    /// # Errors
    ///
    /// It is gone, or may not be read.
    pub fn listening_sockets_of_netns(&self, max: usize) -> Result<ListeningSockets, Error> {
        sockets::read_listening(&self.dir, max)
    }

    /// Inode numbers of the sockets that it has open. Lazy: a process may have
    /// a million, so take only as many as are worth their time (about 1 us
    /// each).
    ///
    /// # Errors
    ///
    /// It is gone, or may not be read.
    pub fn socket_inodes(&self) -> Result<SocketInodes, Error> {
        SocketInodes::open(&self.dir.join("fd"))
    }
}

/// What may not be read is left out; every other error is one.
fn allowed<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_denied() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Executable {
    /// From the target of `/proc/<pid>/exe`.
    fn from_link(target: &Path) -> Self {
        let text = target.to_string_lossy();
        let path = text.strip_suffix(" (deleted)").unwrap_or(&text);
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        Self { name, path: PathBuf::from(path) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::Executable;

    #[test]
    fn a_replaced_or_unlinked_program_keeps_its_name() {
        for (link, name, path) in [
            ("/usr/sbin/nginx", "nginx", "/usr/sbin/nginx"),
            ("/app/api (deleted)", "api", "/app/api"),
            ("/memfd:api (deleted)", "memfd:api", "/memfd:api"),
            ("(unreachable)/bin/sh", "sh", "(unreachable)/bin/sh"),
            ("/", "", "/"),
        ] {
            let expected = Executable { name: name.to_owned(), path: PathBuf::from(path) };
            assert_eq!(Executable::from_link(Path::new(link)), expected);
        }
    }
}
