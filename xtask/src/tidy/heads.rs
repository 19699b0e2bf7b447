//! Rule: each Rust file says what it is, and is short.

use super::Problem;

/// No file is longer.
const MOST_LINES: usize = 500;
/// From here on a file should be divided.
const MANY_LINES: usize = 400;

/// Checks one Rust file.
pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let head = text.lines().next().unwrap_or_default();
    if head.strip_prefix("//!").is_none_or(|sentence| sentence.trim().is_empty()) {
        problems.push(Problem::error(
            path,
            1,
            "does not begin with `//!`: what the file is, and why it is separate",
        ));
    }
    let lines = text.lines().count();
    if lines > MOST_LINES {
        let message = format!("{lines} lines, {MOST_LINES} at most: divide it");
        problems.push(Problem::error(path, lines, message));
    } else if lines >= MANY_LINES {
        let message = format!("{lines} lines, {MOST_LINES} at most");
        problems.push(Problem::warning(path, lines, message));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_head_is_refused() {
        for text in ["", "use std::fmt;\n", "// Not a doc comment.\n", "//!\n", "\n//! Late.\n"] {
            let problems = check("a.rs", text);
            assert!(problems.iter().any(|problem| !problem.is_warning), "{text:?}");
        }
        assert!(check("a.rs", "//! A file.\n").is_empty());
    }

    #[test]
    fn length_warns_first_and_then_fails() {
        let of = |lines: usize| check("a.rs", &"//! x\n".repeat(lines));
        assert!(of(399).is_empty());
        assert_eq!(of(400).iter().map(|problem| problem.is_warning).collect::<Vec<_>>(), [true]);
        assert_eq!(of(500).iter().map(|problem| problem.is_warning).collect::<Vec<_>>(), [true]);
        assert_eq!(of(501).iter().map(|problem| problem.is_warning).collect::<Vec<_>>(), [false]);
    }
}
