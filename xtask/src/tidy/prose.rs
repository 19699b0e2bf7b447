//! Rules about text: open ends have reasons, and no machine shows through.

use super::Problem;
use super::source::{Source, is_word};

/// Words that mark an open end. Each needs a reason in parentheses.
const OPEN_ENDS: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// Beginnings of paths that exist on somebody's machine only. Written in two
/// halves, so that this file passes its own rule.
const MACHINE_PATHS: [&str; 3] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Files whose comments begin with `#`, by the end of their name.
const HASH_COMMENTS: [&str; 7] = [".toml", ".yaml", ".yml", ".sh", ".py", "Dockerfile", ".ci/run"];
/// Files whose comments begin with `//`, but for Rust.
const SLASH_COMMENTS: [&str; 4] = [".go", ".js", ".c", ".h"];

/// Checks one file of any kind.
pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = open_ends(path, &comments(path, text));
    if path.ends_with(".md") {
        problems.extend(markdown(path, text));
    }
    problems
}

/// The comments of a file, line by line; empty where we do not know them.
fn comments(path: &str, text: &str) -> String {
    let is_one_of = |ends: &[&str]| ends.iter().any(|end| path.ends_with(end));
    let after = |sign: &'static str| {
        let comment = |line: &str| {
            line.split_once(sign).map(|(_, comment)| comment.to_owned()).unwrap_or_default()
        };
        text.lines().map(comment).collect::<Vec<_>>().join("\n")
    };
    if path.ends_with(".rs") {
        Source::parse(text).comments
    } else if is_one_of(&HASH_COMMENTS) {
        after("#")
    } else if is_one_of(&SLASH_COMMENTS) {
        after("//")
    } else {
        String::new()
    }
}

fn open_ends(path: &str, comments: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in comments.lines().enumerate() {
        for word in OPEN_ENDS {
            let is_bare = line.match_indices(word).any(|(position, _)| {
                let before = line.get(..position).unwrap_or_default();
                let after = line.get(position + word.len()..).unwrap_or_default();
                !before.ends_with(is_word)
                    && !after.starts_with(is_word)
                    && !has_reason(after)
                    && !is_quoted(before, after)
            });
            if is_bare {
                let message = format!("{word} without a reason in parentheses");
                problems.push(Problem::error(path, index + 1, message));
            }
        }
    }
    problems
}

/// `(reason)` directly after the word.
fn has_reason(after: &str) -> bool {
    after
        .strip_prefix('(')
        .and_then(|after| after.split_once(')'))
        .is_some_and(|(reason, _)| !reason.trim().is_empty())
}

/// In backticks the word is spoken of, not used.
fn is_quoted(before: &str, after: &str) -> bool {
    before.ends_with('`') && after.starts_with('`')
}

fn markdown(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.ends_with([' ', '\t']) {
            problems.push(Problem::error(path, index + 1, "ends with a space"));
        }
        for beginning in MACHINE_PATHS {
            // `/proc/1/root/...` is a path of every machine.
            let is_there = line.match_indices(beginning).any(|(position, _)| {
                let before = line.get(..position).unwrap_or_default();
                !before
                    .ends_with(|it: char| is_word(it) || matches!(it, '>' | '}' | '.' | '*' | '~'))
            });
            if is_there {
                let message = format!("names a place on one machine (`{beginning}`)");
                problems.push(Problem::error(path, index + 1, message));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(path, text).into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn an_open_end_without_a_reason_is_refused() {
        assert_eq!(lines("a.rs", "fn f() {}\n// TODO: later\n"), [2]);
        assert_eq!(lines("a.rs", "/* a\n * FIXME */\n"), [2]);
        assert_eq!(lines("a.rs", "// TODO()\n"), [1]);
        assert_eq!(lines("a.toml", "a = 1 # XXX\n"), [1]);
        assert_eq!(lines("a.go", "x() // TODO later\n"), [1]);
    }

    #[test]
    fn an_open_end_with_a_reason_passes() {
        assert_eq!(lines("a.rs", "// TODO(kernel 6.3 and later): drop this\n"), []);
        assert_eq!(lines("a.rs", "let a = \"TODO\"; // no MYTODOS here\n"), []);
        assert_eq!(lines("a.rs", "// no `TODO` here\n"), []);
    }

    #[test]
    fn markdown_names_no_machine_and_has_no_trailing_space() {
        for beginning in MACHINE_PATHS {
            assert_eq!(lines("a.md", &format!("see {beginning}x\n")), [1], "{beginning}");
            assert_eq!(lines("a.md", &format!("`{beginning}x`\n")), [1], "{beginning}");
        }
        assert_eq!(lines("a.md", "fine\nnot \nnot\t\n"), [2, 3]);
    }

    #[test]
    fn paths_that_every_machine_has_pass() {
        let root = MACHINE_PATHS.get(1).unwrap();
        assert_eq!(lines("a.md", &format!("/proc/1{root}etc and /proc/<pid>{root}\n")), []);
    }
}
