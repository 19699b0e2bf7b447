//! Waiting for a descriptor that somebody else reads: a terminal's keys.
//!
//! Separate because registering a descriptor takes a promise that the compiler
//! cannot check; here it is kept once, by owning a duplicate.

use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that is waited for, never read.
#[derive(Debug)]
pub struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Of whatever can be polled; not of plain files. Needs a runtime with I/O.
    ///
    /// # Errors
    ///
    /// If it cannot be duplicated or polled.
    pub fn new(fd: impl AsFd) -> std::io::Result<Self> {
        let own = fd.as_fd().try_clone_to_owned()?;
        // SAFETY: an owned descriptor is open and the same until it is dropped,
        // and `AsyncFd` holds it until then.
        let registered = unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) };
        Ok(Self(registered?))
    }

    /// Waits until there is something to read, or there was since the last
    /// call: read all that there is before calling again. Safe to cancel.
    ///
    /// # Errors
    ///
    /// If the runtime ends.
    pub async fn wait(&mut self) -> std::io::Result<()> {
        // Cleared before anything is read: what comes later wakes again.
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_wakes_for_every_write_and_only_then() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let mut readable = Readable::new(&reader).unwrap();
        for _ in 0..2 {
            let idle = tokio::time::timeout(Duration::from_millis(20), readable.wait()).await;
            assert!(idle.is_err(), "there is nothing to read");
            writer.write_all(b"x").unwrap();
            let woken = tokio::time::timeout(Duration::from_secs(10), readable.wait()).await;
            woken.expect("it wakes").unwrap();
            reader.read_exact(&mut [0]).unwrap();
        }
    }
}
