//! What the demo puts before the user: `strata top`, then lines worth trying.
//!
//! Separate because a terminal must be left as it was found, however `top`
//! ends.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::http;
use crate::{place, process};

/// Shows `top` until the time is over or the user leaves it. Without a terminal
/// its table is printed once, at the end.
pub(super) fn top(socket: &Path, length: Duration) -> anyhow::Result<()> {
    let mut command = Command::new(place::strata());
    command.arg("top").arg("--socket").arg(socket);
    if !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) {
        eprintln!("demo: no terminal here; `strata top --once` in {} s", length.as_secs());
        std::thread::sleep(length);
        return process::run(command.args(["--once", "-o", "table"]));
    }
    let terminal = Terminal::save();
    let deadline = Instant::now() + length;
    let mut top = command.spawn().context("starting `strata top`")?;
    let status = loop {
        if let Some(status) = top.try_wait().context("watching `strata top`")? {
            break status;
        }
        if Instant::now() >= deadline {
            top.kill().context("ending `strata top`")?;
            top.wait().context("ending `strata top`")?;
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    drop(terminal);
    anyhow::ensure!(status.success(), "`{}` failed ({status})", process::line(&command));
    Ok(())
}

/// The terminal's settings, put back at the end.
struct Terminal(Option<String>);

impl Terminal {
    fn save() -> Self {
        // `output` would close stdin, which is the terminal that is asked about.
        let mut command = Command::new("stty");
        command.arg("-g").stdin(Stdio::inherit());
        Self(process::output(&mut command).ok().map(|settings| settings.trim().to_owned()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Leave the alternate screen, show the cursor, default colours.
        print!("\x1b[?1049l\x1b[?25h\x1b[0m");
        if let Some(settings) = &self.0 {
            let _ = Command::new("stty").arg(settings).status();
        }
    }
}

/// A query and what it tells.
struct Line {
    what: &'static str,
    query: &'static str,
}

const IN_PROMETHEUS: [Line; 2] = [
    Line {
        what: "the slowest 1 % of each workload's requests, seconds",
        query: "histogram_quantile(0.99, sum by (workload, le) \
                (rate(http_server_request_duration_seconds_bucket[1m])))",
    },
    Line {
        what: "seconds that its threads waited for a CPU, a second",
        query: "sum by (workload) (rate(strata_runqueue_latency_seconds_sum[1m]))",
    },
];

/// What the first line below greps for.
const SHOWN: &str = "http_server_request_duration_seconds_count";

/// Prints three lines worth trying, and what the first says right now of this
/// container.
pub(super) fn lines_worth_trying(address: SocketAddr, container: &str) -> anyhow::Result<()> {
    let metrics = http::get(address, "/metrics")?;
    anyhow::ensure!(metrics.status == 200, "/metrics answered {}", metrics.status);
    println!("\nWorth trying while an agent runs:\n");
    println!("  # requests by workload, method and status");
    println!("  curl -s http://{address}/metrics | grep {SHOWN}");
    let label = format!("container=\"{container}\"");
    let is_shown = |line: &&str| line.starts_with(SHOWN) && line.contains(&label);
    let found: Vec<&str> = metrics.body.lines().filter(is_shown).take(5).collect();
    anyhow::ensure!(
        !found.is_empty(),
        "/metrics has no {SHOWN} of {container}: the agent saw no request of it"
    );
    for line in found {
        println!("    {line}");
    }
    for Line { what, query } in IN_PROMETHEUS {
        println!("  # in Prometheus: {what}\n  {query}");
    }
    println!();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::TcpListener;

    const SAID: &str = "http_server_request_duration_seconds_count{container=\"abc\"} 7\n";

    fn agent_that_says(body: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).unwrap();
            // Until the client is done: closing early would cut the answer off.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        address
    }

    #[test]
    fn an_agent_that_saw_requests_of_others_only_fails_the_demo() {
        let error = lines_worth_trying(agent_that_says(SAID), "def").unwrap_err();
        assert!(error.to_string().contains("saw no request"), "{error}");
    }

    #[test]
    fn an_agent_that_saw_some_passes() {
        assert!(lines_worth_trying(agent_that_says(SAID), "abc").is_ok());
    }
}
