//! Requests of unusual shape, each one request on a connection of its own.
//!
//! Separate because each is one trap for a parser of traffic, kept where all
//! of them can be seen on one page.

use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::Duration;

use super::{Call, Connection, Response};
use crate::sys;

/// HTTP/1.0 without any header; waits until the server closes after its
/// response, whatever version and headers that names.
///
/// # Errors
/// When no whole response comes, or the server goes on.
pub fn http10(addr: SocketAddr, path: &str) -> anyhow::Result<Response> {
    let mut connection = Connection::open(addr)?;
    connection.send(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let response = connection.read_response("GET")?;
    let more = connection.read_until_close()?;
    anyhow::ensure!(more == 0, "{more} bytes after the response");
    Ok(Response { keeps_alive: false, ..response })
}

/// A POST whose body comes in chunks, each in a segment of its own, `pause` apart.
///
/// # Errors
/// When no whole response comes.
pub fn chunked_upload(
    addr: SocketAddr,
    path: &str,
    chunks: &[&[u8]],
    pause: Duration,
) -> anyhow::Result<Response> {
    let mut connection = Connection::open(addr)?;
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: {addr}\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.send(head.as_bytes())?;
    for chunk in chunks {
        thread::sleep(pause);
        let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        connection.send(&framed)?;
    }
    connection.send(b"0\r\n\r\n")?;
    connection.read_response("POST")
}

/// A POST that waits for `100 Continue` before it sends its body; the interim
/// response is counted in what it gives.
///
/// # Errors
/// When the server does not continue, or no whole response comes.
pub fn expect_continue(addr: SocketAddr, path: &str, body: &[u8]) -> anyhow::Result<Response> {
    let mut connection = Connection::open(addr)?;
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    );
    connection.send(head.as_bytes())?;
    let interim = connection.read_head("POST")?;
    anyhow::ensure!(interim.status == 100, "answered {} instead of 100", interim.status);
    connection.send(body)?;
    let response = connection.read_response("POST")?;
    Ok(Response { interim: response.interim + 1, ..response })
}

/// A request whose client resets the connection after `patience`, before the
/// server answers (choose a path that takes longer).
///
/// # Errors
/// When the request cannot be sent.
pub fn abort_before_response(
    addr: SocketAddr,
    path: &str,
    patience: Duration,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(addr)?;
    connection.send(&Call::get(path).encode(addr, ""))?;
    thread::sleep(patience);
    sys::reset_on_close(connection.stream())?;
    Ok(())
}

/// A request whose client resets the connection once `bytes` of the response
/// have come (choose a path that sends many more).
///
/// # Errors
/// When the response is shorter.
pub fn abort_mid_response(addr: SocketAddr, path: &str, bytes: usize) -> anyhow::Result<()> {
    let mut connection = Connection::open(addr)?;
    connection.send(&Call::get(path).encode(addr, ""))?;
    connection.wait_for_bytes(bytes)?;
    sys::reset_on_close(connection.stream())?;
    Ok(())
}

/// A request whose client closes its sending side at once and then reads.
///
/// # Errors
/// When no whole response comes.
pub fn half_close(addr: SocketAddr, path: &str) -> anyhow::Result<Response> {
    let mut connection = Connection::open(addr)?;
    connection.send(&Call::get(path).encode(addr, ""))?;
    connection.stream().shutdown(Shutdown::Write)?;
    connection.read_response("GET")
}

/// A request sent one byte at a time, each in a segment of its own, `pause` apart.
///
/// # Errors
/// When no whole response comes.
pub fn bytewise(addr: SocketAddr, path: &str, pause: Duration) -> anyhow::Result<Response> {
    let mut connection = Connection::open(addr)?;
    for byte in Call::get(path).encode(addr, "") {
        connection.send(&[byte])?;
        thread::sleep(pause);
    }
    connection.read_response("GET")
}

/// Reads `events` events of an endless or longer event stream, then closes.
///
/// # Errors
/// When the stream ends before.
pub fn event_stream(addr: SocketAddr, path: &str, events: usize) -> anyhow::Result<u16> {
    let mut connection = Connection::open(addr)?;
    connection.send(&Call::get(path).encode(addr, "Accept: text/event-stream\r\n"))?;
    let head = connection.read_head("GET")?;
    let mut seen = 0;
    while seen < events {
        if connection.read_line()?.starts_with("data:") {
            seen += 1;
        }
    }
    Ok(head.status)
}

/// Upgrades to the workloads' echo protocol, has `lines` lines echoed one
/// after the other, and closes. Gives the status of the upgrade.
///
/// # Errors
/// When an echo differs, or the server closes.
pub fn upgrade(addr: SocketAddr, path: &str, lines: u32) -> anyhow::Result<u16> {
    let mut connection = Connection::open(addr)?;
    connection.send(&Call::get(path).encode(addr, "Connection: Upgrade\r\nUpgrade: echo\r\n"))?;
    let head = connection.read_head("GET")?;
    for line in 0..lines {
        // Looks like a request, and is none any more.
        let text = format!("GET /not-a-request/{line} HTTP/1.1");
        connection.send(format!("{text}\n").as_bytes())?;
        let echo = connection.read_line()?;
        anyhow::ensure!(echo == text, "echoed {echo:?}");
    }
    Ok(head.status)
}
