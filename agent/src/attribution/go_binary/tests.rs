//! Real programs, made by the Go on this machine; programs made up byte by
//! byte; and hostile ones.

use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Command;

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use agent_common::go::GoWait;

use super::client_probe::client_probe_file;
use super::elf::Elf;
use super::version::Fields;
use super::{
    BuildInfo, GoBinary, GoProgram, GoVersion, Unsupported, describe, inspect, inspect_file,
};

/// Reads its goroutine ids the way the kernel programs do, with the offsets
/// that it is given, and compares them with what the runtime prints.
const READS_ITS_OWN_IDS: &str = r#"
package main

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"
)

//go:nosplit
//go:nocheckptr
func word(address uintptr) uintptr { return **(**uintptr)(unsafe.Pointer(&address)) }

func isRight(gOffset, goidOffset int) bool {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const archPrctl, getFS = 158, 0x1003
	var base uintptr
	if _, _, errno := syscall.RawSyscall(archPrctl, getFS, uintptr(unsafe.Pointer(&base)), 0); errno != 0 {
		return false
	}
	id := word(word(base+uintptr(gOffset)) + uintptr(goidOffset))
	stack := make([]byte, 64)
	fields := bytes.Fields(stack[:runtime.Stack(stack, false)])
	return strconv.FormatUint(uint64(id), 10) == string(fields[1])
}

func main() {
	gOffset, _ := strconv.Atoi(os.Args[1])
	goidOffset, _ := strconv.Atoi(os.Args[2])
	results := make(chan bool)
	for i := 0; i < 100; i++ {
		go func() { results <- isRight(gOffset, goidOffset) }()
	}
	ok := isRight(gOffset, goidOffset)
	for i := 0; i < 100; i++ {
		ok = <-results && ok
	}
	if !ok {
		os.Exit(1)
	}
}
"#;

/// The same with a little C in it, so that C's start-up code is linked.
const WITH_C: &str =
    "package main\n\n// static int one(void) { return 1; }\nimport \"C\"\n\nvar _ = C.one()\n";

