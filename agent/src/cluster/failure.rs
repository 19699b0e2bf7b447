//! What went wrong with the API server, in a word that can be counted.
//!
//! Separate and pure: which reason an error is counted under is a promise.

use std::error::Error as StdError;

use kube::runtime::watcher;

use crate::telemetry::metadata::MetadataError;

/// The reason of a failed list or watch.
pub(super) fn reason(error: &watcher::Error) -> MetadataError {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => client_reason(error),
        watcher::Error::WatchError(status) => code_reason(status.code),
        watcher::Error::NoResourceVersion => MetadataError::Garbage,
    }
}

/// The reason of a failed request.
pub(super) fn client_reason(error: &kube::Error) -> MetadataError {
    match error {
        kube::Error::Api(status) => code_reason(status.code),
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => MetadataError::Garbage,
        kube::Error::Auth(_) => MetadataError::Unauthorized,
        error if is_timeout(error) => MetadataError::Timeout,
        _ => MetadataError::Unreachable,
    }
}

const fn code_reason(code: u16) -> MetadataError {
    match code {
        401 => MetadataError::Unauthorized,
        403 => MetadataError::Forbidden,
        410 => MetadataError::Gone,
        408 | 504 => MetadataError::Timeout,
        429 | 500..=599 => MetadataError::Server,
        _ => MetadataError::Garbage,
    }
}

fn is_timeout(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut) {
            return true;
        }
        next = error.source();
    }
    false
}
