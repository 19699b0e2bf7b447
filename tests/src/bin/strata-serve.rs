//! A server that reads and writes by the system calls that it is told to.
//!
//! `strata-serve LISTEN RECEIVE SEND` prints `thread TID`, then
//! `listening ADDR`, and serves one connection after another on that thread:
//! each request is answered with the same response (`io_calls`), and when that
//! has been written `responded NS` tells the time of `CLOCK_MONOTONIC`.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::Context as _;
use tests::io_calls::{self, Receive, Send};
use tests::sys;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, receive, send] = &args[..] else {
        anyhow::bail!("usage: strata-serve LISTEN RECEIVE SEND");
    };
    let receive = Receive::named(receive).with_context(|| format!("no way to read: {receive}"))?;
    let send = Send::named(send).with_context(|| format!("no way to write: {send}"))?;
    let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    // On a thread of its own, so that thread and process have other numbers.
    let serving = std::thread::spawn(move || serve(&listener, receive, send));
    serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn serve(listener: &TcpListener, receive: Receive, send: Send) -> anyhow::Result<()> {
    let thread = std::fs::read_link("/proc/thread-self").context("reading the thread's number")?;
    let tid = thread.file_name().context("a thread without a number")?.to_string_lossy();
    let mut stdout = std::io::stdout();
    writeln!(stdout, "thread {tid}\nlistening {}", listener.local_addr()?)?;
    stdout.flush()?;
    let body = io_calls::body_file()?;
    for stream in listener.incoming() {
        let stream = stream.context("accepting")?;
        let mut head = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let Ok(read @ 1..) = io_calls::receive(&stream, receive, &mut buffer) else { break };
            head.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if head.windows(4).any(|four| four == b"\r\n\r\n") {
                head.clear();
                if io_calls::respond(&stream, send, &body).is_err() {
                    break;
                }
                writeln!(stdout, "responded {}", sys::monotonic_ns())?;
            }
        }
    }
    Ok(())
}
