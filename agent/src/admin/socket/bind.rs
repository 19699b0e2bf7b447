//! The socket's file: made, taken over, guarded, removed.
//!
//! Separate from what is spoken through it: here is what tells a second agent
//! that there is a first.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

/// Mode of the socket.
const MODE: u32 = 0o660;
/// Mode of the directory in which it is made.
const PRIVATE_MODE: u32 = 0o700;
/// Mode of the directory, if it has to be made.
const DIRECTORY_MODE: u32 = 0o755;
/// How often, and after which pause, a lock on the directory is tried. Anybody
/// who may read the directory can hold the lock, so nobody waits for it long.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody answers on it.
    #[error(
        "another agent{} answers on the socket {}; stop it, or choose another with --socket",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
        path.display()
    )]
    Taken {
        /// Which.
        path: PathBuf,
        /// Whose it is, as far as this namespace knows.
        pid: Option<i32>,
    },
    /// There is something else.
    #[error("{} exists and is no socket; choose another with --socket", path.display())]
    NoSocket {
        /// Which.
        path: PathBuf,
    },
    /// The group does not exist.
    #[error(
        "`socket_group`: there is no group {name} in /etc/group; name one that exists, or its number"
    )]
    NoGroup {
        /// Its name.
        name: String,
    },
    /// The file system or the kernel refuses.
    #[error("cannot {what} {}: {source}; choose another socket with --socket", path.display())]
    Refused {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A listening socket and its file, which is removed with it.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: the file may be another's by the end.
    file: Option<(u64, u64)>,
}

impl Bound {
    /// Makes the socket, with mode 0660, for root and `group`. Replaces what an
    /// agent left that was killed. It is made where nobody else may look, and
    /// moved to its place when its mode and group are right.
    ///
    /// # Errors
    ///
    /// If another agent answers there, or it cannot be made.
    pub async fn new(path: &Path, group: Option<&str>) -> Result<Self, Error> {
        let group = match group {
            Some(name) => Some(
                group_id(name, &std::fs::read_to_string("/etc/group").unwrap_or_default())
                    .ok_or_else(|| Error::NoGroup { name: name.to_owned() })?,
            ),
            None => None,
        };
        let directory = path.parent().unwrap_or(Path::new("/"));
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)
            .map_err(|error| refusal("make the directory", directory, error))?;
        // Two that start at once would each take the other's for a stale one.
        let _lock = lock(directory).await;
        make_way(path).await?;
        let private = Private::new(directory)
            .map_err(|error| refusal("make a directory in", directory, error))?;
        let made = private.socket();
        let listener =
            UnixListener::bind(&made).map_err(|error| refusal("make the socket", path, error))?;
        std::fs::set_permissions(&made, Permissions::from_mode(MODE))
            .map_err(|error| refusal("set the mode of the socket", path, error))?;
        if group.is_some() {
            std::os::unix::fs::chown(&made, None, group)
                .map_err(|error| refusal("give to its group the socket", path, error))?;
        }
        let file = std::fs::symlink_metadata(&made).ok().map(|file| (file.dev(), file.ino()));
        std::fs::rename(&made, path)
            .map_err(|error| refusal("move to its place the socket", path, error))?;
        Ok(Self { listener, path: path.to_owned(), file })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// What the kernel says. Safe to cancel.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let there = std::fs::symlink_metadata(&self.path).ok();
        let there = there.map(|file| (file.dev(), file.ino()));
        if there.is_some()
            && there == self.file
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

/// A directory for this process alone, removed with what is left in it.
struct Private(PathBuf);

impl Private {
    fn new(parent: &Path) -> io::Result<Self> {
        // Short: a socket's path has room for 107 bytes.
        let private = Self(parent.join(format!(".{}", std::process::id())));
        // One of this number that was killed here may have left it.
        private.remove();
        DirBuilder::new().mode(PRIVATE_MODE).create(&private.0)?;
        Ok(private)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }

    fn remove(&self) {
        let _ = std::fs::remove_file(self.socket());
        let _ = std::fs::remove_dir(&self.0);
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.remove();
    }
}

fn refusal(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Refused { what, path: path.to_owned(), source }
}

/// A lock on the directory until it is dropped; none if it cannot be had.
async fn lock(directory: &Path) -> Option<File> {
    let directory = File::open(directory).ok()?;
    for _ in 0..LOCK_TRIES {
        match directory.try_lock() {
            Ok(()) => return Some(directory),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Removes a socket on which nobody answers.
async fn make_way(path: &Path) -> Result<(), Error> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refusal("look at", path, error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(Error::NoSocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(stream) => {
            let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
            Err(Error::Taken { path: path.to_owned(), pid: pid.filter(|pid| *pid > 0) })
        }
        // Its queue is full: somebody listens.
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(Error::Taken { path: path.to_owned(), pid: None })
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .map_err(|error| refusal("remove the stale socket", path, error)),
        Err(error) => Err(refusal("ask who answers on", path, error)),
    }
}

/// The number of a group: itself, or by the text of `/etc/group`.
fn group_id(name: &str, groups: &str) -> Option<u32> {
    if let Ok(id) = name.parse() {
        return Some(id);
    }
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name_or_are_numbers() {
        let groups = "root:x:0:\nwheel:x:10:ann,bob\nbroken\nodd:x:y:\n";
        assert_eq!(group_id("wheel", groups), Some(10));
        assert_eq!(group_id("4711", groups), Some(4711));
        for unknown in ["whee", "broken", "odd", "-1", ""] {
            assert_eq!(group_id(unknown, groups), None, "{unknown:?}");
        }
    }

    #[tokio::test]
    async fn the_socket_has_its_mode_and_is_gone_at_the_end() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("made/strata.sock");
        let bound = Bound::new(&path, None).await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()), 0o755);
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_second_one_is_refused_and_the_first_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("s.sock");
        let first = Bound::new(&path, None).await.unwrap();
        let error = Bound::new(&path, None).await.unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        let (connected, accepted) = tokio::join!(UnixStream::connect(&path), first.accept());
        assert!(connected.is_ok() && accepted.is_ok());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("s.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves the file");
        let bound = Bound::new(&path, None).await.unwrap();
        assert!(UnixStream::connect(bound.path()).await.is_ok());
        let file = root.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(matches!(Bound::new(&file, None).await, Err(Error::NoSocket { .. })));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    }

    #[tokio::test]
    async fn the_socket_of_a_successor_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("s.sock");
        let first = Bound::new(&path, None).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let second = Bound::new(&path, None).await.unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).await.is_ok());
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_group_that_does_not_exist_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("s.sock");
        let error = Bound::new(&path, Some("no-such-group")).await.unwrap_err();
        assert!(error.to_string().contains("no-such-group"), "{error}");
        assert!(!path.exists());
    }
}
