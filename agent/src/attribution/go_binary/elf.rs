//! The few fields of a 64-bit ELF file that are needed, read one at a time.
//!
//! Separate, and by hand rather than by a library, because a library maps or
//! reads the whole file or a section of any size that the file claims, and Go
//! programs have 100 MB.

use std::io::{self, Read, Seek, SeekFrom};

/// Parts of a program that are loaded that are remembered; Go has three.
const MAX_LOADED: usize = 16;

/// `SHF_COMPRESSED`, and the bytes of the header that such a section has.
const COMPRESSED: u64 = 0x800;
const COMPRESSION_HEADER_BYTES: u64 = 24;

/// Bytes of section names that are read.
const MAX_NAMES_BYTES: u64 = 64 << 10;

const HEADER_BYTES: usize = 64;
const SECTION_BYTES: u16 = 64;
const SEGMENT_BYTES: u16 = 56;

/// `e_type` of a program at a fixed address (`ET_EXEC`), and of one that is
/// not (`ET_DYN`).
const FIXED: u16 = 2;
const POSITION_INDEPENDENT: u16 = 3;

/// `PT_LOAD`, `PT_INTERP`, `PT_TLS`.
const LOADED: u32 = 1;
const INTERPRETER: u32 = 3;
const THREAD_LOCAL: u32 = 7;

/// A program file.
pub(super) struct Elf<R> {
    file: R,
    kind: u16,
    segments: Table,
    sections: Table,
    names_index: u16,
    loaded: Vec<Loaded>,
}

/// A part of the file that is loaded.
#[derive(Clone, Copy, Debug)]
struct Loaded {
    offset: u64,
    address: u64,
    bytes: u64,
}

/// Where a section lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// Its flags.
    flags: u64,
    /// Its address, as linked; 0 if it is not loaded.
    pub(super) address: u64,
    /// In the file.
    offset: u64,
    /// Its bytes in the file.
    pub(super) bytes: u64,
    /// Index of the section that belongs to it: of a symbol table, its names.
    pub(super) link: u32,
}

impl Section {
    /// A part of it; `None` if it has not so many bytes.
    pub(super) fn part(&self, at: u64, bytes: u64) -> Option<Self> {
        if at.checked_add(bytes)? > self.bytes {
            return None;
        }
        let address = self.address.checked_add(at)?;
        Some(Self { address, offset: self.offset.checked_add(at)?, bytes, ..*self })
    }
}

