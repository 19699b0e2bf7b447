//! Paths that code names (`crate::a::b`), `use` groups written out.
//!
//! Separate from the rules about them: this knows Rust's grammar, they know
//! this project.

use super::source::is_word;

/// A path and the line it ends on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Separator,
    Sign(char),
}

/// Every path in code that has neither comments nor strings. A lone word is a
/// path of one segment.
pub(super) fn paths(code: &str) -> Vec<Path> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut position = 0;
    while let Some((token, _)) = tokens.get(position) {
        position = match token {
            Token::Word(_) => path(&tokens, position, Vec::new(), &mut found),
            _ => position + 1,
        };
    }
    found
}

/// Reads one path, or one branch of a group; gives the position after it.
fn path(
    tokens: &[(Token, usize)],
    mut position: usize,
    mut segments: Vec<String>,
    found: &mut Vec<Path>,
) -> usize {
    loop {
        let Some((token, line)) = tokens.get(position) else {
            return position;
        };
        match token {
            Token::Word(word) => segments.push(word.clone()),
            Token::Sign('*') if !segments.is_empty() => segments.push("*".to_owned()),
            Token::Sign('{') if !segments.is_empty() => {
                return group(tokens, position + 1, &segments, found);
            }
            _ => return position + 1,
        }
        position += 1;
        let has_more = matches!(tokens.get(position), Some((Token::Separator, _)))
            && matches!(
                tokens.get(position + 1),
                Some((Token::Word(_) | Token::Sign('*' | '{'), _))
            );
        if !has_more {
            found.push(Path { line: *line, segments });
            return position;
        }
        position += 1;
    }
}

fn group(
    tokens: &[(Token, usize)],
    mut position: usize,
    prefix: &[String],
    found: &mut Vec<Path>,
) -> usize {
    loop {
        position = match tokens.get(position).map(|(token, _)| token) {
            None => return position,
            Some(Token::Sign('}')) => return position + 1,
            // `as name`: the name is ours, not theirs.
            Some(Token::Word(word)) if word == "as" => position + 2,
            Some(Token::Word(_) | Token::Sign('*')) => {
                path(tokens, position, prefix.to_vec(), found)
            }
            Some(_) => position + 1,
        };
    }
}

fn tokens(code: &str) -> Vec<(Token, usize)> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|it| !is_word(it)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (text, after) = rest.split_at(length);
            if is_word(first) {
                tokens.push((Token::Word(text.to_owned()), index + 1));
            } else if text == "::" {
                tokens.push((Token::Separator, index + 1));
            } else if !first.is_whitespace() {
                tokens.push((Token::Sign(first), index + 1));
            }
            rest = after;
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &str, expected: &[&str]) {
        let found: Vec<String> = paths(code)
            .into_iter()
            .filter(|path| path.segments.len() > 1)
            .map(|path| path.segments.join("::"))
            .collect();
        assert_eq!(found, expected, "{code}");
    }

    #[test]
    fn groups_are_written_out() {
        check(
            "use crate::{a::B, c::{self, d::*}, e};",
            &["crate::a::B", "crate::c::self", "crate::c::d::*", "crate::e"],
        );
        check("use a::{b as c, d};", &["a::b", "a::d"]);
    }

    #[test]
    fn paths_in_expressions_and_types_are_found() {
        check(
            "let x: crate::a::B<c::D> = e::f::<g::H>(i::j);",
            &["crate::a::B", "c::D", "e::f", "g::H", "i::j"],
        );
        check("match x { a::B { c } => d::e, }", &["a::B", "d::e"]);
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let found = paths("use a::{\n    b,\n    c::d,\n};");
        let lines: Vec<usize> =
            found.iter().filter(|path| path.segments.len() > 1).map(|path| path.line).collect();
        assert_eq!(lines, [2, 3]);
    }

    #[test]
    fn what_is_cut_off_is_no_crash() {
        for code in ["use a::", "use a::{", "use a::{b::{", "::", "a::{b as"] {
            let _ = paths(code);
        }
    }
}
