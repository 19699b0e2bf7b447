//! Whether a program is Go, and where it keeps the current goroutine's id.
//!
//! Separate because it reads files that anyone may have written: everything is
//! bounded (a header at a time, 64 KiB of section names, 512 bytes of build
//! information, never the file), and no input is an error or a panic.
//!
//! Two numbers let the kernel programs read a goroutine id without a probe:
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
//! - *Where the id is in `g`*, by version. A wrong layout would read wrong
//!   numbers and not fail, so a version that is not known is unsupported.
//!
//! Which program it is says `.go.buildinfo`, which stripping (`-s -w`) leaves.
//! x86-64 only: any other program counts as not Go.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

mod elf;

use elf::Elf;

/// What a program file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GoBinary {
    /// Not a Go program for x86-64.
    NotGo,
    /// Go, and its goroutine ids can be read.
    Readable(GoLayout),
    /// Go, but its goroutine ids cannot be read.
    Unsupported {
        /// Its version, where it could be read.
        version: Option<GoVersion>,
        /// Why not.
        why: Unsupported,
    },
}

/// Where a Go program keeps its goroutine id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoLayout {
    /// Which Go made it.
    pub version: GoVersion,
    /// Bytes from the thread pointer (`fsbase`) to the word that points to
    /// `g`. Never 0.
    pub g_tls_offset: i32,
    /// Bytes from `g` to the 64-bit goroutine id. Never 0.
    pub goid_offset: u32,
}

/// Version of the Go toolchain, as `runtime.Version` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoVersion {
    text: String,
    minor: Option<u16>,
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
}

impl Unsupported {
    /// A sentence for people, lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OldBuildInfo => "made by go 1.17 or older",
            Self::UnknownVersion => {
                "the runtime's layout of this go version is not known (1.21 to 1.26 are)"
            }
            Self::ForeignThreadStorage => {
                "c's thread-local data is linked in statically; link dynamically, or build with CGO_ENABLED=0"
            }
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Characters of a version that are kept; releases have about eight.
const MAX_VERSION_CHARS: usize = 64;

impl GoVersion {
    /// `go1.26.8`, `go1.22rc1`, `go1.24.3 X:boringcrypto`, `devel go1.27-...`.
    fn parse(text: &str) -> Self {
        let text: String =
            text.chars().filter(|char| !char.is_control()).take(MAX_VERSION_CHARS).collect();
        let minor = text.strip_prefix("go1.").and_then(|rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            // A snapshot between releases may have either's layout.
            if rest.contains("-devel") { None } else { rest.get(..digits)?.parse().ok() }
        });
        Self { text, minor }
    }

    /// The minor release (26 for `go1.26.8`); `None` if it is not a release.
    #[must_use]
    pub fn minor(&self) -> Option<u16> {
        self.minor
    }

    /// Offset of `goid` in `runtime.g`. From DWARF; 1.21, 1.23 (first and last),
    /// 1.25 and 1.26 also by running the test program that reads its own ids.
    fn goid_offset(&self) -> Option<u32> {
        match self.minor? {
            21 | 22 => Some(152),
            // `syscallbp` came before it.
            23 | 24 => Some(160),
            // `gobuf.ret` went.
            25 | 26 => Some(152),
            _ => None,
        }
    }
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
    match classify(file) {
        // A header that points past the end of the file, or of any file.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(GoBinary::NotGo)
        }
        result => result.map(|found| found.unwrap_or(GoBinary::NotGo)),
    }
}

/// Bytes of `.go.buildinfo` that are read: the header and the version.
const BUILD_INFO_BYTES: u64 = 512;

fn classify(file: impl Read + Seek) -> io::Result<Option<GoBinary>> {
    let Some(mut elf) = Elf::open(file)? else { return Ok(None) };
    let Some(build_info) = elf.section(b".go.buildinfo", BUILD_INFO_BYTES)? else {
        return Ok(None);
    };
    let version = match BuildInfo::parse(&build_info) {
        None => return Ok(None),
        Some(BuildInfo::Pointers) => {
            return Ok(Some(GoBinary::Unsupported {
                version: None,
                why: Unsupported::OldBuildInfo,
            }));
        }
        Some(BuildInfo::Version(version)) => version,
    };
    let Some(goid_offset) = version.goid_offset() else {
        return Ok(Some(GoBinary::Unsupported {
            version: Some(version),
            why: Unsupported::UnknownVersion,
        }));
    };
    Ok(Some(match g_tls_offset(&elf.segments()?) {
        Some(g_tls_offset) => GoBinary::Readable(GoLayout { version, g_tls_offset, goid_offset }),
        None => {
            GoBinary::Unsupported { version: Some(version), why: Unsupported::ForeignThreadStorage }
        }
    }))
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
