//! The few fields of a 64-bit ELF file that are needed, read one at a time.
//!
//! Separate, and by hand rather than by a library, because a library maps or
//! reads the whole file or a section of any size that the file claims, and Go
//! programs have 100 MB.

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes of section names that are read.
const MAX_NAMES_BYTES: u64 = 64 << 10;

const HEADER_BYTES: usize = 64;
const SECTION_BYTES: u16 = 64;
const SEGMENT_BYTES: u16 = 56;

/// `e_type` of a program at a fixed address (`ET_EXEC`), and of one that is
/// not (`ET_DYN`).
const FIXED: u16 = 2;
const POSITION_INDEPENDENT: u16 = 3;

/// `PT_INTERP`, `PT_TLS`.
const INTERPRETER: u32 = 3;
const THREAD_LOCAL: u32 = 7;

/// A program file.
pub(super) struct Elf<R> {
    file: R,
    kind: u16,
    segments: Table,
    sections: Table,
    names_index: u16,
}

/// A table of headers in the file.
#[derive(Clone, Copy)]
struct Table {
    offset: u64,
    count: u16,
    entry_bytes: u16,
}

/// What the program headers say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    /// It is loaded where it was linked to.
    pub(super) is_fixed_address: bool,
    /// A dynamic linker starts it.
    pub(super) is_dynamic: bool,
    /// Its thread-local block.
    pub(super) tls: Option<ThreadLocal>,
}

/// A thread-local block.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThreadLocal {
    pub(super) memory_bytes: u64,
    pub(super) align: u64,
}

impl<R: Read + Seek> Elf<R> {
    /// `None` if it is not a little-endian 64-bit ELF program for x86-64.
    pub(super) fn open(mut file: R) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header)?;
        // 64-bit, little-endian, version 1.
        if !header.starts_with(b"\x7fELF\x02\x01\x01") || u16_at(&header, 18) != 62 {
            return Ok(None);
        }
        let kind = u16_at(&header, 16);
        let segments = Table {
            offset: u64_at(&header, 32),
            entry_bytes: u16_at(&header, 54),
            count: u16_at(&header, 56),
        };
        let sections = Table {
            offset: u64_at(&header, 40),
            entry_bytes: u16_at(&header, 58),
            count: u16_at(&header, 60),
        };
        let is_known = matches!(kind, FIXED | POSITION_INDEPENDENT)
            && segments.entry_bytes == SEGMENT_BYTES
            && sections.entry_bytes == SECTION_BYTES;
        Ok(is_known.then_some(Self {
            file,
            kind,
            segments,
            sections,
            names_index: u16_at(&header, 62),
        }))
    }

    /// The first `max_bytes` of the section of that name.
    pub(super) fn section(&mut self, name: &[u8], max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        if self.names_index >= self.sections.count {
            return Ok(None);
        }
        let names_header = self.section_header(self.names_index)?;
        let names = self.section_bytes(&names_header, MAX_NAMES_BYTES)?;
        for index in 0..self.sections.count {
            let header = self.section_header(index)?;
            let own = usize::try_from(u32_at(&header, 0)).ok().and_then(|at| names.get(at..));
            if own.and_then(|own| own.strip_prefix(name)).is_some_and(|rest| rest.starts_with(&[0]))
            {
                return self.section_bytes(&header, max_bytes).map(Some);
            }
        }
        Ok(None)
    }

    pub(super) fn segments(&mut self) -> io::Result<Segments> {
        let mut found =
            Segments { is_fixed_address: self.kind == FIXED, is_dynamic: false, tls: None };
        for index in 0..self.segments.count {
            let header: [u8; SEGMENT_BYTES as usize] = self.entry(self.segments, index)?;
            match u32_at(&header, 0) {
                INTERPRETER => found.is_dynamic = true,
                THREAD_LOCAL => {
                    found.tls = Some(ThreadLocal {
                        memory_bytes: u64_at(&header, 40),
                        align: u64_at(&header, 48),
                    });
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn section_header(&mut self, index: u16) -> io::Result<[u8; SECTION_BYTES as usize]> {
        self.entry(self.sections, index)
    }

    fn section_bytes(&mut self, header: &[u8], max_bytes: u64) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(u64_at(header, 24)))?;
        let mut bytes = Vec::new();
        self.file.by_ref().take(u64_at(header, 32).min(max_bytes)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn entry<const BYTES: usize>(&mut self, table: Table, index: u16) -> io::Result<[u8; BYTES]> {
        let at = u64::from(index) * u64::from(table.entry_bytes);
        self.file.seek(SeekFrom::Start(table.offset.saturating_add(at)))?;
        let mut entry = [0; BYTES];
        self.file.read_exact(&mut entry)?;
        Ok(entry)
    }
}

/// A little-endian number at an offset; 0 beyond the end.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |number| u64::from_le_bytes(*number))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |number| u32::from_le_bytes(*number))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |number| u16::from_le_bytes(*number))
}
