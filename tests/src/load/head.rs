//! Parses a response's head far enough to know where its body ends. Pure.
//!
//! Separate from the connection so that it is tested without one.

use anyhow::Context as _;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, ended by one of size 0.
    Chunked,
    /// The server closes the connection.
    UntilClose,
}

/// A response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// How its body ends.
    pub framing: Framing,
    /// Whether another request may follow on the connection.
    pub keeps_alive: bool,
    /// Value of `X-Goid`, which the Go workload's `/goid` sends.
    pub goid: Option<u64>,
    /// Bytes of the head with the empty line after it.
    pub len: usize,
}

/// Parses the head of a response to `method` at the start of `bytes`;
/// `None` while it is not whole.
///
/// # Errors
/// When it is whole and not HTTP/1.x.
pub fn parse(bytes: &[u8], method: &str) -> anyhow::Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let (version, rest) = status_line.split_once(' ').context("no status line")?;
    anyhow::ensure!(version.starts_with("HTTP/1."), "not HTTP/1.x: {status_line}");
    let status: u16 = rest.get(..3).and_then(|code| code.parse().ok()).context("no status code")?;

    let mut head = Head {
        status,
        framing: Framing::UntilClose,
        keeps_alive: version == "HTTP/1.1",
        goid: None,
        len: end + 4,
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" if head.framing != Framing::Chunked => {
                head.framing = Framing::Length(value.parse().context("content-length")?);
            }
            "transfer-encoding" if value.contains("chunked") => head.framing = Framing::Chunked,
            "connection" if value.eq_ignore_ascii_case("close") => head.keeps_alive = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => head.keeps_alive = true,
            "x-goid" => head.goid = value.parse().ok(),
            _ => {}
        }
    }
    if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
        head.framing = Framing::None;
    }
    if head.framing == Framing::UntilClose {
        head.keeps_alive = false;
    }
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, method: &str, framing: Framing, keeps_alive: bool) {
        let head = parse(text.as_bytes(), method).unwrap().unwrap();
        assert_eq!((head.framing, head.keeps_alive, head.len), (framing, keeps_alive, text.len()));
    }

    #[test]
    fn the_end_of_a_body_is_known_by_method_status_and_headers() {
        let length = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        check(length, "GET", Framing::Length(5), true);
        check(length, "HEAD", Framing::None, true);
        check("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", Framing::None, true);
        check("HTTP/1.1 204 No Content\r\n\r\n", "GET", Framing::None, true);
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET",
            Framing::Chunked,
            true,
        );
        check("HTTP/1.0 200 OK\r\n\r\n", "GET", Framing::UntilClose, false);
        check(
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
            "GET",
            Framing::Length(0),
            true,
        );
        check(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n",
            "GET",
            Framing::Length(1),
            false,
        );
    }

    #[test]
    fn a_cut_head_waits_and_another_protocol_is_refused() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nA: b\r\n", "GET").unwrap(), None);
        assert!(parse(b"+PONG\r\n\r\n", "GET").is_err());
    }
}
