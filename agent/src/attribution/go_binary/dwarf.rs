//! Offsets of fields, from debug information.
//!
//! Separate, and by hand rather than by a library, because a library wants the
//! section in memory, and that of a large Go program has 100 MB when unpacked:
//! here it is read once, as a stream, unpacked on the way, and nothing is kept
//! but the unit's table of abbreviations.
//!
//! Go describes all types in a unit named `runtime`, with names in place
//! (`DW_FORM_string`); other units are passed over unread.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

use super::version::Fields;

/// Bytes of debug information that are unpacked at most.
const MAX_BYTES: u64 = 512 << 20;

/// Abbreviations of a unit, and attributes of one, that are read at most; Go
/// has about 40 and 8.
const MAX_ABBREVIATIONS: usize = 4096;
const MAX_ATTRIBUTES: usize = 64;

/// Bytes of a name that are kept: longer names are not looked for.
const MAX_NAME_BYTES: usize = 32;

const TAG_MEMBER: u64 = 0x0d;
const TAG_STRUCTURE: u64 = 0x13;
const NAME: u64 = 0x03;
const MEMBER_LOCATION: u64 = 0x38;

/// How a kind of entry is written.
struct Abbreviation {
    tag: u64,
    has_children: bool,
    /// Attribute, form, and its value where the form says so.
    attributes: Vec<(u64, u64, u64)>,
}

/// What an entry says, as far as it matters.
#[derive(Default)]
struct Entry {
    name: Option<String>,
    location: Option<u64>,
}

/// Reads the offsets of the fields that are known by name; those that are not
/// described stay 0. Damage ends the search and is no error.
///
/// # Errors
///
/// The file cannot be read.
pub(super) fn fields(info: impl Read, abbreviations: &[u8]) -> io::Result<Fields> {
    let mut fields = Fields::default();
    let mut info = Stream { inner: BufReader::with_capacity(64 << 10, info), position: 0 };
    match read_units(&mut info, abbreviations, &mut fields) {
        Ok(()) => Ok(fields),
        Err(error) if is_damage(&error) => Ok(fields),
        Err(error) => Err(error),
    }
}

/// Whether what was read is at fault, not the reading.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
}

fn damage() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn read_units<R: BufRead>(
    info: &mut Stream<R>,
    abbreviations: &[u8],
    fields: &mut Fields,
) -> io::Result<()> {
    while !info.is_at_end()? {
        let mut offset_bytes = 4;
        let mut length = info.unsigned(4)?;
        if length == 0xffff_ffff {
            offset_bytes = 8;
            length = info.unsigned(8)?;
        }
        let end = info.position.checked_add(length).ok_or_else(damage)?;
        let version = info.unsigned(2)?;
        let table_at = if version == 5 {
            let _unit_type = info.unsigned(1)?;
            let _address_bytes = info.unsigned(1)?;
            info.unsigned(offset_bytes)?
        } else {
            let table_at = info.unsigned(offset_bytes)?;
            let _address_bytes = info.unsigned(1)?;
            table_at
        };
        if (2..=5).contains(&version)
            && let Ok(table_at) = usize::try_from(table_at)
            && let Some(table) = abbreviations.get(table_at..)
        {
            let table = read_abbreviations(table)?;
            read_unit(info, &table, offset_bytes, end, fields)?;
        }
        if fields.is_enough() && fields.gcwaiting != 0 && fields.persist_conn_conn != 0 {
            return Ok(());
        }
        let rest = end.checked_sub(info.position).ok_or_else(damage)?;
        info.skip(rest)?;
    }
    Ok(())
}

