//! Where to probe a Go program's outgoing HTTP calls.
//!
//! Separate from the layout because nobody needs it but who attaches the probe,
//! and finding it reads more of the file.
//!
//! `net/http.(*persistConn).roundTrip` runs on the caller's goroutine, with the
//! connection in the first register. The probe sits just inside its prologue,
//! at `push %rbp`: the kernel emulates that instruction, at a tenth of the cost
//! of stepping over another.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use super::elf::Elf;
use super::{GoBinary, GoProgram, pclntab, symbols};

/// Where to put the probe, and what it reads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeSite {
    /// Offset in the program file of the `push %rbp` in `roundTrip`. There the
    /// `*persistConn` is still in `rax`, `g` in `r14`.
    pub file_offset: u64,
    /// Offset of `conn` (an interface: type word, data word) in `persistConn`.
    pub persist_conn_conn: u32,
}

const ROUND_TRIP: &str = "net/http.(*persistConn).roundTrip";

/// Bytes of code that are looked at.
const PROLOGUE_BYTES: usize = 32;

/// Finds the place in the program file at `path`.
///
/// # Errors
///
/// The file cannot be read.
pub fn client_probe_file(path: &Path, program: &GoProgram) -> io::Result<Option<ProbeSite>> {
    client_probe(File::open(path)?, program)
}

/// The same for a program of which nothing is known yet: `None` also if it is
/// not Go, or cannot be followed.
///
/// # Errors
///
/// The file cannot be read.
pub fn find_in(path: &Path) -> io::Result<Option<ProbeSite>> {
    match super::inspect_file(path)? {
        GoBinary::Readable(program) => client_probe_file(path, &program),
        GoBinary::NotGo | GoBinary::Unsupported { .. } => Ok(None),
    }
}

/// Finds the place in a program that was found to be Go; `None` if it makes no
/// calls by `net/http`, or its code is not as expected.
///
/// # Errors
///
/// It cannot be read. What it holds is never an error.
pub fn client_probe(file: impl Read + Seek, program: &GoProgram) -> io::Result<Option<ProbeSite>> {
    super::damage_is_none(find(file, program))
}

fn find(file: impl Read + Seek, program: &GoProgram) -> io::Result<Option<ProbeSite>> {
    let persist_conn_conn = program.layout.persist_conn_conn;
    let Some(mut elf) = Elf::open(file)? else { return Ok(None) };
    if persist_conn_conn == 0 {
        return Ok(None);
    }
    let [symbols, functions, text, init] =
        elf.sections([b".symtab", b".gopclntab", b".text", b".init"])?;
    elf.segments()?;
    let by_symbol = match symbols {
        Some(table) => symbols::find(&mut elf, &table, [ROUND_TRIP])?[0],
        None => None,
    };
    let address = match (by_symbol, functions) {
        (Some(symbol), _) => Some(symbol.address),
        (None, Some(table)) => {
            // Where C's linker and start-up code were, Go's code is not at the
            // start of the text.
            let text = text.filter(|_| init.is_none()).map(|text| text.address);
            pclntab::function(&mut elf, &table, text, ROUND_TRIP)?
        }
        (None, None) => None,
    };
    let Some(address) = address else { return Ok(None) };
    let mut code = [0; PROLOGUE_BYTES];
    if !elf.read_address(address, &mut code)? {
        return Ok(None);
    }
    let at = push_in_prologue(&code).and_then(|within| address.checked_add(within));
    let file_offset = at.and_then(|at| elf.offset_of(at));
    Ok(file_offset.map(|file_offset| ProbeSite { file_offset, persist_conn_conn }))
}

/// Where `push %rbp` stands after the check of the stack's size, from the
/// function's start; `None` if the code is not that of such a prologue.
fn push_in_prologue(code: &[u8]) -> Option<u64> {
    let rest = match code {
        // cmp 0x10(%r14),%rsp
        [0x49, 0x3b, 0x66, 0x10, rest @ ..] => rest,
        // lea -x(%rsp),%r12; cmp 0x10(%r14),%r12: a larger frame
        [0x4c, 0x8d, 0x64, 0x24, _, rest @ ..]
        | [0x4c, 0x8d, 0xa4, 0x24, _, _, _, _, rest @ ..] => {
            rest.strip_prefix(&[0x4d, 0x3b, 0x66, 0x10])?
        }
        _ => return None,
    };
    // jbe, near or short
    let ([0x0f, 0x86, _, _, _, _, rest @ ..] | [0x76, _, rest @ ..]) = rest else { return None };
    let is_push = rest.first() == Some(&0x55);
    is_push.then(|| (code.len() - rest.len()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_push_after_the_check_of_the_stack_is_taken() {
        let large =
            b"\x4c\x8d\xa4\x24\x58\xfe\xff\xff\x4d\x3b\x66\x10\x0f\x86\x68\x0e\x00\x00\x55\x48";
        assert_eq!(push_in_prologue(large), Some(18));
        assert_eq!(push_in_prologue(b"\x49\x3b\x66\x10\x76\x20\x55"), Some(6));
        let small = b"\x4c\x8d\x64\x24\xf0\x4d\x3b\x66\x10\x76\x20\x55";
        assert_eq!(push_in_prologue(small), Some(11));
        for other in [
            b"\x55\x48\x89\xe5".as_slice(),
            b"\x49\x3b\x66\x10\x76\x20\x48",
            b"\x49\x3b\x66\x10\x77\x20\x55",
            b"\x49\x3b\x66\x10\x76",
            b"",
        ] {
            assert_eq!(push_in_prologue(other), None, "{other:x?}");
        }
    }
}
