//! `demo`: the main job, on this machine, in a minute.
//!
//! A sample API that calls a second one, each in a container, steady load, the
//! agent beside them, `strata top` in front. Separate from the tests because it proves nothing:
//! it shows. Everything that it makes is undone by the janitor.

pub(crate) mod api;
mod http;
mod load;
mod sample;
mod screen;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::janitor::Janitor;
use crate::{UsageError, build, place, process, setup};

/// Where the agent listens unless told otherwise.
const USUAL_ADDRESS: &str = "127.0.0.1:9464";

/// How long the agent may take to be ready: it attaches within 2 s, but this
/// machine may just have compiled it.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// What was asked for on the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// How long to show it.
    pub(crate) length: Duration,
}

impl Options {
    /// Reads the words after `demo`.
    pub(crate) fn parse(words: &[String]) -> Result<Self, UsageError> {
        let seconds = match words {
            [] => Some(60),
            [option, seconds] if option == "--seconds" => seconds.parse().ok(),
            [word, ..] if word != "--seconds" => {
                return Err(UsageError(format!("unknown option `{word}`")));
            }
            _ => None,
        };
        match seconds {
            Some(seconds @ 1..=86_400) => Ok(Self { length: Duration::from_secs(seconds) }),
            _ => Err(UsageError("`--seconds` takes a number from 1 to 86400".to_owned())),
        }
    }
}

/// Shows the agent at work, then removes every trace.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(
        !build::is_without_kernel_programs(),
        "AYA_BUILD_SKIP leaves the kernel programs out, and without them there is nothing to show"
    );
    anyhow::ensure!(
        place::is_root(),
        "loading kernel programs and making containers need root: `sudo --preserve-env env \"PATH=$PATH\" cargo xtask demo`"
    );
    setup::ensure_packages()?;
    build::run()?;

    let mut janitor = Janitor::start()?;
    let directory = std::env::temp_dir().join(format!("strata-demo-{}", std::process::id()));
    janitor.remove(&directory)?;
    std::fs::create_dir(&directory).with_context(|| format!("making {}", directory.display()))?;

    let sample::Apis { what, front, downstream, .. } = &sample::start(&mut janitor)?;
    println!("demo: {what} serves {} in container {}", front.address, front.container);
    println!("demo: it calls {} in container {}", downstream.address, downstream.container);
    let load = load::Load::start(front.address, sample::PATHS);

    let agent = Agent::start(&mut janitor, &directory)?;
    println!("demo: the agent answers on {}", agent.address);
    let outcome = show(options, &agent, front);
    let (answered, failed) = load.stop();
    drop(janitor);
    println!("demo: {answered} requests answered, {failed} failed; all stopped and removed");
    outcome
}

fn show(options: &Options, agent: &Agent, front: &sample::Api) -> anyhow::Result<()> {
    screen::top(&agent.socket, options.length)?;
    screen::lines_worth_trying(agent.address, &front.container)
}

/// The agent, ready.
struct Agent {
    address: SocketAddr,
    socket: std::path::PathBuf,
}

impl Agent {
    /// Starts it, and waits until it is ready. No target is named: it finds
    /// what serves in containers itself.
    fn start(janitor: &mut Janitor, directory: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let socket = directory.join("strata.sock");
        let log = directory.join("agent.log");
        let mut command = Command::new(place::strata());
        command.arg("agent").args(["--listen", &address.to_string(), "--socket"]).arg(&socket);
        let file =
            std::fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let process = janitor.spawn(&mut command)?;
        if let Err(error) = wait_until_ready(address, process) {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            anyhow::bail!("{error:#}; `{}` said:\n{said}", process::line(&command));
        }
        Ok(Self { address, socket })
    }
}

/// The usual address, or any if somebody has that.
fn free_address() -> anyhow::Result<SocketAddr> {
    TcpListener::bind(USUAL_ADDRESS)
        .or_else(|_| TcpListener::bind("127.0.0.1:0"))
        .and_then(|listener| listener.local_addr())
        .context("finding a free port")
}

fn wait_until_ready(address: SocketAddr, agent: &mut Child) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        if let Some(status) = agent.try_wait().context("watching the agent")? {
            anyhow::bail!("the agent ended ({status})");
        }
        if http::get(address, "/readyz").is_ok_and(|response| response.status == 200) {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "the agent is not ready after {} s",
            START_PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<u64, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Options::parse(&words)
            .map(|options| options.length.as_secs())
            .map_err(|UsageError(message)| message)
    }

    #[test]
    fn it_shows_a_minute_unless_told_otherwise() {
        assert_eq!(parse(&[]), Ok(60));
        assert_eq!(parse(&["--seconds", "5"]), Ok(5));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(parse(&["--minutes", "5"]), Err("unknown option `--minutes`".to_owned()));
        for words in [&["--seconds"][..], &["--seconds", "x"], &["--seconds", "0"]] {
            assert!(parse(words).is_err_and(|message| message.contains("--seconds")));
        }
    }

    #[test]
    fn an_agent_that_ends_at_once_is_noticed() {
        let mut process = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        // Port 1 on loopback: nobody is ready there.
        let error = wait_until_ready("127.0.0.1:1".parse().unwrap(), &mut process).unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }
}