/// Runs `go build` of the program in `dir`; what it says if it fails.
fn go_build(dir: &Path, cgo: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("go")
        .arg("build")
        .args(arguments)
        .args(["-o", "program", "."])
        .current_dir(dir)
        .envs([("CGO_ENABLED", cgo), ("GOTOOLCHAIN", "local"), ("GOPROXY", "off"), ("GOFLAGS", "")])
        .output()
        .unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Builds in every way there is; each program that is said to be readable must
/// find its own ids by the offsets that were found.
#[test]
fn goroutine_ids_are_where_they_are_said_to_be_in_real_programs() {
    let has = |program, argument| Command::new(program).arg(argument).output().is_ok();
    if !has("go", "version") {
        return eprintln!("skipped: there is no go on this machine");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("main.go"), READS_ITS_OWN_IDS).unwrap();
    fs::write(dir.path().join("go.mod"), "module program\n\ngo 1.21\n").unwrap();
    let external = "-linkmode=external";
    let check = |cgo, arguments: &[&str]| {
        go_build(dir.path(), cgo, arguments).unwrap();
        let program = dir.path().join("program");
        let found = inspect_file(&program).unwrap();
        let GoBinary::Readable(layout) = found else { panic!("{arguments:?}: {found:?}") };
        assert!(layout.version.minor().is_some_and(|minor| minor >= 21), "{}", layout.version);
        let run = |g: i32, goid: u32| {
            Command::new(&program)
                .args([g.to_string(), goid.to_string()])
                .status()
                .unwrap()
                .success()
        };
        assert!(run(layout.g_tls_offset, layout.goid_offset), "{arguments:?}: {layout:?}");
        check_layout(&layout, arguments);
        // The judge itself must be able to say no.
        assert!(!run(layout.g_tls_offset, layout.goid_offset + 8));
    };
    check("0", &[]);
    check("0", &["-ldflags=-s -w"]);
    check("0", &["-buildmode=pie"]);
    if !has("gcc", "--version") {
        return eprintln!("skipped in part: there is no gcc on this machine, so no cgo");
    }
    fs::write(dir.path().join("c.go"), WITH_C).unwrap();
    check("1", &[]);
    check("1", &["-ldflags=-s -w"]);
    check("1", &["-buildmode=pie", &format!("-ldflags={external}")]);
    if let Err(error) =
        go_build(dir.path(), "1", &[&format!("-ldflags={external} -extldflags=-static")])
    {
        return eprintln!("skipped in part: no static C library on this machine: {error}");
    }
    let found = inspect_file(&dir.path().join("program")).unwrap();
    assert!(
        matches!(
            found,
            GoBinary::Unsupported { version: Some(_), why: Unsupported::ForeignThreadStorage }
        ),
        "{found:?}"
    );
}

/// What the runtime of this machine's Go has, whatever was kept of its symbols.
fn check_layout(program: &GoProgram, arguments: &[&str]) {
    let layout = &program.layout;
    assert_eq!((layout.g_tls_offset, layout.goid), (program.g_tls_offset, program.goid_offset));
    let has = |wait: GoWait| layout.reasons.contains(&(wait as u8));
    assert!(GoWait::ALL.into_iter().all(|wait| wait == GoWait::StopTheWorld || has(wait)));
    let is_stripped = arguments.iter().any(|argument| argument.contains("-s"));
    let is_movable = arguments.iter().any(|argument| argument.contains("pie"));
    assert_eq!(layout.gcwaiting_at == 0, is_stripped || is_movable, "{arguments:?}");
    if program.version.minor() == Some(26) {
        let known = program.version.known().unwrap();
        assert_eq!(known.reasons.waits, layout.reasons, "{arguments:?}");
        assert_eq!(layout.counts_syscalls, 0);
    }
}

/// What the debug information of a program says, read as the agent reads it.
fn described(program: &Path) -> Fields {
    let mut elf = Elf::open(fs::File::open(program).unwrap()).unwrap().unwrap();
    let [info, abbreviations] = elf.sections([b".debug_info", b".debug_abbrev"]).unwrap();
    match (info, abbreviations) {
        (Some(info), Some(abbreviations)) => {
            describe(&mut elf, &info, &abbreviations, false).unwrap()
        }
        _ => Fields::default(),
    }
}

#[test]
fn debug_information_says_what_the_table_says_packed_or_not() {
    if Command::new("go").arg("version").output().is_err() {
        return eprintln!("skipped: there is no go on this machine");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("main.go"),
        "package main\n\nimport \"net/http\"\n\nfunc main() { http.Get(\"\") }\n",
    )
    .unwrap();
    fs::write(dir.path().join("go.mod"), "module program\n\ngo 1.21\n").unwrap();
    let program = dir.path().join("program");
    for arguments in [&[] as &[&str], &["-ldflags=-compressdwarf=false"], &["-buildmode=pie"]] {
        go_build(dir.path(), "0", arguments).unwrap();
        let GoBinary::Readable(found) = inspect_file(&program).unwrap() else { panic!() };
        let fields = described(&program);
        assert!(fields.is_enough(), "{fields:?}");
        if let Some(known) = found.version.known() {
            assert_eq!(fields, known.fields, "{arguments:?}");
        }
    }
    go_build(dir.path(), "0", &["-ldflags=-w"]).unwrap();
    assert_eq!(described(&program), Fields::default());
}

/// The instruction at the place, and the symbol that it belongs to.
fn probed(program: &Path) -> Option<(u64, u8)> {
    let GoBinary::Readable(found) = inspect_file(program).unwrap() else { panic!() };
    let site = client_probe_file(program, &found).unwrap()?;
    assert_eq!(site.persist_conn_conn, found.layout.persist_conn_conn);
    let bytes = fs::read(program).unwrap();
    Some((site.file_offset, bytes[site.file_offset as usize]))
}

#[test]
fn the_place_of_the_client_probe_is_the_same_with_and_without_symbols() {
    if Command::new("go").arg("version").output().is_err() {
        return eprintln!("skipped: there is no go on this machine");
    }
    let dir = tempfile::tempdir().unwrap();
    let client = "package main\n\nimport \"net/http\"\n\nfunc main() { http.Get(\"\") }\n";
    fs::write(dir.path().join("main.go"), client).unwrap();
    fs::write(dir.path().join("go.mod"), "module program\n\ngo 1.21\n").unwrap();
    let program = dir.path().join("program");
    for mode in ["-buildmode=exe", "-buildmode=pie"] {
        let sites = ["-ldflags=", "-ldflags=-w", "-ldflags=-s -w"].map(|flags| {
            go_build(dir.path(), "0", &[mode, flags]).unwrap();
            probed(&program)
        });
        let [whole, without_debug, stripped] = sites;
        assert!(whole.is_some_and(|(_, instruction)| instruction == 0x55), "{mode}");
        assert_eq!((whole, whole), (without_debug, stripped), "{mode}");
    }
    fs::write(dir.path().join("main.go"), "package main\n\nfunc main() {}\n").unwrap();
    for flags in ["-ldflags=", "-ldflags=-s -w"] {
        go_build(dir.path(), "0", &[flags]).unwrap();
        assert_eq!(probed(&program), None, "it makes no calls");
    }
}

#[test]
fn this_program_is_not_go() {
    assert_eq!(inspect_file(&std::env::current_exe().unwrap()).unwrap(), GoBinary::NotGo);
    assert!(inspect_file(Path::new("/none")).is_err());
}

/// A program file, made up.
#[derive(Clone)]
struct MadeUp {
    kind: u16,
    machine: u16,
    is_dynamic: bool,
    tls_bytes: Option<u64>,
    build_info: Vec<u8>,
}

impl MadeUp {
    fn new(version: &str) -> Self {
        Self {
            kind: 2,
            machine: 62,
            is_dynamic: false,
            tls_bytes: None,
            build_info: build_info(version),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut segments = Vec::new();
        let mut segment = |kind: u32, bytes: u64| {
            segments.extend(kind.to_le_bytes());
            segments.extend([0; 36]);
            segments.extend(bytes.to_le_bytes());
            segments.extend(8_u64.to_le_bytes());
        };
        segment(1, 4096);
        if self.is_dynamic {
            segment(3, 28);
        }
        if let Some(bytes) = self.tls_bytes {
            segment(7, bytes);
        }
        let names = b"\0.text\0.go.buildinfo\0.shstrtab\0";
        let names_at = 64 + segments.len() as u64;
        let info_at = names_at + names.len() as u64;
        let sections_at = info_at + self.build_info.len() as u64;
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend(self.kind.to_le_bytes());
        file.extend(self.machine.to_le_bytes());
        file.resize(32, 0);
        file.extend(64_u64.to_le_bytes());
        file.extend(sections_at.to_le_bytes());
        file.resize(54, 0);
        for number in [56, (segments.len() / 56) as u16, 64, 4, 3] {
            file.extend(number.to_le_bytes());
        }
        file.extend(segments);
        file.extend(names);
        file.extend(&self.build_info);
        for (name, at, bytes) in [
            (0_u32, 0, 0),
            (1, 0, 64),
            (7, info_at, self.build_info.len() as u64),
            (21, names_at, names.len() as u64),
        ] {
            let start = file.len();
            file.extend(name.to_le_bytes());
            file.resize(start + 24, 0);
            file.extend(at.to_le_bytes());
            file.extend(bytes.to_le_bytes());
            file.resize(start + 64, 0);
        }
        file
    }

    fn inspect(&self) -> GoBinary {
        inspect(Cursor::new(self.bytes())).unwrap()
    }
}

/// `.go.buildinfo` as Go 1.18 and newer write it.
fn build_info(version: &str) -> Vec<u8> {
    let mut section = b"\xff Go buildinf:\x08\x02".to_vec();
    section.resize(32, 0);
    let length = version.len();
    if length < 128 {
        section.push(length as u8);
    } else {
        section.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
    }
    section.extend(version.as_bytes());
    section.extend(b"\x30\x77\xaf\x0c path\tprogram\n");
    section
}

fn version_of(found: GoBinary) -> Option<(String, i32, u32)> {
    match found {
        GoBinary::Readable(layout) => {
            Some((layout.version.to_string(), layout.g_tls_offset, layout.goid_offset))
        }
        GoBinary::NotGo | GoBinary::Unsupported { .. } => None,
    }
}

#[test]
fn the_offset_of_the_id_goes_by_the_version() {
    for (version, offset) in [
        ("go1.21", 152),
        ("go1.22.12", 152),
        ("go1.23.0", 160),
        ("go1.24.3 X:boringcrypto", 160),
        ("go1.25rc1", 152),
        ("go1.26.8-custom", 152),
    ] {
        assert_eq!(
            version_of(MadeUp::new(version).inspect()),
            Some((version.to_owned(), -8, offset))
        );
    }
    for version in [
        "go1.20.14",
        "go1.27.0",
        "go1.2",
        "go2.21",
        "devel go1.26-abc",
        "go1.26-devel_abc",
        "go1.",
        "",
    ] {
        let expected = GoBinary::Unsupported {
            version: Some(GoVersion::parse(version)),
            why: Unsupported::UnknownVersion,
        };
        assert_eq!(MadeUp::new(version).inspect(), expected, "{version}");
    }
}

#[test]
fn the_offset_of_g_is_told_only_where_nothing_else_is_thread_local() {
    let go = MadeUp::new("go1.26.8");
    for (kind, is_dynamic, tls_bytes, is_readable) in [
        (2, false, None, true),
        (2, true, Some(8), true),
        (3, true, Some(8), true),
        (2, false, Some(8), true),
        (2, false, Some(0x80), false),
        (3, true, Some(16), false),
        (3, true, None, false),
        (3, false, None, false),
        (2, true, None, false),
    ] {
        let found = MadeUp { kind, is_dynamic, tls_bytes, ..go.clone() }.inspect();
        if is_readable {
            assert_eq!(version_of(found), Some(("go1.26.8".to_owned(), -8, 152)));
        } else {
            assert!(matches!(
                found,
                GoBinary::Unsupported { why: Unsupported::ForeignThreadStorage, .. }
            ));
        }
    }
}

#[test]
fn programs_of_old_go_and_of_other_machines_are_told_apart() {
    let mut old = MadeUp::new("");
    old.build_info = b"\xff Go buildinf:\x08\x00".to_vec();
    old.build_info.resize(32, 1);
    assert_eq!(
        old.inspect(),
        GoBinary::Unsupported { version: None, why: Unsupported::OldBuildInfo }
    );
    for other in [
        MadeUp { machine: 183, ..MadeUp::new("go1.26.8") },
        MadeUp { kind: 1, ..MadeUp::new("go1.26.8") },
        MadeUp { build_info: b"nothing".to_vec(), ..MadeUp::new("") },
        MadeUp { build_info: Vec::new(), ..MadeUp::new("") },
    ] {
        assert_eq!(other.inspect(), GoBinary::NotGo);
    }
}

#[test]
fn versions_are_kept_short_and_printable() {
    let long = format!("go1.26.1 {}", "x".repeat(300));
    let (version, ..) = version_of(MadeUp::new(&long).inspect()).unwrap();
    assert_eq!(version.chars().count(), 64);
    assert_eq!(GoVersion::parse("go1.26\n\x1b[31m").to_string(), "go1.26[31m");
}

/// Counts what is read, and claims to be a file of any size.
struct Metered {
    content: Cursor<Vec<u8>>,
    read_bytes: u64,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.content.position();
        let count = match self.content.read(buffer)? {
            // Beyond the content there are zeros without end.
            0 => buffer.len(),
            count => count,
        };
        self.content.set_position(at + count as u64);
        self.read_bytes += count as u64;
        Ok(count)
    }
}

impl Seek for Metered {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.content.seek(position)
    }
}

