//! A client's connection: sends bytes, reads whole responses, stamps times.
//!
//! Separate because every HTTP client of the load is made of these.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

use super::head::{self, Framing, Head};
use crate::sys;

/// How long a client waits for anything.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A response that was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Interim (1xx) responses before it.
    pub interim: u32,
    /// Bytes of its body, without the framing of chunks.
    pub body_bytes: u64,
    /// Value of `X-Goid`.
    pub goid: Option<u64>,
    /// Whether another request may follow.
    pub keeps_alive: bool,
    /// When its last byte had been read.
    pub received_ns: u64,
}

/// One connection of a client.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    addr: SocketAddr,
    buffer: Vec<u8>,
    /// Read busily instead of blocking: no wake-up between the response's
    /// arrival and the client's next step.
    spins: bool,
}

impl Connection {
    /// Connects, without Nagle's delay.
    ///
    /// # Errors
    /// When the server cannot be reached within [`LIMIT`].
    pub fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, LIMIT)
            .with_context(|| format!("connecting to {addr}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self { stream, addr, buffer: Vec::with_capacity(64 << 10), spins: false })
    }

    /// The same, but reading busily.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn open_spinning(addr: SocketAddr) -> anyhow::Result<Self> {
        let mut connection = Self::open(addr)?;
        connection.stream.set_nonblocking(true)?;
        connection.spins = true;
        Ok(connection)
    }

    /// The server's address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The socket, for options and shutdown.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends all of `bytes`, and says when it began to.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, mut bytes: &[u8]) -> anyhow::Result<u64> {
        let sent_ns = sys::monotonic_ns();
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if self.goes_on(&error, sent_ns) => std::hint::spin_loop(),
                Err(error) => return Err(error).context("sending a request"),
            }
        }
        Ok(sent_ns)
    }

    fn goes_on(&self, error: &io::Error, since_ns: u64) -> bool {
        let is_early = || u128::from(sys::monotonic_ns() - since_ns) < LIMIT.as_nanos();
        error.kind() == io::ErrorKind::Interrupted
            || (self.spins && error.kind() == io::ErrorKind::WouldBlock && is_early())
    }

    /// Reads more into the buffer; false at the end of the stream.
    fn fill(&mut self) -> anyhow::Result<bool> {
        let since_ns = sys::monotonic_ns();
        let mut block = [0; 64 << 10];
        loop {
            match self.stream.read(&mut block) {
                Ok(read) => {
                    self.buffer.extend_from_slice(block.get(..read).unwrap_or_default());
                    return Ok(read > 0);
                }
                Err(error) if self.goes_on(&error, since_ns) => std::hint::spin_loop(),
                Err(error) => return Err(error).context("reading a response"),
            }
        }
    }

    fn need(&mut self, bytes: usize) -> anyhow::Result<()> {
        while self.buffer.len() < bytes {
            anyhow::ensure!(self.fill()?, "the server closed within a response");
        }
        Ok(())
    }

    /// Reads one head, interim or final, and leaves what follows it.
    ///
    /// # Errors
    /// When the server closes first, or sends something else than HTTP/1.x.
    pub fn read_head(&mut self, method: &str) -> anyhow::Result<Head> {
        loop {
            if let Some(head) = head::parse(&self.buffer, method)? {
                self.buffer.drain(..head.len);
                return Ok(head);
            }
            anyhow::ensure!(self.fill()?, "the server closed before a response");
        }
    }

    /// Reads one response to its end, with any interim ones before it.
    ///
    /// # Errors
    /// When it does not come whole.
    pub fn read_response(&mut self, method: &str) -> anyhow::Result<Response> {
        let mut interim = 0;
        let head = loop {
            let head = self.read_head(method)?;
            if !matches!(head.status, 100 | 102..=199) {
                break head;
            }
            interim += 1;
        };
        let body_bytes = match head.framing {
            Framing::None => 0,
            Framing::Length(length) => self.skip(length)?,
            Framing::Chunked => self.read_chunks()?,
            Framing::UntilClose => self.read_until_close()?,
        };
        Ok(Response {
            status: head.status,
            interim,
            body_bytes,
            goid: head.goid,
            keeps_alive: head.keeps_alive,
            received_ns: sys::monotonic_ns(),
        })
    }

    /// Reads and forgets so many bytes of body.
    fn skip(&mut self, length: u64) -> anyhow::Result<u64> {
        let mut left = length;
        loop {
            let here = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.buffer.drain(..here);
            left -= here as u64;
            if left == 0 {
                return Ok(length);
            }
            self.need(1)?;
        }
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    /// When the stream ends first.
    pub fn read_line(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            anyhow::ensure!(self.fill()?, "the server closed within a line");
        }
    }

    fn read_chunks(&mut self) -> anyhow::Result<u64> {
        let mut body_bytes = 0;
        loop {
            let line = self.read_line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size =
                u64::from_str_radix(size, 16).with_context(|| format!("chunk size {line:?}"))?;
            if size == 0 {
                while !self.read_line()?.is_empty() {}
                return Ok(body_bytes);
            }
            body_bytes += self.skip(size)?;
            anyhow::ensure!(self.read_line()?.is_empty(), "a chunk longer than its size");
        }
    }

    /// Reads to the end of the stream and says how many bytes came.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn read_until_close(&mut self) -> anyhow::Result<u64> {
        while self.fill()? {}
        let length = self.buffer.len() as u64;
        self.buffer.clear();
        Ok(length)
    }

    /// Waits until so many bytes of a response have come, and leaves them.
    ///
    /// # Errors
    /// When the server closes first.
    pub fn wait_for_bytes(&mut self, bytes: usize) -> anyhow::Result<()> {
        self.need(bytes)
    }
}
