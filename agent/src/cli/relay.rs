//! `strata relay`: bytes between stdin, stdout and the agent's socket, for who
//! reaches this pod by `kubectl exec`.
//!
//! Separate from everything that knows what is said. It ends when either side
//! does: it must not be left behind where nobody would look for it.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes that are moved at once.
const CHUNK_BYTES: usize = 64 << 10;
/// How long the agent may take to end once there is nothing more to ask.
const END_WAIT: Duration = Duration::from_secs(5);

/// Why nothing is relayed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no agent, or none that may be asked.
    #[error("cannot connect to the agent at {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The agent's side broke.
    #[error("the connection to the agent broke: {0}")]
    Broken(io::Error),
}

/// Relays until the agent ends, stdout is not read any more, or five seconds
/// after stdin ended.
///
/// # Errors
///
/// If there is no agent, or the connection breaks. A broken pipe is one of
/// stdout.
pub fn run(socket: &Path, out: &mut impl Write) -> Result<(), super::Error> {
    let stream = UnixStream::connect(socket)
        .map_err(|source| Error::Connect { path: socket.to_owned(), source })?;
    let asking = stream.try_clone().map_err(Error::Broken)?;
    // It waits for input that may never come: the end of the process ends it.
    std::thread::spawn(move || ask(&mut io::stdin(), &asking));
    answer(&stream, out)
}

/// Moves what is asked, and then gives the agent some time to end.
fn ask(from: &mut impl Read, stream: &UnixStream) {
    let mut to = stream;
    // Whatever broke: there is nothing more to ask.
    let _ = io::copy(from, &mut to);
    let _ = stream.shutdown(Shutdown::Write);
    std::thread::sleep(END_WAIT);
    let _ = stream.shutdown(Shutdown::Both);
}

/// Moves what is answered, at once.
fn answer(mut stream: &UnixStream, out: &mut impl Write) -> Result<(), super::Error> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::Broken(error).into()),
        };
        out.write_all(chunk.get(..length).unwrap_or_default())?;
        out.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_arrives_with_its_end_and_what_is_answered_comes_back() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let asking = near.try_clone().unwrap();
        std::thread::spawn(move || ask(&mut &b"one line\n"[..], &asking));
        let agent = std::thread::spawn(move || {
            let mut asked = String::new();
            far.read_to_string(&mut asked).unwrap();
            far.write_all(b"an answer\n").unwrap();
            asked
        });
        let mut out = Vec::new();
        answer(&near, &mut out).unwrap();
        assert_eq!(agent.join().unwrap(), "one line\n");
        assert_eq!(out, b"an answer\n");
    }

    #[test]
    fn without_an_agent_the_socket_is_named() {
        let error = run(Path::new("/nonexistent/strata.sock"), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/strata.sock"), "{error}");
    }
}
