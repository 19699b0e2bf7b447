//! A sample API in Rust, a thread a connection, for machines without Go.
//!
//! Separate process (a hidden verb), so that the agent sees a server and not
//! the load that calls it. Same command line as the Go one.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::http;
use crate::UsageError;

/// The hidden verb under which this binary is the API.
pub(crate) const VERB: &str = "__api";

/// Its command line, the same as the Go one's.
pub(crate) struct Options {
    listen: SocketAddr,
    downstream: Option<Url>,
}

/// What `/down` asks for.
#[derive(Clone)]
struct Url {
    address: SocketAddr,
    path: String,
}

impl Options {
    /// Reads `-listen ADDR [-downstream http://ADDR/PATH]`.
    pub(crate) fn parse(words: &[String]) -> Result<Self, UsageError> {
        let value = |option: &str| {
            let position = words.iter().position(|word| word == option)?;
            words.get(position + 1)
        };
        let listen = value("-listen").and_then(|address| address.parse().ok());
        let listen = listen.ok_or_else(|| UsageError("no `-listen ADDR`".to_owned()))?;
        Ok(Self { listen, downstream: value("-downstream").and_then(|url| Url::parse(url)) })
    }
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let (address, path) = text.strip_prefix("http://")?.split_once('/')?;
        Some(Self { address: address.parse().ok()?, path: format!("/{path}") })
    }
}

/// Serves until it is stopped.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen)
        .with_context(|| format!("listening on {}", options.listen))?;
    println!("listening {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream.context("accepting a connection")?;
        let downstream = options.downstream.clone();
        std::thread::spawn(move || serve(stream, downstream.as_ref()));
    }
    Ok(())
}

/// One connection, until its client leaves.
fn serve(stream: TcpStream, downstream: Option<&Url>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut peer = None;
    loop {
        let request = http::line(&mut stream)?;
        while !http::line(&mut stream)?.is_empty() {}
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (status, body) = answer(path, downstream, &mut peer);
        let response = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.get_mut().write_all(response.as_bytes())?;
    }
}

/// The paths are those of the Go API that the demo asks for, queries left out.
fn answer(
    path: &str,
    downstream: Option<&Url>,
    peer: &mut Option<http::Connection>,
) -> (&'static str, String) {
    match path.split('?').next().unwrap_or_default() {
        "/hello" => {}
        "/sleep" => std::thread::sleep(Duration::from_millis(10)),
        "/spin" => {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(2) {
                std::hint::spin_loop();
            }
        }
        "/down" => {
            return match ask(downstream, peer) {
                Ok(body) => ("200 OK", body),
                Err(error) => ("502 Bad Gateway", format!("{error:#}\n")),
            };
        }
        _ => return ("404 Not Found", "no such path\n".to_owned()),
    }
    ("200 OK", "hello\n".to_owned())
}

/// Asks the downstream, on the same connection as last time if there is one.
fn ask(downstream: Option<&Url>, peer: &mut Option<http::Connection>) -> anyhow::Result<String> {
    let url = downstream.context("no downstream is configured")?;
    let mut connection = match peer.take() {
        Some(connection) => connection,
        None => http::Connection::open(url.address)?,
    };
    let response = connection.get(&url.path)?;
    *peer = Some(connection);
    Ok(response.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(downstream: Option<Url>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let downstream = downstream.clone();
                std::thread::spawn(move || serve(stream, downstream.as_ref()));
            }
        });
        address
    }

    #[test]
    fn each_path_of_the_demo_answers_as_it_says() {
        let behind = Url { address: start(None), path: "/sleep?ms=1".to_owned() };
        let mut connection = http::Connection::open(start(Some(behind))).unwrap();
        let statuses: Vec<u16> = super::super::sample::PATHS
            .iter()
            .map(|path| connection.get(path).unwrap().status)
            .collect();
        assert_eq!(statuses, [200, 200, 200, 200, 404]);
    }

    #[test]
    fn without_a_downstream_it_says_so() {
        let response = http::get(start(None), "/down").unwrap();
        assert_eq!(response.status, 502);
        assert!(response.body.contains("no downstream"));
    }

    #[test]
    fn a_url_is_an_address_and_a_path() {
        let url = Url::parse("http://127.0.0.1:80/sleep?ms=5").unwrap();
        assert_eq!((url.address.port(), url.path.as_str()), (80, "/sleep?ms=5"));
        assert!(Url::parse("127.0.0.1:80").is_none());
        assert!(Url::parse("http://nowhere/").is_none());
    }
}
