//! The load client: requests whose number, timing and shape are known exactly.
//!
//! Separate from any ready-made load generator because the tests compare
//! counts to the last request and times to the microsecond: each client says
//! what it completed, by method and status, and when.
//!
//! Blocking threads only; all times are `CLOCK_MONOTONIC` nanoseconds.

pub mod closed;
pub mod connection;
pub mod head;
pub mod open;
pub mod pipelined;
pub mod racing;
pub mod redis;
pub mod sequential;
pub mod shapes;
pub mod tally;

pub use connection::{Connection, Response};
pub use tally::Tally;

use std::net::SocketAddr;

/// One kind of request in a plan: its method, path and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Body; empty for none.
    pub body: Vec<u8>,
}

impl Call {
    /// A call without a body.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), body: Vec::new() }
    }

    /// `GET path`.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// `POST path` with a body.
    #[must_use]
    pub fn post(path: &str, body: &[u8]) -> Self {
        Self { body: body.to_vec(), ..Self::new("POST", path) }
    }

    /// Its bytes on the wire, for HTTP/1.1, with further header lines (each
    /// ended by CR LF).
    #[must_use]
    pub fn encode(&self, host: SocketAddr, more_headers: &str) -> Vec<u8> {
        let Self { method, path, body } = self;
        let length = match body.len() {
            0 if method != "POST" && method != "PUT" => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{length}{more_headers}\r\n");
        [head.as_bytes(), body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_length_and_a_post_always_has_one() {
        let host = "127.0.0.1:80".parse().unwrap();
        let text = |call: Call| String::from_utf8(call.encode(host, "A: b\r\n")).unwrap();
        assert_eq!(
            text(Call::post("/e", b"hi")),
            "POST /e HTTP/1.1\r\nHost: 127.0.0.1:80\r\nContent-Length: 2\r\nA: b\r\n\r\nhi"
        );
        assert!(text(Call::new("POST", "/")).contains("Content-Length: 0\r\n"));
        assert!(!text(Call::get("/")).contains("Content-Length"));
    }
}
