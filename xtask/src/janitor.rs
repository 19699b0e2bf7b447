//! Undoes what a verb did to the machine, even if the verb is killed.
//!
//! Separate process, because `Drop` does not run on Ctrl-C or SIGKILL: it is
//! told over a pipe what to stop and remove, and does so when the pipe closes,
//! for whatever reason. It is the only path of clean-up, so every run tests it.

use std::io::{BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// The hidden verb under which this binary is the janitor.
pub(crate) const VERB: &str = "__janitor";

/// How long a process may take to end after SIGTERM before it is killed. The
/// agent promises 5 s; who removes containers must not be killed halfway, and
/// on a busy machine may first have to finish starting them.
const PATIENCE: Duration = Duration::from_secs(45);

/// A janitor at work. Dropping it cleans up, and waits until that is done.
pub(crate) struct Janitor {
    process: Child,
    orders: Option<ChildStdin>,
    /// What it is to stop; ours to wait for, so that no zombies are left.
    children: Vec<Child>,
}

impl Janitor {
    /// Starts one, in a process group of its own so that Ctrl-C spares it.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program's own file")?;
        let mut process = Command::new(program)
            .arg(VERB)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("starting the clean-up process")?;
        let orders = process.stdin.take();
        Ok(Self { process, orders, children: Vec::new() })
    }

    /// Starts a command that is stopped at the end. It gets a process group of
    /// its own: on Ctrl-C the janitor stops it, in order.
    pub(crate) fn spawn(&mut self, command: &mut Command) -> anyhow::Result<&mut Child> {
        let mut child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting `{}`", crate::process::line(command)))?;
        if let Err(error) = self.order(&format!("stop {}", child.id())) {
            // Nobody else will: do not leave it behind.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok(self.children.push_mut(child))
    }

    /// Makes sure that a file or directory is gone at the end.
    pub(crate) fn remove(&mut self, path: &Path) -> anyhow::Result<()> {
        self.order(&format!("remove {}", path.display()))
    }

    /// Runs a program without arguments at the end, and waits for it.
    pub(crate) fn run_at_end(&mut self, program: &Path) -> anyhow::Result<()> {
        self.order(&format!("run {}", program.display()))
    }

    fn order(&mut self, order: &str) -> anyhow::Result<()> {
        let orders = self.orders.as_mut().context("the clean-up process is gone")?;
        writeln!(orders, "{order}").context("telling the clean-up process")
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.process.wait();
        for child in &mut self.children {
            let _ = child.try_wait();
        }
    }
}

/// One thing to undo.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    /// A process, with its start time so that a reused number is spared.
    Stop {
        pid: u32,
        start: Option<u64>,
    },
    Remove(PathBuf),
    Run(PathBuf),
}

/// The janitor process: reads orders until the pipe closes, then undoes them,
/// last first.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut orders = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.context("reading orders")?;
        match line.split_once(' ') {
            Some(("stop", pid)) => {
                let pid: u32 = pid.parse().with_context(|| format!("order `{line}`"))?;
                orders.push(Order::Stop { pid, start: start_time(pid) });
            }
            Some(("remove", path)) => orders.push(Order::Remove(path.into())),
            Some(("run", path)) => orders.push(Order::Run(path.into())),
            _ => anyhow::bail!("unknown order `{line}`"),
        }
    }
    for order in orders.iter().rev() {
        if let Err(error) = obey(order) {
            eprintln!("clean-up: {error:#}");
        }
    }
    Ok(())
}

fn obey(order: &Order) -> anyhow::Result<()> {
    match order {
        Order::Stop { pid, start: Some(start) } => stop(*pid, *start),
        // It was gone before we looked.
        Order::Stop { start: None, .. } => Ok(()),
        Order::Remove(path) => {
            let outcome = match std::fs::symlink_metadata(path) {
                Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
                Ok(_) => std::fs::remove_file(path),
                Err(_) => Ok(()),
            };
            outcome.with_context(|| format!("removing {}", path.display()))
        }
        Order::Run(program) => crate::process::run_quietly(&mut Command::new(program)),
    }
}

fn stop(pid: u32, start: u64) -> anyhow::Result<()> {
    for signal in ["TERM", "KILL"] {
        if start_time(pid) != Some(start) {
            return Ok(());
        }
        // A shell's own `kill`: the standard library has no signals, and the
        // program of that name is not on every machine.
        Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\" 2>/dev/null", "sh", signal, &pid.to_string()])
            .status()
            .with_context(|| format!("sending SIG{signal} to {pid}"))?;
        let deadline = Instant::now() + PATIENCE;
        while start_time(pid) == Some(start) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    anyhow::ensure!(start_time(pid) != Some(start), "process {pid} does not end");
    Ok(())
}

/// When a live process started, clock ticks since boot. A zombie is not alive.
fn start_time(pid: u32) -> Option<u64> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Start time from `/proc/<pid>/stat`: field 22; the state is field 3. The
/// command name (field 2) may hold anything, so fields count from its `)`.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b (c) S 1 7 7 0 -1 4 1 0 0 0 1 2 0 0 20 0 1 0 4711 1 1 1";

    #[test]
    fn a_command_name_with_brackets_does_not_shift_the_fields() {
        assert_eq!(parse_stat(STAT), Some(4711));
    }

    #[test]
    fn a_zombie_is_not_alive() {
        assert_eq!(parse_stat(&STAT.replace(" S ", " Z ")), None);
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn a_process_is_stopped() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let start = start_time(child.id()).unwrap();
        stop(child.id(), start).unwrap();
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_process_with_a_reused_number_is_spared() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let start = start_time(child.id()).unwrap();
        stop(child.id(), start + 1).unwrap();
        assert_eq!(start_time(child.id()), Some(start));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn directories_and_files_go_and_what_is_gone_is_no_error() {
        let directory = std::env::temp_dir().join(format!("strata-janitor-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("deep")).unwrap();
        std::fs::write(directory.join("file"), "x").unwrap();
        obey(&Order::Remove(directory.join("file"))).unwrap();
        assert!(!directory.join("file").exists());
        obey(&Order::Remove(directory.clone())).unwrap();
        assert!(!directory.exists());
        obey(&Order::Remove(directory)).unwrap();
    }
}
