//! The least of HTTP/1.1 that a demo needs: requests, and their answers.
//!
//! Separate because the sample API, the load and the agent's own endpoint are
//! all spoken to with it. No dependency is worth thirty lines.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// Longest answer that is read: a node's full exposition is below 10 MiB.
const MOST_BYTES: u64 = 32 << 20;

/// An answer.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: String,
}

/// A connection that is kept for further requests.
pub(super) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects; no later step waits longer than 5 s.
    pub(super) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let patience = Duration::from_secs(5);
        let stream = TcpStream::connect_timeout(&address, patience)
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks, and waits for the answer.
    pub(super) fn get(&mut self, path: &str) -> anyhow::Result<Response> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).context("sending a request")?;
        response(&mut self.0)
    }
}

/// One request on a connection of its own.
pub(super) fn get(address: SocketAddr, path: &str) -> anyhow::Result<Response> {
    Connection::open(address)?.get(path)
}

fn response(from: &mut impl BufRead) -> anyhow::Result<Response> {
    let status = line(from)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.context("the answer is not HTTP")?;
    let mut length = None;
    let mut is_chunked = false;
    loop {
        let header = line(from)?.to_ascii_lowercase();
        match header.split_once(':') {
            None => break,
            Some(("content-length", value)) => length = value.trim().parse::<u64>().ok(),
            Some(("transfer-encoding", value)) => is_chunked = value.contains("chunked"),
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    if is_chunked {
        loop {
            let size = line(from)?;
            let size = u64::from_str_radix(size.trim(), 16).context("a chunk without a size")?;
            exactly(from, size, &mut body)?;
            line(from)?;
            if size == 0 {
                break;
            }
        }
    } else {
        exactly(from, length.unwrap_or(0), &mut body)?;
    }
    Ok(Response { status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn exactly(from: &mut impl BufRead, bytes: u64, into: &mut Vec<u8>) -> anyhow::Result<()> {
    anyhow::ensure!(bytes <= MOST_BYTES, "an answer of {bytes} bytes");
    let read = from.take(bytes).read_to_end(into).context("reading an answer")?;
    anyhow::ensure!(read as u64 == bytes, "the answer was cut off");
    Ok(())
}

/// One line without its end; an error at the end of the stream.
pub(super) fn line(from: &mut impl BufRead) -> anyhow::Result<String> {
    let mut line = Vec::new();
    let read = from.take(16 << 10).read_until(b'\n', &mut line).context("reading a line")?;
    anyhow::ensure!(read > 0, "the connection was closed");
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Response> {
        response(&mut text.as_bytes())
    }

    #[test]
    fn a_body_with_a_length_or_in_chunks_is_read() {
        let plain = read("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabcrest").unwrap();
        assert_eq!((plain.status, plain.body.as_str()), (404, "abc"));
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(read(chunked).unwrap().body, "abcde");
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error() {
        for text in [
            "",
            "hello\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nabc",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
