//! The writer of data to stdout.
//!
//! Separate because `println!` panics where the reader is gone (`strata ... |
//! head`): here that is an error like any other, and the end of the verb.

use std::ffi::OsStr;
use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write};

/// Locked and buffered stdout. Flush it when the reader should see something,
/// and at the end: what is dropped unflushed is lost without a word.
#[derive(Debug)]
pub struct Stdout(BufWriter<StdoutLock<'static>>);

impl Stdout {
    /// Locks stdout for this writer alone.
    #[must_use]
    pub fn lock() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether to write colours to stdout: to a terminal that knows them, unless
/// `NO_COLOR` is set to anything (<https://no-color.org>).
#[must_use]
pub fn has_colour() -> bool {
    let variable = |name| std::env::var_os(name);
    takes_colour(
        io::stdout().is_terminal(),
        variable("NO_COLOR").as_deref(),
        variable("TERM").as_deref(),
    )
}

fn takes_colour(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    let is_refused = no_color.is_some_and(|value| !value.is_empty());
    is_terminal && !is_refused && term.is_some_and(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_that_knows_them_and_nobody_against_them() {
        let some = |text: &'static str| Some(OsStr::new(text));
        assert!(takes_colour(true, None, some("xterm")));
        assert!(takes_colour(true, some(""), some("xterm")), "an empty NO_COLOR is none");
        assert!(!takes_colour(true, some("1"), some("xterm")));
        assert!(!takes_colour(true, some("0"), some("xterm")), "any text is against them");
        assert!(!takes_colour(true, None, some("dumb")));
        assert!(!takes_colour(true, None, None));
        assert!(!takes_colour(false, None, some("xterm")));
    }
}
