//! The reference page of system call classes, made from the tables that the
//! kernel programs use, and checked against what is committed.
//!
//! `STRATA_BLESS=1` writes the page again.

use std::fmt::Write as _;
use std::path::Path;

use agent_common::syscall::Class;
use agent_common::syscall::calls::CALLS;
use agent_common::syscall::errno::ERRNOS;

const HEAD: &str = "\
# System calls by class

Generated from `agent-common/src/syscall`; `STRATA_BLESS=1 cargo test -p agent-common --test \
syscall_reference` writes it again.

`strata_syscall_seconds_total`, `strata_syscalls_total` and `strata_syscall_errors_total` have a \
`class` label with one of sixteen values.

- Time runs from entry to exit, so it holds what the call waited: that of `poll`, `recv`, \
`accept`, `futex` and `sleep` is mostly waiting for work. `strata_off_cpu_seconds_total` leaves \
idle time out.
- A call counts when it returns: never `exit` and `exit_group`, nor a call that its process died in.
- A call that a signal breaks off counts as `EINTR`, even if the kernel then restarts it and the \
process sees no error; the restarted call counts again, under `other` if the kernel restarts it \
by `restart_syscall`.
- The register that `rt_sigreturn` brings back is not an error, whatever its value.
- Calls that the table does not have, and all calls of 32-bit programs, are `other`.

";

fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| class | calls |\n|---|---|\n");
    for class in Class::ALL {
        let names: Vec<String> = CALLS
            .iter()
            .filter(|(_, _, of)| *of == class)
            .map(|(_, name, _)| format!("`{name}`"))
            .collect();
        let _ = writeln!(page, "| `{}` | {} |", class.as_str(), names.join(", "));
    }
    page.push_str("\n## Error numbers\n\nThe `errno` label has a value of its own for these; the rest are `_other`.\n\n");
    let names: Vec<String> = ERRNOS.iter().map(|(_, name)| format!("`{name}`")).collect();
    let _ = writeln!(page, "{}.", names.join(", "));
    page
}

#[test]
fn the_reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/syscalls.md");
    if std::env::var_os("STRATA_BLESS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page(),
        "docs/syscalls.md is not current; run this test with STRATA_BLESS=1"
    );
}
