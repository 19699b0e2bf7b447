//! `image`: container images as archives, made without a container engine.
//!
//! Separate from `build`, which makes the program that runs here: in an image
//! there is nothing but one static program, so it needs libraries of its own.

mod archive;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{build, place, process, setup};

/// The host's own target: named, so that the flags are the program's alone and
/// not those of the macros that its build runs.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The C library within the program: an image has no other.
const STATIC: &str = "-Ctarget-feature=+crt-static";

/// An image in a file that `ctr image import` and `docker load` take.
pub(crate) struct Image {
    /// The name by which it is known there.
    pub(crate) reference: String,
    /// The file.
    pub(crate) archive: PathBuf,
}

/// The verb: the agent's image.
pub(crate) fn run() -> Result<()> {
    let image = agent()?;
    println!("{} in {}", image.reference, image.archive.display());
    Ok(())
}

/// The agent, with its kernel programs inside.
pub(crate) fn agent() -> Result<Image> {
    ensure!(!build::is_without_kernel_programs(), "AYA_BUILD_SKIP leaves the kernel programs out");
    setup::ensure_toolchain()?;
    process::run(
        process::cargo()
            .args(["build", "--release", "--package=agent", "--bin=strata", "--target", TARGET])
            .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", STATIC),
    )?;
    let program = place::target().join(TARGET).join("release/strata");
    image("strata", env!("CARGO_PKG_VERSION"), &program)
}

/// Both ends of a service in a cluster, for tests.
pub(crate) fn podapp() -> Result<Image> {
    let directory = directory()?;
    let program = directory.join("podapp");
    let go = place::command("go").context("no Go, which builds the app of the cluster's tests")?;
    process::run_quietly(
        Command::new(go)
            .args(["build", "-trimpath", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(place::repository().join("tests/apps/podapp"))
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-mod=mod -buildvcs=false")
            .env("GOTOOLCHAIN", "local"),
    )?;
    image("strata-podapp", "test", &program)
}

fn image(name: &str, tag: &str, program: &Path) -> Result<Image> {
    let reference = format!("{name}:{tag}");
    let file = directory()?.join(format!("{name}.tar"));
    archive::write(&file, &reference, program)?;
    Ok(Image { reference, archive: file })
}

/// Where images are kept.
fn directory() -> Result<PathBuf> {
    let directory = place::target().join("images");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("making {}", directory.display()))?;
    Ok(directory)
}