#[test]
fn a_section_of_a_terabyte_is_not_read() {
    let mut file = MadeUp::new("go1.26.8").bytes();
    let sections_at = file.len() - 4 * 64;
    for section in 0..4 {
        let size_at = sections_at + section * 64 + 32;
        file[size_at..size_at + 8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    }
    let mut metered = Metered { content: Cursor::new(file), read_bytes: 0 };
    assert!(version_of(inspect(&mut metered).unwrap()).is_some());
    assert!(metered.read_bytes < 80 << 10, "{} bytes read", metered.read_bytes);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic_or_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(inspect(Cursor::new(bytes)).unwrap(), GoBinary::NotGo);
    }

    #[test]
    fn damage_anywhere_neither_panics_nor_reads_without_end(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        length in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = MadeUp { tls_bytes: Some(8), is_dynamic: true, ..MadeUp::new("go1.26.8") }.bytes();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        inspect(Cursor::new(bytes[..length.index(bytes.len() + 1)].to_vec())).unwrap();
        let mut metered = Metered { content: Cursor::new(bytes), read_bytes: 0 };
        inspect(&mut metered).unwrap();
        // All headers that two 16-bit counts can tell, and the two sections.
        prop_assert!(metered.read_bytes <= 65_535 * (64 + 56) + (80 << 10));
    }

    #[test]
    fn any_build_information_is_read_without_panic(tail in proptest::collection::vec(any::<u8>(), 0..100)) {
        BuildInfo::parse(&[b"\xff Go buildinf:".as_slice(), &tail].concat());
    }

    #[test]
    fn any_version_comes_back(version in "[ -~]{0,64}") {
        let parsed = BuildInfo::parse(&build_info(&version));
        prop_assert_eq!(parsed, Some(BuildInfo::Version(GoVersion::parse(&version))));
    }
}
