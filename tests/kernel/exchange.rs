//! A server whose system calls are chosen, and a client that knows to the byte
//! what went over the wire.
//!
//! Separate because most kernel tests make one exchange and look at its record.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use tests::io_calls::{BODY_BYTES, HEAD, Receive, Send};
use tests::process::Process;
use tests::workload::announced;
use tests::{eventually, sys};

/// Bytes of a response of [`Server`].
pub(crate) const RESPONSE_BYTES: usize = HEAD.len() + BODY_BYTES;

/// `strata-serve`, listening.
pub(crate) struct Server {
    process: Process,
    /// Where.
    pub(crate) addr: SocketAddr,
    /// The thread that serves.
    pub(crate) tid: u32,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Starts it on an address with a free port.
    pub(crate) fn start(listen: &str, receive: Receive, send: Send) -> Self {
        Self::start_by(listen, receive, send, |argv| {
            let mut command = Command::new(&argv[0]);
            command.args(&argv[1..]);
            command
        })
    }

    /// Starts it by a command made of its argv.
    pub(crate) fn start_by(
        listen: &str,
        receive: Receive,
        send: Send,
        wrap: impl FnOnce(&[String]) -> Command,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (receive, send) = (format!("{receive:?}"), format!("{send:?}"));
        let argv = [env!("CARGO_BIN_EXE_strata-serve"), listen, &receive, &send].map(str::to_owned);
        let process = Process::spawn(&mut wrap(&argv), dir.path(), "server").unwrap();
        let addr = eventually::until(Duration::from_secs(5), || announced(&process.stdout()));
        let addr = addr.unwrap_or_else(|| panic!("{}", process.stderr()));
        let stdout = process.stdout();
        let tid = stdout.lines().find_map(|line| line.strip_prefix("thread ")).unwrap();
        Self { addr, tid: tid.parse().unwrap(), process, _dir: dir }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// When each response had been written, in the order of the requests: the
    /// client may have the response before the call that wrote it returns.
    pub(crate) fn responded_ns(&self) -> Vec<u64> {
        let stdout = self.process.stdout();
        let times = stdout.lines().filter_map(|line| line.strip_prefix("responded "));
        times.map(|ns| ns.parse().unwrap()).collect()
    }

    pub(crate) fn stop(mut self) {
        self.process.kill().unwrap();
    }
}

/// One exchange by the client's account.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) client: SocketAddr,
    pub(crate) sent_bytes: u64,
    pub(crate) before_ns: u64,
    pub(crate) after_ns: u64,
}

/// Sends a request and reads the whole response, on a connection that stays.
pub(crate) fn exchange(stream: &mut TcpStream, request: &str) -> Exchange {
    let before_ns = sys::monotonic_ns();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = [0; RESPONSE_BYTES];
    stream.read_exact(&mut response).context(request.to_owned()).unwrap();
    let after_ns = sys::monotonic_ns();
    assert!(response.starts_with(HEAD));
    let client = stream.local_addr().unwrap();
    Exchange { client, sent_bytes: request.len() as u64, before_ns, after_ns }
}
