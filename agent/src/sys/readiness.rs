//! Waiting for a descriptor to become readable.
//!
//! Separate because tokio asks for a promise about the descriptor that the
//! compiler cannot check.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that can be waited for.
#[derive(Debug)]
pub struct Readiness {
    fd: AsyncFd<OwnedFd>,
}

impl Readiness {
    /// Registers a descriptor with the runtime that the caller runs in.
    ///
    /// # Errors
    ///
    /// What epoll(7) gives: the descriptor cannot be waited for.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is open, is the same descriptor each time that
        // it is asked, and closes only when the `AsyncFd` drops it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self { fd })
    }

    /// Waits until the kernel says, after the last call, that there is
    /// something to read. Does not end if it cannot be waited for any more.
    pub async fn wait(&self) {
        match self.fd.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => std::future::pending().await,
        }
    }
}
