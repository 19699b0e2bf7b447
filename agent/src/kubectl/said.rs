//! What `kubectl` says on its stderr: to the user at once where it waits for
//! the user, to the error where it fails.
//!
//! Separate because both are one stream: a login by a code in a browser prints
//! the code and waits, a failure prints its reason and ends.

use std::io::Write as _;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Who has said something and still runs after this is not about to end.
const HOLD: Duration = Duration::from_millis(500);
/// How long the rest is waited for.
const REST_WAIT: Duration = Duration::from_millis(1_500);
/// Bytes that are held, at most; the others are shown.
const MAX_BYTES: usize = 4 << 10;

/// A stderr that is read.
#[derive(Debug)]
pub(super) struct Said {
    /// One task; it ends with this.
    task: JoinSet<Vec<u8>>,
}

impl Said {
    /// Reads it from now on, whether somebody waits or not.
    pub(super) fn follow(stderr: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let mut task = JoinSet::new();
        task.spawn(follow(stderr, show));
        Self { task }
    }

    /// What was said last and is not shown; empty if there is no end to it.
    pub(super) async fn rest(mut self) -> Vec<u8> {
        match timeout(REST_WAIT, self.task.join_next()).await {
            Ok(Some(Ok(rest))) => rest,
            _ => Vec::new(),
        }
    }
}

/// Shows the user what was said.
pub(super) fn show(bytes: &[u8]) {
    // Who has no stderr does not read it either.
    let _ = std::io::stderr().write_all(bytes);
}

async fn follow(mut stderr: impl AsyncRead + Unpin, mut show: impl FnMut(&[u8])) -> Vec<u8> {
    let mut held = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let wait = if held.is_empty() { Duration::MAX } else { HOLD };
        match timeout(wait, stderr.read(&mut chunk)).await {
            Ok(Ok(0) | Err(_)) => return held,
            Ok(Ok(length)) => {
                held.extend_from_slice(chunk.get(..length).unwrap_or_default());
                if held.len() > MAX_BYTES {
                    show(&std::mem::take(&mut held));
                }
            }
            Err(_) => show(&std::mem::take(&mut held)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[test]
    fn what_is_followed_by_waiting_is_shown_and_what_is_followed_by_the_end_is_kept() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut kubectl, stderr) = tokio::io::duplex(64);
            let shown = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&shown);
            let mut task = JoinSet::new();
            task.spawn(follow(stderr, move |bytes: &[u8]| {
                seen.lock().unwrap().extend_from_slice(bytes);
            }));
            kubectl.write_all(b"the code is AB-12\n").await.unwrap();
            while shown.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            kubectl.write_all(b"error: denied\n").await.unwrap();
            drop(kubectl);
            let rest = task.join_next().await.unwrap().unwrap();
            assert_eq!(rest, b"error: denied\n");
            assert_eq!(*shown.lock().unwrap(), b"the code is AB-12\n");
        });
    }
}
