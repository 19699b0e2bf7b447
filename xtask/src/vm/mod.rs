//! The kernel matrix: the agent as payload of Debian's cloud kernels in QEMU.
//!
//! Separate from the other test stages because nothing here runs on this
//! kernel: packages are unpacked but never installed, the guest has no disk and
//! no network, and emulation (TCG) needs neither KVM nor root.
//!
//! ```text
//! kernels: apt package -> vmlinuz ---+
//! initramfs: files + tests/guest ----+-> qemu: boot, bounded -> report: facts -> failures, table
//! ```

mod cpio;
mod initramfs;
mod json;
mod kernels;
mod qemu;
mod report;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) use kernels::{KERNELS, Kernel};
pub(crate) use report::{GuestReport, table};

/// Programs that this stage calls on the host, with the Debian package of each.
/// apt, dpkg and ldd are part of every Debian.
const TOOLS: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    (initramfs::BUSYBOX, "busybox-static"),
    (initramfs::SETPRIV, "util-linux"),
    ("go", "golang-go"),
];

/// A guest boots and reports in under a minute on an idle 2-core host; a host
/// that also compiles makes it several times slower.
const GUEST_DEADLINE: Duration = Duration::from_secs(300);

/// Boots each kernel with `target/release/strata` as payload and returns what
/// the guests reported, in the order of `kernels`.
///
/// Whether a report is good is for [`GuestReport::failures`] to say: a guest
/// that lacks a lane is a finding, not an error.
///
/// # Errors
///
/// When a part cannot be had (kernel package, tool, agent binary) or a guest
/// does not come to its end within its deadline; the error names the part, or
/// the logs that the guest left under `target/vm/`.
pub(crate) fn run(kernels: &[Kernel]) -> Result<Vec<GuestReport>> {
    let missing = missing_packages();
    ensure!(missing.is_empty(), "tools are missing; try `apt-get install {}`", missing.join(" "));
    let root = workspace_root()?;
    let cache = root.join("target/vm");
    std::fs::create_dir_all(&cache)
        .with_context(|| format!("cannot create {}", cache.display()))?;
    let api = build_api(&root, &cache)?;
    let payload = initramfs::Payload { agent: root.join("target/release/strata"), api };
    let initrd = cache.join("initramfs.cpio");
    initramfs::write(&initrd, &payload)?;
    let mut reports = Vec::with_capacity(kernels.len());
    for kernel in kernels {
        let image = kernels::fetch(kernel, &cache)?;
        say(&format!("kernel {}: booting {}", kernel.series, image.package));
        let started = Instant::now();
        let guest = qemu::boot(&image.vmlinuz, &initrd, &cache, kernel.series, GUEST_DEADLINE)?;
        let report = GuestReport::parse(kernel, &guest.report, &guest.console);
        say(&format!("kernel {}: done in {:.0} s", kernel.series, started.elapsed().as_secs_f64()));
        reports.push(report);
    }
    Ok(reports)
}

/// Debian packages that have to be installed before [`run`] can work.
pub(crate) fn missing_packages() -> Vec<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Joining an absolute path gives that path.
    let exists =
        |tool: &str| std::env::split_paths(&path).any(|directory| directory.join(tool).is_file());
    TOOLS.iter().filter(|(tool, _)| !exists(tool)).map(|&(_, package)| package).collect()
}

/// The directory of the workspace, from where cargo compiled this crate.
fn workspace_root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest.parent().context("xtask has no parent directory")?.to_path_buf())
}

/// Builds the API that the guest serves: static, as a container image has it.
fn build_api(root: &Path, cache: &Path) -> Result<PathBuf> {
    let source = root.join("tests/apps/goapi");
    let binary = cache.join("goapi");
    ensure!(source.is_dir(), "{} is not there", source.display());
    let mut go = Command::new("go");
    go.current_dir(&source).env("CGO_ENABLED", "0").args(["build", "-o"]).arg(&binary).arg(".");
    run_tool(&mut go)?;
    Ok(binary)
}

/// Runs a host tool to its end; its output shows only when it fails.
fn run_tool(command: &mut Command) -> Result<Vec<u8>> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(output.stdout)
}

/// One line of progress, on stderr: stdout is for the table.
fn say(line: &str) {
    // Progress that nobody can read is not worth failing for.
    let _ = writeln!(std::io::stderr(), "{line}");
}
