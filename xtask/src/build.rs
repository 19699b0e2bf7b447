//! `build`: the agent with its kernel programs inside, as it is shipped.
//!
//! Separate from cargo's own `build` because it first gets the linker, and
//! says what came out.

use anyhow::Context as _;

use crate::{place, process, setup};

/// Whether the kernel programs are left out of the agent (`AYA_BUILD_SKIP`);
/// the same test as in the agent's build script.
pub(crate) fn is_without_kernel_programs() -> bool {
    std::env::var("AYA_BUILD_SKIP").is_ok_and(|value| value == "1" || value == "true")
}

/// Builds the release binary and prints its path and size.
pub(crate) fn run() -> anyhow::Result<()> {
    if !is_without_kernel_programs() {
        setup::ensure_toolchain()?;
    }
    process::run(process::cargo().args(["build", "--release", "--package", "agent"]))?;
    let binary = place::strata();
    let bytes = std::fs::metadata(&binary)
        .with_context(|| format!("looking for {}", binary.display()))?
        .len();
    let note = if is_without_kernel_programs() { ", without kernel programs" } else { "" };
    let shown = binary.strip_prefix(place::repository()).unwrap_or(&binary);
    println!("{} ({:.1} MiB{note})", shown.display(), bytes as f64 / f64::from(1 << 20));
    Ok(())
}
