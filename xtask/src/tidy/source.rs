//! Rust source split into code, strings and comments, line by line in place.
//!
//! Separate because several rules must not be misled by a word in a comment or
//! a brace in a string. Not a parser: just enough of the lexical grammar.

/// One file, three views with the same lines and columns; what does not belong
/// to a view is blank in it.
pub(super) struct Source {
    /// Code; the contents of strings are blank.
    pub(super) code: String,
    /// Code with its strings.
    pub(super) code_and_strings: String,
    /// Comments, doc comments included.
    pub(super) comments: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    String,
    Comment,
}

impl Source {
    /// Splits the text of a Rust file.
    pub(super) fn parse(text: &str) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let kinds = kinds(&characters);
        let view = |keep: &[Kind]| {
            let kept = |(character, kind): (&char, &Kind)| {
                if *character == '\n' || keep.contains(kind) { *character } else { ' ' }
            };
            characters.iter().zip(&kinds).map(kept).collect()
        };
        Self {
            code: view(&[Kind::Code]),
            code_and_strings: view(&[Kind::Code, Kind::String]),
            comments: view(&[Kind::Comment]),
        }
    }
}

/// The kind of each character.
fn kinds(characters: &[char]) -> Vec<Kind> {
    let at = |position: usize| characters.get(position).copied().unwrap_or('\0');
    let mut kinds = Vec::with_capacity(characters.len());
    while kinds.len() < characters.len() {
        let here = kinds.len();
        let (kind, length) = match (at(here), at(here + 1)) {
            ('/', '/') => (Kind::Comment, line_length(characters, here)),
            ('/', '*') => (Kind::Comment, block_length(characters, here)),
            ('"', _) => (Kind::String, string_length(characters, here)),
            ('r', '"' | '#')
                if !is_word(at(here.wrapping_sub(1))) || at(here.wrapping_sub(1)) == 'b' =>
            {
                match raw_length(characters, here) {
                    Some(length) => (Kind::String, length),
                    None => (Kind::Code, 1),
                }
            }
            // A character, not a lifetime.
            ('\'', '\\') => (Kind::String, escaped_length(characters, here)),
            ('\'', _) if at(here + 2) == '\'' => (Kind::String, 3),
            _ => (Kind::Code, 1),
        };
        let end = (here + length.max(1)).min(characters.len());
        kinds.resize(end, kind);
    }
    kinds
}

/// Whether a character can be in an identifier.
pub(super) fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn line_length(characters: &[char], start: usize) -> usize {
    characters.iter().skip(start).take_while(|character| **character != '\n').count()
}

/// Block comments nest.
fn block_length(characters: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut position = start;
    while position < characters.len() {
        match (characters.get(position), characters.get(position + 1)) {
            (Some('/'), Some('*')) => {
                depth += 1;
                position += 2;
            }
            (Some('*'), Some('/')) => {
                depth -= 1;
                position += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => position += 1,
        }
    }
    position - start
}

fn string_length(characters: &[char], start: usize) -> usize {
    let mut position = start + 1;
    while let Some(character) = characters.get(position) {
        match character {
            '\\' => position += 2,
            '"' => return position + 1 - start,
            _ => position += 1,
        }
    }
    characters.len() - start
}

/// From `r` to the closing quote with as many `#`; nothing if it is not one.
fn raw_length(characters: &[char], start: usize) -> Option<usize> {
    let hashes = characters.iter().skip(start + 1).take_while(|it| **it == '#').count();
    let quote = start + 1 + hashes;
    if characters.get(quote) != Some(&'"') {
        return None;
    }
    let mut position = quote + 1;
    while position < characters.len() {
        let closing = characters.get(position + 1..position + 1 + hashes);
        if characters.get(position) == Some(&'"')
            && closing.is_some_and(|closing| closing.iter().all(|it| *it == '#'))
        {
            return Some(position + 1 + hashes - start);
        }
        position += 1;
    }
    Some(characters.len() - start)
}

/// `'\n'`, `'\''`, `'\u{1f600}'`: to the quote that is not the escaped one.
fn escaped_length(characters: &[char], start: usize) -> usize {
    characters.iter().skip(start + 3).take_while(|it| **it != '\'').count() + 4
}

/// The code without items that are compiled only for tests.
pub(super) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut rest = code;
    let mut kept = String::with_capacity(code.len());
    while let Some(start) = rest.find(MARK) {
        let (before, item) = rest.split_at(start);
        let length = item_length(item);
        let (blanked, after) = item.split_at(length);
        kept.push_str(before);
        kept.extend(blanked.chars().map(|it| if it == '\n' { it } else { ' ' }));
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// Bytes up to the end of the item: its closing brace, or a `;` before any.
fn item_length(item: &str) -> usize {
    let mut depth = 0_usize;
    for (position, character) in item.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth <= 1 => return position + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return position + 1,
            _ => {}
        }
    }
    item.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::parse(text).code
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(code(r#"a("b\"c")d"#), "a(      )d");
        assert_eq!(code("a r#\"b\"c\"# d"), "a          d");
        assert_eq!(code("a \"// b\" c"), "a        c");
    }

    #[test]
    fn characters_are_told_from_lifetimes() {
        assert_eq!(code("x('{') y"), "x(   ) y");
        assert_eq!(code(r"x('\'') y"), "x(    ) y");
        assert_eq!(code("fn f<'a>(x: &'a str)"), "fn f<'a>(x: &'a str)");
    }

    #[test]
    fn raw_identifiers_are_code() {
        assert_eq!(code("r#type + r"), "r#type + r");
    }

    #[test]
    fn views_keep_lines_and_columns() {
        let text = "fn f() { /* a\nb */ g(\"c\nd\"); } // e";
        let source = Source::parse(text);
        for view in [&source.code, &source.code_and_strings, &source.comments] {
            assert_eq!(view.chars().count(), text.chars().count());
            assert_eq!(view.lines().count(), text.lines().count());
        }
        assert!(source.comments.trim_end().ends_with("// e"));
        assert!(source.code_and_strings.contains("\"c\nd\""));
    }

    #[test]
    fn what_never_ends_is_no_crash() {
        for text in ["\"", "r#\"", "/*", "'\\", "'", "r", "a\\"] {
            assert_eq!(code(text).chars().count(), text.chars().count(), "{text}");
        }
    }

    #[test]
    fn test_items_are_left_out() {
        let text = "a\n#[cfg(test)]\nmod tests { fn f() { } }\nb\n#[cfg(test)]\nmod t;\nc";
        assert_eq!(without_tests(text).split_whitespace().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(without_tests(text).lines().count(), text.lines().count());
    }
}
