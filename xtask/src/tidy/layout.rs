//! Rule: every type of the wire contract has its layout in the snapshot.
//!
//! The snapshot itself is a test of `agent-common`; this makes sure that no
//! new type is forgotten there.

use super::Problem;
use super::files::File;
use super::source::{Source, is_word};

/// The test that holds the list.
const LIST: &str = "agent-common/tests/layout.rs";

/// Checks the contract as a whole.
pub(super) fn check(files: &[File]) -> Vec<Problem> {
    let list = files.iter().find(|file| file.path == LIST);
    let listed: Vec<&str> =
        list.map(|file| file.text.split(|it| !is_word(it)).collect()).unwrap_or_default();
    files
        .iter()
        .filter(|file| file.path.starts_with("agent-common/src/"))
        .flat_map(|file| wire_types(&file.text).into_iter().map(move |found| (file, found)))
        .filter(|(_, (_, name))| !listed.contains(&name.as_str()))
        .map(|(file, (line, name))| {
            Problem::error(&file.path, line, format!("`{name}` is `repr(C)` but not in {LIST}"))
        })
        .collect()
}

/// The `repr(C)` structs of a file, by line.
fn wire_types(text: &str) -> Vec<(usize, String)> {
    let code = Source::parse(text).code;
    let mut found = Vec::new();
    let mut is_wire = false;
    for (index, line) in code.lines().enumerate() {
        let line = line.trim();
        is_wire |= line.starts_with("#[repr(C");
        if let Some((_, after)) = line.split_once("struct ") {
            let name = after.split(|it| !is_word(it)).next().unwrap_or_default();
            if std::mem::take(&mut is_wire) {
                found.push((index + 1, name.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &str) -> Vec<File> {
        let wire = "#[repr(C)]\n#[derive(Clone)]\npub struct Wire { a: u8 }\n\
                    pub struct Other;\n#[repr(u8)]\nenum E { A }\n";
        [("agent-common/src/a.rs", wire), (LIST, list)]
            .map(|(path, text)| File { path: path.into(), text: text.into() })
            .into()
    }

    #[test]
    fn a_wire_type_that_is_not_listed_is_refused() {
        let problems = check(&files("layout!(Wired { a });"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems.first().map(|problem| problem.line), Some(3));
    }

    #[test]
    fn a_listed_one_is_in_order() {
        assert!(check(&files("layout!(Wire { a });")).is_empty());
    }
}
