//! The operations of the micro method: what a process does, many times.
//!
//! Separate from `micro`, which runs them: they are carried out by
//! `strata-micro`, a process that the agent watches or does not.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use crate::sys;

/// A request as a Go client sends it.
const REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
    User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n";
/// A response as a Go server sends it.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 03:00:00 GMT\r\n\
    Content-Length: 6\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\n";
/// What goes through pipes and sockets that carry no HTTP.
const BYTES: [u8; 64] = [b'x'; 64];

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// One system call that does next to nothing.
    Getppid,
    /// A write to a pipe and a read from it.
    Pipe,
    /// A write to a Unix socket and a read from its other end.
    Unix,
    /// A write to a TCP connection and a read from its other end.
    Tcp,
    /// An HTTP request and its response, both ends in one thread.
    Http,
    /// A byte to another thread of the process and back: two switches.
    Switch,
    /// An HTTP request to the process that listens at the peer's address, one
    /// thread a connection, on the same CPU.
    Served,
}

impl Op {
    /// Every one.
    pub const ALL: [Self; 7] =
        [Self::Getppid, Self::Pipe, Self::Unix, Self::Tcp, Self::Http, Self::Switch, Self::Served];

    /// Its name on the wire between the bench and `strata-micro`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Getppid => "getppid",
            Self::Pipe => "pipe",
            Self::Unix => "unix",
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Switch => "switch",
            Self::Served => "served",
        }
    }

    /// The operation of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }

    /// Operations of one run, some two milliseconds.
    #[must_use]
    pub fn count(self) -> u32 {
        match self {
            Self::Getppid => 20_000,
            Self::Pipe | Self::Unix => 4_000,
            Self::Tcp => 1_000,
            Self::Http | Self::Switch => 400,
            Self::Served => 200,
        }
    }
}

/// One operation, ready to be repeated.
type Step = Box<dyn FnMut() -> io::Result<()>>;

/// Repeats an operation: nanoseconds of one, for each of `runs` runs. The
/// connections that it uses are new; a run before the first is not counted.
///
/// # Errors
/// When a pipe or connection cannot be made, or breaks.
pub fn run(op: Op, listener: &TcpListener, peer: SocketAddr, runs: u32) -> io::Result<Vec<f64>> {
    let mut step = prepare(op, listener, peer)?;
    let count = op.count();
    let mut took = Vec::new();
    for round in 0..=runs {
        let start_ns = sys::monotonic_ns();
        for _ in 0..count {
            step()?;
        }
        let run_ns = sys::monotonic_ns() - start_ns;
        if round > 0 {
            took.push(run_ns as f64 / f64::from(count));
        }
    }
    Ok(took)
}

fn prepare(op: Op, listener: &TcpListener, peer: SocketAddr) -> io::Result<Step> {
    Ok(match op {
        Op::Getppid => Box::new(|| {
            std::hint::black_box(std::os::unix::process::parent_id());
            Ok(())
        }),
        Op::Pipe => {
            let (reader, writer) = io::pipe()?;
            pair(writer, reader)
        }
        Op::Unix => {
            let (one, other) = UnixStream::pair()?;
            pair(one, other)
        }
        Op::Tcp => {
            let (client, server) = connection(listener)?;
            pair(client, server)
        }
        Op::Http => {
            let (mut client, mut server) = connection(listener)?;
            let mut buffer = [0; 4096];
            Box::new(move || {
                client.write_all(REQUEST)?;
                expect(server.read(&mut buffer)?, REQUEST.len())?;
                server.write_all(RESPONSE)?;
                expect(client.read(&mut buffer)?, RESPONSE.len())
            })
        }
        Op::Switch => {
            let (reader, mut there) = io::pipe()?;
            let (mut back, writer) = io::pipe()?;
            // It ends when its pipe does.
            thread::spawn(move || echo(reader, writer));
            let mut byte = [0; 1];
            Box::new(move || {
                there.write_all(&byte)?;
                back.read_exact(&mut byte)
            })
        }
        Op::Served => {
            let mut client = TcpStream::connect(peer)?;
            client.set_nodelay(true)?;
            let mut buffer = [0; 4096];
            Box::new(move || {
                client.write_all(REQUEST)?;
                expect(client.read(&mut buffer)?, RESPONSE.len())
            })
        }
    })
}

/// A write to one end and a read from the other.
fn pair(mut one: impl Write + 'static, mut other: impl Read + 'static) -> Step {
    let mut buffer = [0; BYTES.len()];
    Box::new(move || {
        one.write_all(&BYTES)?;
        other.read_exact(&mut buffer)
    })
}

fn connection(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

/// Messages are smaller than a segment, so each comes whole.
fn expect(read: usize, wanted: usize) -> io::Result<()> {
    if read == wanted { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
}

fn echo(mut reader: io::PipeReader, mut writer: io::PipeWriter) {
    let mut byte = [0; 1];
    while reader.read_exact(&mut byte).is_ok() && writer.write_all(&byte).is_ok() {}
}

/// Answers every request with the same response, a thread a connection, until
/// the process ends.
pub fn serve(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
}

fn answer(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    // Without it the client would wait for nothing; there is nobody to tell.
    let _ = stream.set_nodelay(true);
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) && stream.write_all(RESPONSE).is_ok()
    {
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_can_be_repeated() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = server.local_addr().unwrap();
        serve(server);
        for op in Op::ALL {
            assert_eq!(Op::parse(op.name()), Some(op));
            let took = run(op, &listener, peer, 2).unwrap();
            assert_eq!(took.len(), 2);
            assert!(took.iter().all(|ns| *ns > 0.0), "{op:?}: {took:?}");
        }
    }
}
