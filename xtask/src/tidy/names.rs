//! Rule: kernel names differ in their first 15 bytes.
//!
//! The kernel keeps no more of a program's or map's name; two that are cut to
//! the same word cannot be told apart in `bpftool` or in the agent's costs.

use super::Problem;
use super::files::File;
use super::source::{Source, is_word};

/// Bytes of a name that the kernel keeps.
const KEPT_BYTES: usize = 15;

/// Attributes that make a function a program.
const PROGRAM_ATTRIBUTES: &[&str] = &[
    "btf_tracepoint",
    "raw_tracepoint",
    "tracepoint",
    "fentry",
    "fexit",
    "kprobe",
    "kretprobe",
    "uprobe",
    "uretprobe",
    "perf_event",
    "lsm",
    "sock_ops",
    "socket_filter",
    "cgroup_skb",
    "classifier",
    "xdp",
];

/// ELF sections of programs that have no attribute of their own.
const PROGRAM_SECTIONS: &[&str] = &["iter", "tp_btf", "syscall", "uprobe"];
/// ELF sections of maps.
const MAP_SECTIONS: &[&str] = &["maps", ".maps"];

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Program,
    Map,
}

/// A program or map, as the kernel would show it.
#[derive(Debug)]
struct Named {
    kind: Kind,
    name: String,
    path: String,
    line: usize,
}

/// Checks the kernel crate as a whole.
pub(super) fn check(files: &[File]) -> Vec<Problem> {
    let named: Vec<Named> = files
        .iter()
        .filter(|file| file.path.starts_with("agent-ebpf/src/") && file.path.ends_with(".rs"))
        .flat_map(|file| find(&file.path, &file.text))
        .collect();
    let mut problems = Vec::new();
    for (position, this) in named.iter().enumerate() {
        let twin = named
            .iter()
            .take(position)
            .find(|other| other.kind == this.kind && kept(&other.name) == kept(&this.name));
        if let Some(twin) = twin {
            let cut = String::from_utf8_lossy(kept(&this.name)).into_owned();
            let message = format!(
                "the kernel cuts `{}` and `{}` ({}) to `{cut}`",
                this.name, twin.name, twin.path
            );
            problems.push(Problem::error(&this.path, this.line, message));
        }
    }
    problems
}

fn kept(name: &str) -> &[u8] {
    name.as_bytes().get(..KEPT_BYTES).unwrap_or(name.as_bytes())
}

/// The programs and maps that a file declares.
fn find(path: &str, text: &str) -> Vec<Named> {
    let source = Source::parse(text);
    let mut found = Vec::new();
    for (start, _) in source.code.match_indices("#[") {
        // Offsets are the same in both views only where all is ASCII; columns
        // are, so the attribute is looked up by its count of characters.
        let characters = source.code.get(..start).unwrap_or_default().chars().count();
        let with_strings: String = source.code_and_strings.chars().skip(characters).collect();
        let Some(end) = attribute_end(&with_strings) else {
            continue;
        };
        let (attribute, item) = with_strings.split_at(end);
        let (kind, word) = if is_program(attribute) {
            (Kind::Program, "fn")
        } else if is_map(attribute) {
            (Kind::Map, "static")
        } else {
            continue;
        };
        let declared = identifier_after(item, word);
        if let Some(name) = given_name(attribute).or(declared) {
            let line = source.code.get(..start).unwrap_or_default().matches('\n').count() + 1;
            found.push(Named { kind, name, path: path.to_owned(), line });
        }
    }
    found
}

/// Bytes of an attribute, its brackets included.
fn attribute_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (position, character) in text.char_indices() {
        match character {
            '[' => depth += 1,
            ']' if depth == 1 => return Some(position + 1),
            ']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

fn is_program(attribute: &str) -> bool {
    PROGRAM_ATTRIBUTES.contains(&head(attribute))
        || section(attribute).is_some_and(|section| PROGRAM_SECTIONS.contains(&section))
}

fn is_map(attribute: &str) -> bool {
    matches!(head(attribute), "map" | "btf_map")
        || section(attribute).is_some_and(|section| MAP_SECTIONS.contains(&section))
}

/// The attribute's own name.
fn head(attribute: &str) -> &str {
    let inside = attribute.trim_start_matches("#[").trim_start();
    inside.split(|it| !is_word(it)).next().unwrap_or_default()
}

/// The ELF section that a `link_section` names, up to its first `/`.
fn section(attribute: &str) -> Option<&str> {
    let (_, after) = attribute.split_once("link_section")?;
    quoted(after)?.split('/').next()
}

/// `name = "..."` in the attribute.
fn given_name(attribute: &str) -> Option<String> {
    let (before, after) = attribute.split_once("name")?;
    let is_own_word = !before.ends_with(is_word) && after.trim_start().starts_with('=');
    is_own_word.then(|| quoted(after).map(str::to_owned)).flatten()
}

fn quoted(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}

/// The identifier after the first `word` of an item, `mut` left out.
fn identifier_after(item: &str, word: &str) -> Option<String> {
    let mut words = item.split(|it| !is_word(it)).filter(|it| !it.is_empty());
    words.find(|it| *it == word)?;
    words.find(|it| *it != "mut").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ebpf(text: &str) -> Vec<File> {
        vec![File { path: "agent-ebpf/src/main.rs".into(), text: text.into() }]
    }

    fn names(text: &str) -> Vec<String> {
        find("agent-ebpf/src/main.rs", text).into_iter().map(|named| named.name).collect()
    }

    #[test]
    fn programs_and_maps_are_found() {
        let text = "//! é\n#[btf_tracepoint(function = \"sched_switch\")]\n\
                    pub fn on_switch(c: C) -> i32 { 0 }\n\
                    #[map]\nstatic RING: RingBuf = x;\n\
                    #[map(name = \"OTHER\")]\nstatic mut M: Array<u8> = y;\n\
                    #[unsafe(link_section = \".maps\")]\n#[unsafe(no_mangle)]\nstatic TASKS: T = z;\n\
                    #[unsafe(link_section = \"iter/tcp\")]\nfn sweep(c: C) -> i32 { 0 }\n\
                    #[inline(always)]\nfn helper() {}\n";
        assert_eq!(names(text), ["on_switch", "RING", "OTHER", "TASKS", "sweep"]);
    }

    #[test]
    fn names_that_are_cut_to_the_same_are_refused() {
        let text = "#[fentry]\nfn sched_process_exec() {}\n#[fentry]\nfn sched_process_exit() {}\n";
        let problems = check(&ebpf(text));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems.first().map(|problem| problem.line), Some(3));
        assert!(check(&ebpf("#[fentry]\nfn a() {}\n#[fentry]\nfn b() {}\n")).is_empty());
    }

    #[test]
    fn a_program_and_a_map_may_share_a_name() {
        assert!(
            check(&ebpf("#[map]\nstatic tasks: T = x;\n#[fentry]\nfn tasks() {}\n")).is_empty()
        );
    }

    #[test]
    fn names_are_compared_across_files() {
        let mut files = ebpf("#[map]\nstatic SAME: T = x;\n");
        files.push(File {
            path: "agent-ebpf/src/maps.rs".into(),
            text: "#[map]\nstatic SAME: T = x;\n".into(),
        });
        assert_eq!(check(&files).len(), 1);
    }
}
