//! Whether a program is Go, and where it keeps the current goroutine's id.
//!
//! Separate because it reads files that anyone may have written: everything is
//! bounded (a header at a time, 64 KiB of section names, 512 bytes of build
//! information, never the file), and no input is an error or a panic.
//!
//! Two numbers let the kernel programs read a goroutine id without a probe, and
//! some more (see [`GoLayout`]) split its time:
//!
//! - *Where `g` is.* The runtime keeps the current goroutine's `g` in one
//!   thread-local word, `runtime.tlsg`. The program's own thread-local block
//!   ends at the thread pointer on x86-64 (variant II), for static, dynamic and
//!   position-independent programs alike; so where that word is all of the
//!   block, it is at -8. A program without a `PT_TLS` segment that is static
//!   makes the word itself, at the same place. Measured with Go 1.26: static,
//!   stripped, PIE, cgo and cgo with PIE. Only a program that has C's library
//!   linked into it (`-extldflags=-static`) has more in the block, in an order
//!   that only its symbols tell: unsupported.
//! - *Where the id is in `g`*, and other fields, by version. Where there is
//!   debug information it must not say otherwise, and of a version that is not
//!   known it says all. A wrong layout would read wrong numbers and not fail,
//!   so what neither tells is unsupported.
//!
//! What the numbers of wait reasons mean, and where the scheduler's state lies,
//! is looked up by symbol; a stripped program has none: then the reasons go by
//! version, and stops of the world are not seen. The same goes for programs at
//! no fixed address, whose table the linker fills in at start.
//!
//! Which program it is says `.go.buildinfo`, which stripping (`-s -w`) leaves.
//! x86-64 only: any other program counts as not Go.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use agent_common::go::GoLayout;

// Where to probe outgoing calls.
pub mod client_probe;
// Fields, from debug information.
mod dwarf;
// Headers and sections.
mod elf;
// Whether a process's memory looks as its layout says.
pub(super) mod live;
// Addresses of functions, in stripped programs too.
mod pclntab;
// What wait reasons mean.
mod reasons;
// Addresses by name.
mod symbols;
// What is known by release.
mod version;

use elf::{Elf, Section};
use reasons::Reasons;
use version::Fields;

pub use version::GoVersion;

/// What a program file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GoBinary {
    /// Not a Go program for x86-64.
    NotGo,
    /// Go, and its goroutines can be followed.
    Readable(GoProgram),
    /// Go, but its goroutines cannot be followed.
    Unsupported {
        /// Its version, where it could be read.
        version: Option<GoVersion>,
        /// Why not.
        why: Unsupported,
    },
}

/// A Go program whose goroutines can be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoProgram {
    /// Which Go made it.
    pub version: GoVersion,
    /// Bytes from the thread pointer (`fsbase`) to the word that points to
    /// `g`. Never 0.
    pub g_tls_offset: i32,
    /// Bytes from `g` to the 64-bit goroutine id. Never 0.
    pub goid_offset: u32,
    /// All that the kernel programs are told.
    pub layout: GoLayout,
    /// Address of `runtime.allgs`, the list of all goroutines, in the process;
    /// 0 if it is not known.
    pub all_goroutines_at: u64,
}

/// Why goroutine ids of a Go program cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsupported {
    /// Made by Go 1.17 or older, whose build information has another form.
    OldBuildInfo,
    /// The layout of its runtime is not known: too old, too new, or no release.
    UnknownVersion,
    /// C's thread-local data is linked into it, around the runtime's.
    ForeignThreadStorage,
    /// Its debug information and its version do not go together: a runtime
    /// that was changed.
    Contradiction,
    /// Its goroutines have what they cannot have where the layout says.
    Implausible,
}

