//! Real programs, made by the Go on this machine.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use agent_common::go::GoWait;

use super::super::client_probe::client_probe_file;
use super::super::elf::Elf;
use super::super::version::Fields;
use super::super::{GoBinary, GoProgram, Unsupported, describe, inspect_file, live};

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

/// Has goroutines that wait, says so, and ends with its input.
const WAITS: &str = r#"
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	for i := 0; i < 20; i++ {
		go func() { select {} }()
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}
"#;

#[test]
fn memory_of_a_running_program_agrees_with_its_layout_and_no_other() {
    if Command::new("go").arg("version").output().is_err() {
        return eprintln!("skipped: there is no go on this machine");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("main.go"), WAITS).unwrap();
    fs::write(dir.path().join("go.mod"), "module program\n\ngo 1.21\n").unwrap();
    go_build(dir.path(), "0", &[]).unwrap();
    let path = dir.path().join("program");
    let GoBinary::Readable(found) = inspect_file(&path).unwrap() else { panic!() };
    let mut child =
        Command::new(&path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let own = found.layout;
    let contradicts = |goid: u32, wait_reason: u32| {
        let mut layout = own;
        layout.goid = goid;
        layout.wait_reason = wait_reason;
        let memory = File::open(format!("/proc/{}/mem", child.id())).unwrap();
        live::contradicts(memory, found.all_goroutines_at, &layout)
    };
    let (goid, wait_reason) = (found.layout.goid, found.layout.wait_reason);
    let right = contradicts(goid, wait_reason);
    // The next words, and those that hold addresses.
    let wrong = [
        contradicts(goid - 8, wait_reason),
        contradicts(goid + 16, wait_reason),
        contradicts(0, wait_reason),
    ];
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(line, "ready\n");
    assert_ne!(found.all_goroutines_at, 0);
    assert!(!right);
    assert!(wrong.iter().all(|wrong| *wrong), "{wrong:?}");
}