/// Reads a unit if it is the one with the types.
fn read_unit<R: BufRead>(
    info: &mut Stream<R>,
    table: &HashMap<u64, Abbreviation>,
    offset_bytes: u64,
    end: u64,
    fields: &mut Fields,
) -> io::Result<()> {
    let mut depth = 0_u32;
    // The structure whose members are read, and their depth.
    let mut structure: Option<(Structure, u32)> = None;
    while info.position < end.min(MAX_BYTES) {
        let code = info.leb()?;
        if code == 0 {
            depth = depth.saturating_sub(1);
            if structure.is_some_and(|(_, of)| depth < of) {
                structure = None;
            }
            if depth == 0 {
                return Ok(());
            }
            continue;
        }
        let abbreviation = table.get(&code).ok_or_else(damage)?;
        let entry = info.entry(abbreviation, offset_bytes)?;
        let name = entry.name.as_deref().unwrap_or_default();
        if depth == 0 && name != "runtime" {
            return Ok(());
        }
        match (abbreviation.tag, structure) {
            (TAG_MEMBER, Some((structure, of))) if of == depth => {
                if let (Some(field), Some(at)) = (structure.field(name, fields), entry.location) {
                    *field = u32::try_from(at).unwrap_or(0);
                }
            }
            (TAG_STRUCTURE, None) if abbreviation.has_children => {
                structure = Structure::of(name).map(|structure| (structure, depth + 1));
            }
            _ => {}
        }
        if abbreviation.has_children {
            depth = depth.checked_add(1).ok_or_else(damage)?;
        }
    }
    Ok(())
}

/// A structure some of whose fields matter.
#[derive(Clone, Copy)]
enum Structure {
    G,
    Sched,
    PersistConn,
}

impl Structure {
    fn of(name: &str) -> Option<Self> {
        match name {
            "runtime.g" => Some(Self::G),
            "runtime.schedt" => Some(Self::Sched),
            "net/http.persistConn" => Some(Self::PersistConn),
            _ => None,
        }
    }

    fn field<'a>(self, name: &str, fields: &'a mut Fields) -> Option<&'a mut u32> {
        match (self, name) {
            (Self::G, "goid") => Some(&mut fields.goid),
            (Self::G, "waitreason") => Some(&mut fields.wait_reason),
            (Self::G, "trackingSeq") => Some(&mut fields.tracking_seq),
            (Self::G, "parentGoid") => Some(&mut fields.parent_goid),
            (Self::G, "sleepWhen") => Some(&mut fields.sleep_when),
            (Self::G, "sched") => Some(&mut fields.sched),
            (Self::Sched, "gcwaiting") => Some(&mut fields.gcwaiting),
            (Self::PersistConn, "conn") => Some(&mut fields.persist_conn_conn),
            _ => None,
        }
    }
}

fn read_abbreviations(bytes: &[u8]) -> io::Result<HashMap<u64, Abbreviation>> {
    let mut table = HashMap::new();
    let mut bytes = Stream { inner: bytes, position: 0 };
    while table.len() < MAX_ABBREVIATIONS {
        let code = bytes.leb()?;
        if code == 0 {
            return Ok(table);
        }
        let tag = bytes.leb()?;
        let has_children = bytes.unsigned(1)? != 0;
        let mut attributes = Vec::new();
        loop {
            let (attribute, form) = (bytes.leb()?, bytes.leb()?);
            // DW_FORM_implicit_const
            let value = if form == 0x21 { bytes.leb()? } else { 0 };
            if (attribute, form) == (0, 0) {
                break;
            }
            if attributes.len() >= MAX_ATTRIBUTES {
                return Err(damage());
            }
            attributes.push((attribute, form, value));
        }
        table.insert(code, Abbreviation { tag, has_children, attributes });
    }
    Err(damage())
}

/// Bytes that come once, with their position.
struct Stream<R> {
    inner: R,
    position: u64,
}

