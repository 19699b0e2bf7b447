//! One boot: QEMU as a child that cannot outlive its deadline or its owner.
//! Separate because it is the only part that starts a machine.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// What a guest left behind.
#[derive(Debug)]
pub(super) struct Guest {
    /// The kernel's console: its log and whatever init printed.
    pub(super) console: String,
    /// The second serial port, where the guest reports.
    pub(super) report: String,
}

/// Ends the machine when the owner leaves, also by an error.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Already gone is what both calls fail with, and what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots `vmlinuz` and waits until the machine powers off.
///
/// KVM is not used even where it exists: nested in a virtual machine it may
/// accept a guest and never run it. Two processors, so that events come from more than one.
pub(super) fn boot(
    vmlinuz: &Path,
    initrd: &Path,
    cache: &Path,
    name: &str,
    deadline: Duration,
) -> Result<Guest> {
    let console = cache.join(format!("guest-{name}.console.log"));
    let report = cache.join(format!("guest-{name}.report.log"));
    for log in [&console, &report] {
        std::fs::write(log, "").with_context(|| format!("cannot write {}", log.display()))?;
    }
    let mut command = Command::new("qemu-system-x86_64");
    // One thread for all CPUs: with one each, a CPU was seen to run into the
    // `int3` of a tracepoint's code after the kernel had taken it away, which
    // is a panic of the guest ("Oops: int3", once in some tens of runs).
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"])
        .args([
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=single",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "512",
        ])
        .arg("-kernel")
        .arg(vmlinuz)
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", &command_line()])
        .args(["-serial", &file_backend(&console)?, "-serial", &file_backend(&report)?])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = command.spawn().context("cannot run qemu-system-x86_64")?;
    let mut machine = Machine(child);
    let started = Instant::now();
    let status = loop {
        if let Some(status) = machine.0.try_wait()? {
            break status;
        }
        if started.elapsed() > deadline {
            bail!(
                "the guest is not done after {} s; see {} and {}",
                deadline.as_secs(),
                console.display(),
                report.display()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        let mut said = String::new();
        if let Some(mut stderr) = machine.0.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut said)?;
        }
        bail!("qemu: {status}: {}", said.trim_end());
    }
    Ok(Guest { console: read_log(&console)?, report: read_log(&report)? })
}

/// What the kernel is told. It hands on to init what it does not know itself:
/// with `STRATA_LOG_LEVEL=debug` here a program that a kernel refuses comes with
/// the verifier's whole log, in the guest's report.
fn command_line() -> String {
    let base = "console=ttyS0 panic=-1 oops=panic";
    match std::env::var("STRATA_LOG_LEVEL") {
        Ok(level) if !level.contains(char::is_whitespace) => {
            format!("{base} STRATA_LOG_LEVEL={level}")
        }
        _ => base.to_owned(),
    }
}

/// QEMU's name for a serial port that is a file; a comma in it would need escaping.
fn file_backend(path: &Path) -> Result<String> {
    match path.to_str().filter(|path| !path.contains(',')) {
        Some(path) => Ok(format!("file:{path}")),
        None => bail!("{} cannot be given to qemu", path.display()),
    }
}

/// A log as text: firmware and serial lines are not promised to be UTF-8.
fn read_log(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
