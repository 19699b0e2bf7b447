//! The way to an agent of this host: its unix socket.
//!
//! Separate from what is spoken, which also goes other ways, and from systems
//! that have no such sockets.

use std::io::ErrorKind;
use std::path::Path;

use tokio::net::UnixStream;

use super::client::{Client, Error};

impl Client {
    /// Connects to the agent that listens on `path`; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If there may be one, but it cannot be connected to.
    pub async fn connect(path: &Path) -> Result<Option<Self>, Error> {
        match UnixStream::connect(path).await {
            Ok(stream) => Ok(Some(Self::over(stream))),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => Ok(None),
                ErrorKind::PermissionDenied => Err(Error::Denied { path: path.to_owned() }),
                _ => Err(Error::Connect { path: path.to_owned(), source: error }),
            },
        }
    }

    /// A client over a connection that is there.
    #[must_use]
    pub fn over(stream: UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).filter(|pid| *pid > 0);
        let (reader, writer) = stream.into_split();
        Self::over_streams(reader, writer).of_process(pid)
    }
}
