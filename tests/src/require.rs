//! The gate for what a test needs and a machine may lack.
//!
//! A skip is never silent: it prints its reason, adds a line to the file named
//! by `STRATA_SKIPS`, and panics under `STRATA_STRICT=1`.

use std::io::Write as _;

/// Ends the test here, counted as skipped, unless the condition holds.
///
/// `require!(has_tool("nginx"), "nginx is not installed")`
#[macro_export]
macro_rules! require {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            $crate::require::skip(concat!(module_path!(), ":", line!()), &format!($($reason)+));
            return;
        }
    };
}

/// Whether a program of this name is in `PATH`.
#[must_use]
pub fn has_tool(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// Whether everything is to be run, as by `cargo xtask test --full`.
#[must_use]
pub fn is_full() -> bool {
    std::env::var("STRATA_FULL").is_ok_and(|value| value == "1")
}

/// Records that the test at `place` was skipped for `reason`.
///
/// # Panics
/// Under `STRATA_STRICT=1`: there a skip is a failure.
pub fn skip(place: &str, reason: &str) {
    if std::env::var("STRATA_STRICT").is_ok_and(|value| value == "1") {
        panic!("{place} would be skipped: {reason}");
    }
    // Straight to the descriptor: libtest hides what passing tests print.
    let _ = writeln!(std::io::stderr(), "SKIP {place}: {reason}");
    if let Some(path) = std::env::var_os("STRATA_SKIPS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{place}\t{reason}"));
    }
}
