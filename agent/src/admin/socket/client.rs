//! The other end: asks a running agent, and reads its lines.
//!
//! Separate from the server because this is what a build without an engine
//! needs.

use std::fmt;
use std::io;
use std::path::PathBuf;

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};

use super::{MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, Request};
use crate::export::json::{Answer, VERSION, Workloads};
use crate::tap::query::Query;
use crate::tap::traced::Notice;

/// Room for what is read at once of a trace.
const READ_BYTES: usize = 256 << 10;

/// Why nothing comes from an agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may not be asked.
    #[error(
        "an agent runs, but its socket {} may not be used; \
         run as root, or as a member of its group (`socket_group`)", path.display()
    )]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The connection cannot be made.
    #[error("cannot connect to {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the agent broke: {0}")]
    Broken(#[from] io::Error),
    /// The agent closed the connection.
    #[error("the agent ended the connection")]
    Ended,
    /// What is wanted takes more than the agent reads.
    #[error(
        "the targets take {bytes} bytes, more than the {MAX_REQUEST_BYTES} that an agent reads; \
         name fewer"
    )]
    TooMany {
        /// Length of the request.
        bytes: usize,
    },
    /// It said no.
    #[error("the agent refuses: {reason}")]
    Refused {
        /// In its words.
        reason: String,
    },
    /// It said something else.
    #[error("the agent's answer is not understood ({reason}); use the same version on both sides")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
}

/// A connection to an agent.
pub struct Client {
    reader: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    /// Closing it tells the agent that nothing more is wanted; `None` after.
    writer: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    line: Vec<u8>,
    pid: Option<i32>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reader: _, writer, line, pid } = self;
        f.debug_struct("Client")
            .field("is_open", &writer.is_some())
            .field("unread_bytes", &line.len())
            .field("pid", pid)
            .finish()
    }
}

impl Client {
    /// A client over a connection that is there, whatever it goes through.
    #[must_use]
    pub fn over_streams(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let reader = BufReader::new(Box::new(reader) as Box<dyn AsyncRead + Send + Unpin>);
        Self { reader, writer: Some(Box::new(writer)), line: Vec::new(), pid: None }
    }

    /// The same, of an agent with this process id.
    #[cfg(feature = "agent")]
    pub(super) fn of_process(self, pid: Option<i32>) -> Self {
        Self { pid, ..self }
    }

    /// Process id of the agent, as far as this namespace knows it.
    #[must_use]
    pub const fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Asks.
    ///
    /// # Errors
    ///
    /// If the connection breaks.
    pub async fn ask(&mut self, request: &Request) -> Result<(), Error> {
        let line = request.line();
        if line.len() > MAX_REQUEST_BYTES {
            return Err(Error::TooMany { bytes: line.len() });
        }
        let writer = self.writer.as_mut().ok_or(Error::Ended)?;
        writer.write_all(&line).await?;
        Ok(writer.flush().await?)
    }

    /// Asks for requests as they finish, or for a capture, and waits until the agent says that
    /// they are watched for.
    ///
    /// # Errors
    ///
    /// If the connection breaks, or the agent refuses.
    pub async fn trace(&mut self, query: Query) -> Result<(), Error> {
        let request =
            if query.capture_ns > 0 { Request::capture(query) } else { Request::trace(query) };
        self.ask(&request).await?;
        let line = self.line().await?;
        match serde_json::from_slice(&line) {
            Ok(Notice::Begin) => Ok(()),
            _ => match answer(&line) {
                Ok(_) => Err(Error::Malformed { reason: "it does not begin".to_owned() }),
                Err(error) => Err(error),
            },
        }
    }

    /// The next lines of a trace, whole ones; empty at the end. Safe to cancel:
    /// what was read by then is kept for the next call.
    ///
    /// # Errors
    ///
    /// If the connection breaks, or a line is too long.
    pub async fn lines(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            self.line.reserve(READ_BYTES);
            if self.reader.read_buf(&mut self.line).await? == 0 {
                return Ok(Vec::new());
            }
            if let Some(end) = self.line.iter().rposition(|byte| *byte == b'\n') {
                let rest = self.line.split_off(end + 1);
                return Ok(std::mem::replace(&mut self.line, rest));
            }
            if self.line.len() > MAX_ANSWER_BYTES {
                let reason = format!("a line of more than {MAX_ANSWER_BYTES} bytes");
                return Err(Error::Malformed { reason });
            }
        }
    }

    /// Says that nothing more is wanted: a trace ends with what is there.
    pub async fn finish(&mut self) {
        // If it is broken, reading says so.
        // A pipe is closed by nothing but its end.
        if let Some(mut writer) = self.writer.take() {
            let _ = writer.shutdown().await;
        }
    }

    /// The next line of the answer. Safe to cancel: what was read by then is
    /// kept for the next call.
    ///
    /// # Errors
    ///
    /// If the connection ends or breaks, or the line is no answer.
    pub async fn next(&mut self) -> Result<Workloads, Error> {
        let line = self.line().await?;
        answer(&line)?.workloads.ok_or_else(|| malformed("it has no workloads".to_owned()))
    }

    /// The next line. Safe to cancel.
    async fn line(&mut self) -> Result<Vec<u8>, Error> {
        let room = (MAX_ANSWER_BYTES + 1).saturating_sub(self.line.len());
        (&mut self.reader).take(room as u64).read_until(b'\n', &mut self.line).await?;
        let line = std::mem::take(&mut self.line);
        match line.last() {
            Some(b'\n') => Ok(line),
            Some(_) if line.len() > MAX_ANSWER_BYTES => {
                Err(malformed(format!("a line of more than {MAX_ANSWER_BYTES} bytes")))
            }
            _ => Err(Error::Ended),
        }
    }
}

/// What a line says, unless it refuses or is of another version.
fn answer(line: &[u8]) -> Result<Answer, Error> {
    let answer: Answer =
        serde_json::from_slice(line).map_err(|error| malformed(error.to_string()))?;
    if let Some(reason) = answer.error {
        return Err(Error::Refused { reason });
    }
    if answer.version != VERSION {
        let (theirs, ours) = (answer.version, VERSION);
        return Err(malformed(format!("its protocol has version {theirs}, not {ours}")));
    }
    Ok(answer)
}

const fn malformed(reason: String) -> Error {
    Error::Malformed { reason }
}
