//! Rule: a crate names every dependency that it has.
//!
//! Two cores compile everything, and what is compiled for nothing is found by
//! nobody: rustc's own lint knows one target at a time and cries wolf over the
//! others.

use super::Problem;
use super::files::File;
use super::source::{Source, is_word};

/// Checks every crate of the workspace.
pub(super) fn check(files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for manifest in files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let folder = manifest.path.trim_end_matches("Cargo.toml");
        let build_script = format!("{folder}build.rs");
        for dependency in dependencies(&manifest.text) {
            let name = dependency.name.replace('-', "_");
            let is_named = files.iter().any(|file| {
                file.path.starts_with(folder)
                    && file.path.ends_with(".rs")
                    && (file.path == build_script) == dependency.is_for_build
                    && names(&Source::parse(&file.text).code, &name)
            });
            if !is_named {
                let message = format!("`{}` is a dependency that nothing names", dependency.name);
                problems.push(Problem::error(&manifest.path, dependency.line, message));
            }
        }
    }
    problems
}

struct Dependency<'a> {
    name: &'a str,
    /// From 1.
    line: usize,
    is_for_build: bool,
}

/// The keys of the tables of dependencies.
fn dependencies(manifest: &str) -> Vec<Dependency<'_>> {
    let mut table = "";
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            table = line.trim();
        } else if matches!(table, "[dependencies]" | "[dev-dependencies]" | "[build-dependencies]")
            && let Some(name) = line.split(['.', ' ', '=']).next()
            && !name.is_empty()
            && !name.starts_with('#')
        {
            let is_for_build = table == "[build-dependencies]";
            found.push(Dependency { name, line: index + 1, is_for_build });
        }
    }
    found
}

/// Whether code has `name::` or `use name`, as a word.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (code.get(..at).unwrap_or(""), code.get(at + name.len()..));
        let after = after.unwrap_or("");
        let is_whole = !before.ends_with(|character| is_word(character) || character == ':')
            && !after.starts_with(is_word);
        is_whole && (after.starts_with("::") || before.trim_end().ends_with("use"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(manifest: &str, source: &str, build: &str) -> Vec<usize> {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let files = [
            file("a/Cargo.toml", manifest),
            file("a/src/lib.rs", source),
            file("a/build.rs", build),
        ];
        check(&files).into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn a_dependency_without_a_use_is_found_at_its_line() {
        let manifest = "[dependencies]\none-two.workspace = true\nthree = \"1\"\n";
        assert_eq!(lines(manifest, "use one_two::X;\nthree::f();\n", ""), [0usize; 0]);
        assert_eq!(lines(manifest, "// three::f() in a comment\nuse one_two;\n", ""), [3]);
        assert_eq!(lines(manifest, "let three = \"one_two::f()\";\n", ""), [2, 3]);
        assert_eq!(lines(manifest, "crate::three::f(); zone_two::f();\n", ""), [2, 3]);
    }

    #[test]
    fn build_scripts_have_dependencies_of_their_own() {
        let manifest = "[dependencies]\none = \"1\"\n\n[build-dependencies]\none = \"1\"\n";
        assert_eq!(lines(manifest, "", "one::f();\n"), [2]);
        assert_eq!(lines(manifest, "one::f();\n", ""), [5]);
    }
}
