//! Where the workload programs are, built on demand.
//!
//! Separate from `workload`, which runs them: containers run them too.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::Context as _;

use crate::process;

/// The workspace's target directory.
#[must_use]
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
}

/// The folder of the workload programs' sources.
#[must_use]
pub fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("apps")
}

/// The folder of the workload programs that had to be built.
#[must_use]
pub fn build_dir() -> PathBuf {
    target_dir().join("tests-apps")
}

/// Builds the Go workload (static, once per process; Go's own cache makes the
/// next one quick) and gives its path.
///
/// # Errors
/// When there is no Go, or its build fails.
pub fn goapi() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_go("goapi").map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

/// How a Go program is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoBuild {
    /// By this release, which Go's own command fetches; `None`: by the machine's.
    pub toolchain: Option<&'static str>,
    /// Without symbols and debug information.
    pub is_stripped: bool,
    /// Position independent.
    pub is_pie: bool,
}

/// [`goapi`], built in another way.
///
/// # Errors
/// As [`goapi`], and when the toolchain cannot be had.
pub fn goapi_built(build: &GoBuild) -> anyhow::Result<PathBuf> {
    if *build == GoBuild::default() {
        return goapi();
    }
    let toolchain = build.toolchain.unwrap_or("local");
    let name = format!("goapi-{toolchain}-{}-{}", build.is_stripped, build.is_pie);
    build_go_as(&name, "goapi", build)
}

/// Builds the Go program that calls another of its kind, as [`goapi`].
///
/// # Errors
/// As [`goapi`].
pub fn gocaller() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_go("gocaller").map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

/// Builds the OpenTelemetry Collector, as [`goapi`]; the first time its modules
/// are fetched, which are pinned by their sums.
///
/// # Errors
/// As [`goapi`].
pub fn collector() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_go("collector").map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build_go(name: &str) -> anyhow::Result<PathBuf> {
    build_go_as(name, name, &GoBuild::default())
}

/// Builds the program of a folder under a name.
fn build_go_as(name: &str, folder: &str, build: &GoBuild) -> anyhow::Result<PathBuf> {
    let (dir, _lock) = locked_build_dir(name)?;
    let binary = dir.join(name);
    let mut command = Command::new(go_tool());
    command
        .args(["build", "-o"])
        .arg(&binary)
        .args(build.is_stripped.then_some("-ldflags=-s -w"))
        .args(build.is_pie.then_some("-buildmode=pie"))
        .arg(".")
        .current_dir(source_dir().join(folder))
        .env("CGO_ENABLED", "0")
        // A static binary: nothing to stamp, and nothing but what is pinned.
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("GOTOOLCHAIN", build.toolchain.unwrap_or("local"));
    process::run(&mut command)?;
    Ok(binary)
}

/// Whether Go's command can fetch this release, or has.
#[must_use]
pub fn has_go_toolchain(toolchain: &str) -> bool {
    let mut command = Command::new(go_tool());
    command.arg("version").env("GOTOOLCHAIN", toolchain);
    process::run(&mut command).is_ok_and(|said| said.contains(toolchain))
}

/// Builds the C workload and gives its path.
///
/// # Errors
/// When there is no C compiler, or it refuses.
pub fn capi() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_c("capi").map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build_c(name: &str) -> anyhow::Result<PathBuf> {
    let (dir, _lock) = locked_build_dir(name)?;
    let binary = dir.join(name);
    process::run(
        Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
            .arg(&binary)
            .arg(source_dir().join(name).with_extension("c")),
    )?;
    Ok(binary)
}

/// The folder of what is built, and a lock for one program in it: test binaries
/// may run side by side. The lock goes with the file's close.
fn locked_build_dir(name: &str) -> anyhow::Result<(PathBuf, File)> {
    let dir = build_dir();
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let dir = dir.canonicalize()?;
    let lock = File::create(dir.join(format!("{name}.lock")))?;
    lock.lock().context("waiting for another build")?;
    Ok((dir, lock))
}

/// `go` from `PATH`, else from where its own archive installs it.
#[must_use]
pub fn go_tool() -> PathBuf {
    let usual = PathBuf::from("/usr/local/go/bin/go");
    if !crate::require::has_tool("go") && usual.is_file() { usual } else { PathBuf::from("go") }
}

/// Whether the Go workload can be built here.
#[must_use]
pub fn has_go() -> bool {
    crate::require::has_tool("go") || Path::new("/usr/local/go/bin/go").is_file()
}
