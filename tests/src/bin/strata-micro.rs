//! `strata-micro`: does what it is told on stdin, and says how long it took.
//!
//! Separate process, because the agent watches processes: the bench starts one
//! that is watched and one that is not, and the agent comes and goes while
//! both live on.

use std::io::{self, BufRead as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use anyhow::Context as _;
use tests::bench::ops::{self, Op};
use tests::sys;

const USAGE: &str = "\
usage: strata-micro CPU | strata-micro serve

Runs on that CPU. Prints `listening ADDR`, then answers each line
`OP RUNS PEER` on stdin with nanoseconds of one operation, a number a run.
`serve` listens and answers, and reads nothing.";

fn listen() -> anyhow::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").context("listening on loopback")
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "strata-micro: {error:#}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mode = std::env::args().nth(1).context("one argument is needed")?;
    let is_serving = mode == "serve";
    if !is_serving {
        sys::pin_to_cpu(mode.parse().context("CPU")?)?;
    }
    let (served, own) = (listen()?, listen()?);
    writeln!(io::stdout(), "listening {}", served.local_addr()?)?;
    ops::serve(served);
    if is_serving {
        loop {
            std::thread::park();
        }
    }
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let op = words.next().and_then(Op::parse).with_context(|| format!("line `{line}`"))?;
        let runs = words.next().and_then(|word| word.parse().ok()).context("RUNS")?;
        let peer: SocketAddr = words.next().and_then(|word| word.parse().ok()).context("PEER")?;
        let took = ops::run(op, &own, peer, runs).with_context(|| op.name())?;
        let answer: Vec<String> = took.iter().map(|ns| format!("{ns:.2}")).collect();
        writeln!(io::stdout(), "{}", answer.join(" "))?;
    }
    Ok(())
}
