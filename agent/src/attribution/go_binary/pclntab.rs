//! Addresses of functions, from the runtime's own table of them.
//!
//! Separate from the symbol table because this one is there in stripped
//! programs too: the runtime needs it for stack traces. Format of Go 1.18 and
//! newer; read through windows, since that of a large program has 30 MB.

use std::io::{self, Read, Seek};

use super::elf::{Elf, Section, u32_at, u64_at};
use super::symbols;

/// Bytes of the header, of an entry of the table, and of the part of a
/// function's record that is read.
const HEADER_BYTES: u64 = 72;
const ENTRY_BYTES: u64 = 8;
const RECORD_BYTES: usize = 8;

/// Functions that are read at once, and all that are looked at: the largest
/// programs have a quarter of it.
const WINDOW: u64 = 4096;
const MAX_FUNCTIONS: u64 = 2 << 20;

/// Bytes of the records of a window.
const MAX_RECORDS_BYTES: u64 = 4 << 20;

/// Address of the function of that name, as linked. `None` if it is not there,
/// or the table's form is not known.
pub(super) fn function<R: Read + Seek>(
    elf: &mut Elf<R>,
    table: &Section,
    text_address: Option<u64>,
    name: &str,
) -> io::Result<Option<u64>> {
    let header = elf.bytes(table, HEADER_BYTES)?;
    // Go 1.18 and 1.20; then the size of an instruction's unit and of a pointer.
    let is_known = matches!(u32_at(&header, 0), 0xffff_fff0 | 0xffff_fff1)
        && header.get(4..8) == Some(&[0, 0, 1, 8]);
    if !is_known {
        return Ok(None);
    }
    let functions = u64_at(&header, 8);
    // Since Go 1.26 the linker leaves it out.
    let text_start = match u64_at(&header, 24) {
        0 => text_address,
        text_start => Some(text_start),
    };
    let (names_at, units_at, records_at) =
        (u64_at(&header, 32), u64_at(&header, 40), u64_at(&header, 64));
    let (Some(text_start), Some(names_bytes)) = (text_start, units_at.checked_sub(names_at)) else {
        return Ok(None);
    };
    let Some(names) = table.part(names_at, names_bytes) else { return Ok(None) };
    let [places] = symbols::places(elf.stream(&names, symbols::MAX_BYTES)?, [name])?;
    if places.is_empty() {
        return Ok(None);
    }
    let mut first = 0;
    while first < functions.min(MAX_FUNCTIONS) {
        let count = WINDOW.min(functions - first);
        let start = first.saturating_mul(ENTRY_BYTES).saturating_add(records_at);
        let Some(entries) = table.part(start, count * ENTRY_BYTES) else { return Ok(None) };
        let entries = elf.bytes(&entries, count * ENTRY_BYTES)?;
        if let Some(entry) = search(elf, table, records_at, &entries, &places)? {
            return Ok(text_start.checked_add(u64::from(entry)));
        }
        first += count;
    }
    Ok(None)
}

/// Looks for a function with one of the names among some of the table; gives
/// its distance from the start of the text.
fn search<R: Read + Seek>(
    elf: &mut Elf<R>,
    table: &Section,
    records_at: u64,
    entries: &[u8],
    names: &[u32],
) -> io::Result<Option<u32>> {
    // The records lie in the order of the table.
    let offsets = entries.chunks_exact(ENTRY_BYTES as usize).map(|entry| u32_at(entry, 4));
    let (Some(low), Some(high)) = (offsets.clone().min(), offsets.clone().max()) else {
        return Ok(None);
    };
    let bytes = u64::from(high - low) + RECORD_BYTES as u64;
    if bytes > MAX_RECORDS_BYTES {
        return Ok(None);
    }
    let start = records_at.saturating_add(u64::from(low));
    let Some(records) = table.part(start, bytes) else { return Ok(None) };
    let records = elf.bytes(&records, bytes)?;
    Ok(offsets.into_iter().find_map(|offset| {
        let record = records.get(usize::try_from(offset - low).ok()?..)?;
        // `_func`: entryOff, nameOff
        let record = record.get(..RECORD_BYTES)?;
        names.contains(&u32_at(record, 4)).then(|| u32_at(record, 0))
    }))
}