impl Unsupported {
    /// A sentence for people, lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OldBuildInfo => "made by go 1.17 or older",
            Self::UnknownVersion => {
                "the runtime's layout of this go version is not known (1.21 to 1.27 are; a newer one is read from debug information, so build without -w and -s)"
            }
            Self::ForeignThreadStorage => {
                "c's thread-local data is linked in statically; link dynamically, or build with CGO_ENABLED=0"
            }
            Self::Contradiction => {
                "its debug information describes another runtime than its go version has"
            }
            Self::Implausible => {
                "its memory does not look like the runtime of its go version; was it changed?"
            }
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Looks at the program file at `path` (`/proc/<pid>/exe`).
///
/// # Errors
///
/// The file cannot be read. What it holds is never an error.
pub fn inspect_file(path: &Path) -> io::Result<GoBinary> {
    inspect(File::open(path)?)
}

/// Looks at a program file.
///
/// # Errors
///
/// It cannot be read. What it holds is never an error.
pub fn inspect(file: impl Read + Seek) -> io::Result<GoBinary> {
    damage_is_none(classify(file)).map(|found| found.unwrap_or(GoBinary::NotGo))
}

/// Takes a header that points past the end of the file, or of any file, for
/// nothing found.
fn damage_is_none<T>(found: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match found {
        Err(error) if dwarf::is_damage(&error) => Ok(None),
        found => found,
    }
}

/// Bytes of `.go.buildinfo` that are read: the header and the version.
const BUILD_INFO_BYTES: u64 = 512;

/// Bytes of debug information up to which a program whose version is known is
/// checked against it: a tenth of a second.
const MAX_CHECKED_BYTES: u64 = 64 << 20;

/// Bytes of abbreviations that are read; Go has less than one KiB.
const MAX_ABBREVIATIONS_BYTES: u64 = 1 << 20;

fn classify(file: impl Read + Seek) -> io::Result<Option<GoBinary>> {
    let Some(mut elf) = Elf::open(file)? else { return Ok(None) };
    let [build_info, symbols, info, abbreviations] =
        elf.sections([b".go.buildinfo", b".symtab", b".debug_info", b".debug_abbrev"])?;
    let Some(build_info) = build_info else { return Ok(None) };
    let build_info = elf.bytes(&build_info, BUILD_INFO_BYTES)?;
    let unsupported = |version, why| Ok(Some(GoBinary::Unsupported { version, why }));
    let version = match BuildInfo::parse(&build_info) {
        None => return Ok(None),
        Some(BuildInfo::Pointers) => return unsupported(None, Unsupported::OldBuildInfo),
        Some(BuildInfo::Version(version)) => version,
    };
    let known = version.known();
    if known.is_none() && !version.is_newer_than_known() {
        return unsupported(Some(version), Unsupported::UnknownVersion);
    }
    let segments = elf.segments()?;
    let Some(g_tls_offset) = g_tls_offset(&segments) else {
        return unsupported(Some(version), Unsupported::ForeignThreadStorage);
    };
    let described = match (info, abbreviations) {
        (Some(info), Some(abbreviations)) => {
            describe(&mut elf, &info, &abbreviations, known.is_some())?
        }
        _ => Fields::default(),
    };
    if known.is_some_and(|known| !known.fields.agrees(&described)) {
        return unsupported(Some(version), Unsupported::Contradiction);
    }
    let fields = known.map_or(described, |known| known.fields.or(described));
    let own = match symbols {
        Some(symbols) if segments.is_fixed_address => look_up(&mut elf, &symbols)?,
        _ => Own::default(),
    };
    let Some(reasons) = own.reasons.or(known.map(|known| known.reasons)) else {
        return unsupported(Some(version), Unsupported::UnknownVersion);
    };
    if !fields.is_enough() {
        return unsupported(Some(version), Unsupported::UnknownVersion);
    }
    let gcwaiting_at = match (own.sched_at, fields.gcwaiting) {
        (0, _) | (_, 0) => 0,
        (sched_at, gcwaiting) => sched_at.saturating_add(u64::from(gcwaiting)),
    };
    let layout = GoLayout {
        gcwaiting_at,
        g_tls_offset,
        goid: fields.goid,
        wait_reason: fields.wait_reason,
        tracking_seq: fields.tracking_seq,
        parent_goid: fields.parent_goid,
        sleep_when: fields.sleep_when,
        sched_sp: fields.sched,
        persist_conn_conn: fields.persist_conn_conn,
        counts_syscalls: u8::from(version.counts_syscalls()),
        reasons: reasons.waits,
        ..GoLayout::new()
    };
    Ok(Some(GoBinary::Readable(GoProgram {
        version,
        g_tls_offset,
        goid_offset: fields.goid,
        layout,
        all_goroutines_at: own.all_goroutines_at,
    })))
}

/// What debug information says of the fields; of a known version only if it is
/// read quickly.
fn describe<R: Read + Seek>(
    elf: &mut Elf<R>,
    info: &Section,
    abbreviations: &Section,
    is_known: bool,
) -> io::Result<Fields> {
    if is_known && elf.content_bytes(info)? > MAX_CHECKED_BYTES {
        return Ok(Fields::default());
    }
    let mut table = Vec::new();
    if let Some(content) = elf.content(abbreviations)? {
        let read = content.take(MAX_ABBREVIATIONS_BYTES).read_to_end(&mut table);
        if read.is_err_and(|error| !dwarf::is_damage(&error)) {
            return Ok(Fields::default());
        }
    }
    match elf.content(info)? {
        Some(content) => dwarf::fields(content, &table),
        None => Ok(Fields::default()),
    }
}

/// What a program's symbols lead to; addresses are 0 if there are none.
#[derive(Default)]
struct Own {
    reasons: Option<Reasons>,
    sched_at: u64,
    all_goroutines_at: u64,
}

fn look_up<R: Read + Seek>(elf: &mut Elf<R>, table: &Section) -> io::Result<Own> {
    let names = ["runtime.waitReasonStrings", "runtime.sched", "runtime.allgs"];
    let [texts, sched, all_goroutines] = symbols::find(elf, table, names)?;
    let reasons = match texts {
        Some(texts) => Reasons::read(elf, texts)?,
        None => None,
    };
    let address = |symbol: Option<symbols::Symbol>| symbol.map_or(0, |symbol| symbol.address);
    Ok(Own { reasons, sched_at: address(sched), all_goroutines_at: address(all_goroutines) })
}

/// Bytes of `runtime.tlsg`.
const TLSG_BYTES: u64 = 8;

fn g_tls_offset(segments: &elf::Segments) -> Option<i32> {
    let is_at_the_end = match segments.tls {
        Some(tls) => tls.memory_bytes == TLSG_BYTES && tls.align <= TLSG_BYTES,
        None => !segments.is_dynamic && segments.is_fixed_address,
    };
    is_at_the_end.then_some(-8)
}

/// What `.go.buildinfo` holds.
#[derive(Debug, PartialEq, Eq)]
enum BuildInfo {
    /// Pointers to strings elsewhere: Go 1.17 and older.
    Pointers,
    /// The version itself, since Go 1.18.
    Version(GoVersion),
}

impl BuildInfo {
    /// 14 bytes of magic, size of a pointer, flags, and from byte 32 on the
    /// version's length (a varint) and text.
    fn parse(section: &[u8]) -> Option<Self> {
        let flags = section.strip_prefix(b"\xff Go buildinf:")?.get(1)?;
        if flags & 2 == 0 {
            return Some(Self::Pointers);
        }
        let (length, text) = varint(section.get(32..)?)?;
        let text = text.get(..usize::try_from(length).ok()?)?;
        Some(Self::Version(GoVersion::parse(std::str::from_utf8(text).ok()?)))
    }
}

/// An unsigned LEB128 number of at most two bytes, and what follows it: no
/// version is longer than the 16 383 bytes that these can tell.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    match bytes {
        [low @ 0..=0x7f, rest @ ..] => Some((u64::from(*low), rest)),
        [low, high @ 0..=0x7f, rest @ ..] => {
            Some((u64::from(low & 0x7f) | u64::from(*high) << 7, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
