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

use crate::{UsageError, build, place};
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

/// Where the table goes in the README: between these lines.
const MARKERS: [&str; 2] = ["<!-- kernels:begin -->\n", "<!-- kernels:end -->"];

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Put the table into the README.
    writes_readme: bool,
    /// Series to boot; empty for all.
    series: Vec<String>,
}

impl Options {
    /// Reads the words after `vm`.
    pub(crate) fn parse(words: &[String]) -> Result<Self, UsageError> {
        let mut options = Self::default();
        for word in words {
            match word.as_str() {
                "--write-readme" => options.writes_readme = true,
                series if KERNELS.iter().any(|kernel| kernel.series == series) => {
                    options.series.push(series.to_owned());
                }
                unknown => {
                    let known = KERNELS.map(|kernel| kernel.series).join(", ");
                    return Err(UsageError(format!("`{unknown}` is no kernel; there are {known}")));
                }
            }
        }
        if options.writes_readme && !options.series.is_empty() {
            return Err(UsageError("the README's table has every kernel".to_owned()));
        }
        Ok(options)
    }
}

/// The verb: builds the agent, boots the kernels, and prints the table.
pub(crate) fn verb(options: &Options) -> Result<()> {
    ensure!(!build::is_without_kernel_programs(), "AYA_BUILD_SKIP leaves the kernel programs out");
    build::run()?;
    let asked = |kernel: &&Kernel| {
        options.series.is_empty() || options.series.iter().any(|series| series == kernel.series)
    };
    let kernels: Vec<Kernel> = KERNELS.iter().filter(asked).copied().collect();
    let mut reports = Vec::new();
    for outcome in run(&kernels)? {
        match outcome {
            Outcome::Reported(report) => reports.push(report),
            Outcome::NotHad { kernel, error } => return Err(error.context(kernel.series)),
        }
    }
    let table = table(&reports);
    println!("{table}");
    let file = place::target().join("vm/kernels.md");
    std::fs::write(&file, &table).with_context(|| format!("writing {}", file.display()))?;
    let failures: Vec<String> = reports.iter().flat_map(GuestReport::failures).collect();
    ensure!(failures.is_empty(), "not as it must be:\n  {}", failures.join("\n  "));
    if options.writes_readme {
        let readme = place::repository().join("README.md");
        let text = std::fs::read_to_string(&readme)
            .with_context(|| format!("reading {}", readme.display()))?;
        let text = with_table(&text, &table).with_context(|| {
            format!("{} has no lines {}", readme.display(), MARKERS.map(str::trim_end).join(", "))
        })?;
        std::fs::write(&readme, text).with_context(|| format!("writing {}", readme.display()))?;
    }
    Ok(())
}

/// The text with `table` between the markers; `None` without markers.
fn with_table(text: &str, table: &str) -> Option<String> {
    let [begin, end] = MARKERS;
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{table}{end}{after}"))
}

/// What came of one kernel.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The guest came to its end.
    Reported(GuestReport),
    /// Its package cannot be had here: no network, or another distribution.
    NotHad {
        /// Which kernel.
        kernel: Kernel,
        /// Why.
        error: anyhow::Error,
    },
}

/// Boots each kernel with the release build of the agent as payload and returns
/// what came of it, in the order of `kernels`.
///
/// Whether a report is good is for [`GuestReport::failures`] to say: a guest
/// that lacks a lane is a finding, not an error.
///
/// # Errors
///
/// When a part of every guest cannot be had (tool, agent binary) or a guest
/// does not come to its end within its deadline; the error names the part, or
/// the logs that the guest left under `target/vm/`.
pub(crate) fn run(kernels: &[Kernel]) -> Result<Vec<Outcome>> {
    let missing = missing_packages();
    ensure!(missing.is_empty(), "tools are missing; try `apt-get install {}`", missing.join(" "));
    let cache = place::target().join("vm");
    std::fs::create_dir_all(&cache)
        .with_context(|| format!("cannot create {}", cache.display()))?;
    let payload = initramfs::Payload { agent: place::strata(), api: build_api(&cache)? };
    let initrd = cache.join("initramfs.cpio");
    initramfs::write(&initrd, &payload)?;
    let mut outcomes = Vec::with_capacity(kernels.len());
    for kernel in kernels {
        let image = match kernels::fetch(kernel, &cache) {
            Ok(image) => image,
            Err(error) => {
                outcomes.push(Outcome::NotHad { kernel: *kernel, error });
                continue;
            }
        };
        say(&format!("kernel {}: booting {}", kernel.series, image.package));
        let started = Instant::now();
        let guest = qemu::boot(&image.vmlinuz, &initrd, &cache, kernel.series, GUEST_DEADLINE)?;
        let report = GuestReport::parse(kernel, &guest.report, &guest.console);
        say(&format!("kernel {}: done in {:.0} s", kernel.series, started.elapsed().as_secs_f64()));
        outcomes.push(Outcome::Reported(report));
    }
    Ok(outcomes)
}

/// Debian packages that have to be installed before [`run`] can work.
fn missing_packages() -> Vec<&'static str> {
    let is_missing = |tool: &str| place::command(tool).is_none();
    TOOLS.iter().filter(|(tool, _)| is_missing(tool)).map(|&(_, package)| package).collect()
}

/// Builds the API that the guest serves: static, as a container image has it.
fn build_api(cache: &Path) -> Result<PathBuf> {
    let source = place::repository().join("tests/apps/goapi");
    let binary = cache.join("goapi");
    ensure!(source.is_dir(), "{} is not there", source.display());
    let mut go = Command::new(place::command("go").context("there is no go")?);
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

#[cfg(test)]
mod tests {
    use super::{Options, with_table};

    fn parse(words: &[&str]) -> Option<Options> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Options::parse(&words).ok()
    }

    #[test]
    fn kernels_are_chosen_by_series() {
        assert_eq!(parse(&[]), Some(Options::default()));
        assert_eq!(parse(&["6.12"]).map(|options| options.series), Some(vec!["6.12".to_owned()]));
        assert!(parse(&["--write-readme"]).is_some_and(|options| options.writes_readme));
        assert_eq!(parse(&["5.4"]), None);
        assert_eq!(parse(&["--write-readme", "6.1"]), None);
    }

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let text = "a\n<!-- kernels:begin -->\nold\n<!-- kernels:end -->\nb\n";
        let once = with_table(text, "| new |\n");
        assert_eq!(
            once.as_deref(),
            Some("a\n<!-- kernels:begin -->\n| new |\n<!-- kernels:end -->\nb\n")
        );
        assert_eq!(with_table(once.as_deref().unwrap(), "| new |\n"), once);
        assert_eq!(with_table("a\n", "| new |\n"), None);
    }
}
