//! `setup`: what the other verbs need, fetched once.
//!
//! Separate so that each verb can ask for its own part: `build` needs the
//! toolchain, the tests need Debian packages too. Everything is looked for
//! before it is fetched, so a second run takes no time.

mod packages;
mod policy;
mod toolchain;

pub(crate) use packages::ensure as ensure_packages;
pub(crate) use toolchain::ensure as ensure_toolchain;

use std::time::{Duration, Instant};

/// Gets everything.
pub(crate) fn run() -> anyhow::Result<()> {
    let start = Instant::now();
    ensure_toolchain()?;
    ensure_packages()?;
    println!("setup: everything is there ({:.1} s)", start.elapsed().as_secs_f64());
    Ok(())
}

/// Says what is fetched, why and how long it should take; then how long it took.
fn step(
    what: &str,
    why: &str,
    expected: Duration,
    action: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    eprintln!("setup: getting {what}: {why} (about {} s)", expected.as_secs());
    let start = Instant::now();
    action()?;
    eprintln!("setup: got {what} in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
