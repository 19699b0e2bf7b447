//! Minimal HTTP, for `/metrics`, `/readyz` and the APIs of Prometheus and Kubernetes.
//!
//! Separate from `load`, whose clients are part of what is measured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// A response: status, head as it came, body with its chunks put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Status line and header lines.
    pub head: String,
    /// Body, decoded from chunks but not from any content coding.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header of that name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Asks for `path` on a connection of its own.
///
/// # Errors
/// When nobody answers within 10 s, or with something that is not HTTP.
pub fn get(addr: SocketAddr, path: &str) -> anyhow::Result<Response> {
    get_with(addr, path, &[])
}

/// [`get`] with more header fields.
///
/// # Errors
/// As [`get`].
pub fn get_with(
    addr: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<Response> {
    ask(addr, "GET", path, headers, "")
}

/// Sends JSON to `path`, as [`get`] asks.
///
/// # Errors
/// As [`get`].
pub fn post(addr: SocketAddr, path: &str, json: &str) -> anyhow::Result<Response> {
    ask(addr, "POST", path, &[("Content-Type", "application/json")], json)
}

fn ask(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Response> {
    let limit = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&addr, limit)
        .with_context(|| format!("connecting to {addr}"))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).with_context(|| format!("reading http://{addr}{path}"))?;
    parse(&bytes).with_context(|| format!("http://{addr}{path} did not answer in HTTP"))
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?.to_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut response = Response { status, head, body: bytes.get(end + 4..)?.to_vec() };
    if response.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        response.body = join_chunks(&response.body)?;
    }
    // A server, or a forwarded port, that went away in the middle is no answer.
    let length = response.header("content-length").and_then(|length| length.parse().ok());
    if length.is_some_and(|length: usize| response.body.len() < length) {
        return None;
    }
    Some(response)
}

fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..end)?).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let start = end + 2;
        body.extend_from_slice(rest.get(start..start.checked_add(size)?)?);
        rest = rest.get(start + size + 2..)?;
    }
}

/// Encodes a query value.
#[must_use]
pub fn percent_encode(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_and_cut_ones_refused() {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let whole = [head.clone(), b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n".to_vec()].concat();
        let response = parse(&whole).unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "abcde"));
        assert_eq!(parse(&[head, b"5\r\nab".to_vec()].concat()), None);
        assert_eq!(percent_encode("a{b}"), "a%7Bb%7D");
    }

    #[test]
    fn a_body_shorter_than_it_was_said_to_be_is_refused() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(parse(format!("{head}abc").as_bytes()).unwrap().text(), "abc");
        assert_eq!(parse(format!("{head}ab").as_bytes()), None);
    }
}
