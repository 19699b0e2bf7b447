//! The two things that rustup's stable cargo lacks to build kernel programs.
//!
//! Separate from the packages because neither needs root nor Debian.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::step;
use crate::{place, process};

/// The linker that fits the LLVM inside Rust 1.95; newer ones want a system LLVM.
const LINKER_VERSION: &str = "0.10.4";

/// Gets rust-src and bpf-linker if they are missing.
pub(crate) fn ensure() -> anyhow::Result<()> {
    ensure_rust_src()?;
    ensure_linker()
}

fn ensure_rust_src() -> anyhow::Result<()> {
    if has_rust_src()? {
        return Ok(());
    }
    anyhow::ensure!(
        place::command("rustup").is_some(),
        "the source of Rust's core library is missing and there is no rustup to get it; \
         install rustup, or your distribution's package for it (Debian: rust-web-src)"
    );
    step(
        "rust-src",
        "kernel programs build their own core library",
        Duration::from_secs(10),
        || {
            process::run(
                Command::new("rustup")
                    .args(["component", "add", "rust-src"])
                    .current_dir(place::repository()),
            )
        },
    )?;
    anyhow::ensure!(has_rust_src()?, "rustup added rust-src, but not to the active toolchain");
    Ok(())
}

fn has_rust_src() -> anyhow::Result<bool> {
    let sysroot = process::output(
        Command::new("rustc").args(["--print", "sysroot"]).current_dir(place::repository()),
    )?;
    Ok(PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file())
}

fn ensure_linker() -> anyhow::Result<()> {
    let found = linker_version();
    if found.as_deref() == Some(LINKER_VERSION) {
        return Ok(());
    }
    let why = match found {
        Some(version) => format!(
            "version {version} is there, but only {LINKER_VERSION} fits this compiler's LLVM"
        ),
        None => "it links the kernel programs".to_owned(),
    };
    step(&format!("bpf-linker {LINKER_VERSION}"), &why, Duration::from_secs(120), || {
        process::run(
            process::cargo()
                .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked"])
                // This repository's own settings are not meant for it.
                .env_remove("RUSTC_BOOTSTRAP")
                .env_remove("CARGO_TARGET_DIR"),
        )
    })?;
    let found = linker_version().context(
        "bpf-linker is installed but not in PATH; add cargo's bin directory (~/.cargo/bin) to it",
    )?;
    anyhow::ensure!(
        found == LINKER_VERSION,
        "bpf-linker {found} comes first in PATH and hides {LINKER_VERSION}; remove it"
    );
    Ok(())
}

fn linker_version() -> Option<String> {
    let said = process::output(Command::new("bpf-linker").arg("--version")).ok()?;
    parse_version(&said).map(str::to_owned)
}

/// The version in what `bpf-linker --version` prints: the second word.
fn parse_version(said: &str) -> Option<&str> {
    let mut words = said.split_whitespace();
    words.next().filter(|name| *name == "bpf-linker")?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_second_word() {
        assert_eq!(parse_version("bpf-linker 0.10.4\n"), Some("0.10.4"));
        assert_eq!(parse_version("bpf-linker 0.13.0 (abc)\n"), Some("0.13.0"));
        assert_eq!(parse_version("usage: something else"), None);
        assert_eq!(parse_version(""), None);
    }
}