/// A section's content, unpacked.
pub(super) enum Content<R: Read> {
    /// As it is in the file.
    Plain(R),
    /// Packed with zlib.
    Packed(flate2::read::ZlibDecoder<R>),
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(inner) => inner.read(buffer),
            Self::Packed(inner) => inner.read(buffer),
        }
    }
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
            loaded: Vec::new(),
        }))
    }

    /// The sections of these names; of two of one name the first.
    pub(super) fn sections<const N: usize>(
        &mut self,
        wanted: [&[u8]; N],
    ) -> io::Result<[Option<Section>; N]> {
        let mut found = [None; N];
        let Some(names) = self.section_by_index(u32::from(self.names_index))? else {
            return Ok(found);
        };
        let names = self.bytes(&names, MAX_NAMES_BYTES)?;
        for index in 0..self.sections.count {
            let header = self.section_header(index)?;
            let own = usize::try_from(u32_at(&header, 0)).ok().and_then(|at| names.get(at..));
            let Some(own) = own else { continue };
            let is_named =
                |name: &&[u8]| own.strip_prefix(*name).is_some_and(|rest| rest.starts_with(&[0]));
            let place = wanted.iter().position(is_named).and_then(|place| found.get_mut(place));
            if let Some(place @ None) = place {
                *place = Some(section_of(&header));
            }
        }
        Ok(found)
    }

    /// The section of that index.
    pub(super) fn section_by_index(&mut self, index: u32) -> io::Result<Option<Section>> {
        match u16::try_from(index) {
            Ok(index) if index < self.sections.count => {
                Ok(Some(section_of(&self.section_header(index)?)))
            }
            _ => Ok(None),
        }
    }

    /// The first `max_bytes` of a section, as they are in the file.
    pub(super) fn bytes(&mut self, section: &Section, max_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream(section, max_bytes)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a section as it is in the file, up to `max_bytes`.
    pub(super) fn stream(
        &mut self,
        section: &Section,
        max_bytes: u64,
    ) -> io::Result<io::Take<&mut R>> {
        self.file.seek(SeekFrom::Start(section.offset))?;
        Ok(self.file.by_ref().take(section.bytes.min(max_bytes)))
    }

    /// Reads a section, unpacked; `None` if it is packed in a way that is not
    /// known. What comes out may be a thousand times what is in the file.
    pub(super) fn content(
        &mut self,
        section: &Section,
    ) -> io::Result<Option<Content<io::Take<&mut R>>>> {
        let mut stream = self.stream(section, u64::MAX)?;
        if section.flags & COMPRESSED == 0 {
            return Ok(Some(Content::Plain(stream)));
        }
        let mut header = [0; COMPRESSION_HEADER_BYTES as usize];
        stream.read_exact(&mut header)?;
        // ELFCOMPRESS_ZLIB, which Go's linker takes.
        let is_zlib = u32_at(&header, 0) == 1;
        Ok(is_zlib.then(|| Content::Packed(flate2::read::ZlibDecoder::new(stream))))
    }

    /// Bytes of a section, unpacked; of a packed one what its header claims.
    pub(super) fn content_bytes(&mut self, section: &Section) -> io::Result<u64> {
        if section.flags & COMPRESSED == 0 {
            return Ok(section.bytes);
        }
        let header = self.bytes(section, COMPRESSION_HEADER_BYTES)?;
        Ok(u64_at(&header, 8))
    }

    /// Where an address lies in the file; `None` if it has no bytes there.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        self.loaded.iter().find_map(|loaded| {
            let within = address.checked_sub(loaded.address)?;
            (within < loaded.bytes).then(|| loaded.offset.checked_add(within)).flatten()
        })
    }

    /// Reads what the file has for an address; `false` if it has not.
    pub(super) fn read_address(&mut self, address: u64, buffer: &mut [u8]) -> io::Result<bool> {
        let last = address.saturating_add((buffer.len() as u64).saturating_sub(1));
        let (Some(offset), Some(_)) = (self.offset_of(address), self.offset_of(last)) else {
            return Ok(false);
        };
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(buffer)?;
        Ok(true)
    }

    /// What the program headers say; addresses can be looked up from then on.
    pub(super) fn segments(&mut self) -> io::Result<Segments> {
        self.loaded.clear();
        let mut found =
            Segments { is_fixed_address: self.kind == FIXED, is_dynamic: false, tls: None };
        for index in 0..self.segments.count {
            let header: [u8; SEGMENT_BYTES as usize] = self.entry(self.segments, index)?;
            match u32_at(&header, 0) {
                LOADED if self.loaded.len() < MAX_LOADED => self.loaded.push(Loaded {
                    offset: u64_at(&header, 8),
                    address: u64_at(&header, 16),
                    bytes: u64_at(&header, 32),
                }),
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

    fn entry<const BYTES: usize>(&mut self, table: Table, index: u16) -> io::Result<[u8; BYTES]> {
        let at = u64::from(index) * u64::from(table.entry_bytes);
        self.file.seek(SeekFrom::Start(table.offset.saturating_add(at)))?;
        let mut entry = [0; BYTES];
        self.file.read_exact(&mut entry)?;
        Ok(entry)
    }
}

fn section_of(header: &[u8]) -> Section {
    Section {
        flags: u64_at(header, 8),
        address: u64_at(header, 16),
        offset: u64_at(header, 24),
        bytes: u64_at(header, 32),
        link: u32_at(header, 40),
    }
}

/// A little-endian number at an offset; 0 beyond the end.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |number| u64::from_le_bytes(*number))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
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