impl<R: BufRead> Stream<R> {
    fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.position >= MAX_BYTES || self.inner.fill_buf()?.is_empty())
    }

    fn byte(&mut self) -> io::Result<u8> {
        let byte = *self.inner.fill_buf()?.first().ok_or(io::ErrorKind::UnexpectedEof)?;
        self.inner.consume(1);
        self.position += 1;
        Ok(byte)
    }

    /// A little-endian number of 1 to 8 bytes.
    fn unsigned(&mut self, bytes: u64) -> io::Result<u64> {
        let mut number = 0;
        for index in 0..bytes.min(8) {
            number |= u64::from(self.byte()?) << (8 * index);
        }
        Ok(number)
    }

    /// An LEB128 number; of a longer one than 64 bits the low bits.
    fn leb(&mut self) -> io::Result<u64> {
        let mut number = 0;
        let mut shift = 0_u32;
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(number);
            }
            shift = shift.saturating_add(7);
            if shift > 70 {
                return Err(damage());
            }
        }
    }

    fn skip(&mut self, mut bytes: u64) -> io::Result<()> {
        if self.position.saturating_add(bytes) > MAX_BYTES {
            return Err(damage());
        }
        while bytes > 0 {
            let there = self.inner.fill_buf()?.len();
            if there == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = there.min(usize::try_from(bytes).unwrap_or(usize::MAX));
            self.inner.consume(taken);
            self.position += taken as u64;
            bytes -= taken as u64;
        }
        Ok(())
    }

    /// A text that ends with a zero; `None` if it is long.
    fn text(&mut self) -> io::Result<Option<String>> {
        let mut text = Vec::new();
        loop {
            match self.byte()? {
                0 if text.len() > MAX_NAME_BYTES => return Ok(None),
                0 => return Ok(String::from_utf8(text).ok()),
                byte if text.len() <= MAX_NAME_BYTES => text.push(byte),
                _ => {}
            }
            if self.position > MAX_BYTES {
                return Err(damage());
            }
        }
    }

    fn entry(&mut self, abbreviation: &Abbreviation, offset_bytes: u64) -> io::Result<Entry> {
        let mut entry = Entry::default();
        for (attribute, form, value) in &abbreviation.attributes {
            match (*attribute, *form) {
                // DW_FORM_string
                (NAME, 0x08) => entry.name = self.text()?,
                // DW_FORM_udata, data1, data2, data4, implicit_const
                (MEMBER_LOCATION, 0x0f) => entry.location = Some(self.leb()?),
                (MEMBER_LOCATION, 0x0b) => entry.location = Some(self.unsigned(1)?),
                (MEMBER_LOCATION, 0x05) => entry.location = Some(self.unsigned(2)?),
                (MEMBER_LOCATION, 0x06) => entry.location = Some(self.unsigned(4)?),
                (MEMBER_LOCATION, 0x21) => entry.location = Some(*value),
                (_, form) => self.skip_form(form, offset_bytes)?,
            }
        }
        Ok(entry)
    }

    /// Passes over a value. Forms as in DWARF 5, section 7.5.6.
    fn skip_form(&mut self, form: u64, offset_bytes: u64) -> io::Result<()> {
        let bytes = match form {
            // flag_present, implicit_const
            0x19 | 0x21 => 0,
            // data1, ref1, flag, strx1, addrx1
            0x0b | 0x11 | 0x0c | 0x25 | 0x29 => 1,
            // data2, ref2, strx2, addrx2
            0x05 | 0x12 | 0x26 | 0x2a => 2,
            // strx3, addrx3
            0x27 | 0x2b => 3,
            // data4, ref4, ref_sup4, strx4, addrx4
            0x06 | 0x13 | 0x1c | 0x28 | 0x2c => 4,
            // addr, data8, ref8, ref_sig8, ref_sup8
            0x01 | 0x07 | 0x14 | 0x20 | 0x24 => 8,
            // data16
            0x1e => 16,
            // strp, ref_addr, sec_offset, strp_sup, line_strp
            0x0e | 0x10 | 0x17 | 0x1d | 0x1f => offset_bytes,
            // block1, block2, block4, block and exprloc
            0x0a => self.unsigned(1)?,
            0x03 => self.unsigned(2)?,
            0x04 => self.unsigned(4)?,
            0x09 | 0x18 => self.leb()?,
            // string
            0x08 => return self.text().map(|_| ()),
            // sdata, udata, ref_udata, strx, addrx, loclistx, rnglistx
            0x0d | 0x0f | 0x15 | 0x1a | 0x1b | 0x22 | 0x23 => return self.leb().map(|_| ()),
            _ => return Err(damage()),
        };
        self.skip(bytes)
    }
}
