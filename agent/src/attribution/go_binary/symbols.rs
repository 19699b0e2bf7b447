//! Addresses of named symbols, from the symbol table.
//!
//! Separate because the table of a large program has tens of megabytes: names
//! and symbols are read once each, through a window, and only those asked for
//! are kept.

use std::io::{self, Read, Seek};

use super::elf::{Elf, Section};

/// A symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    /// Its address, as linked.
    pub(super) address: u64,
    /// What it takes there.
    pub(super) bytes: u64,
}

/// Bytes of names, and of symbols, that are read at most: the largest programs
/// have a quarter of it.
pub(super) const MAX_BYTES: u64 = 128 << 20;

/// Bytes that are read at once.
const WINDOW_BYTES: usize = 64 << 10;

/// Bytes of a symbol in a 64-bit file.
const SYMBOL_BYTES: usize = 24;

/// Places where a name stands that are remembered.
const MAX_PLACES: usize = 8;

/// Looks for symbols by name; those that are not there are `None`.
pub(super) fn find<R: Read + Seek, const N: usize>(
    elf: &mut Elf<R>,
    table: &Section,
    names: [&str; N],
) -> io::Result<[Option<Symbol>; N]> {
    let mut found = [None; N];
    let Some(strings) = elf.section_by_index(table.link)? else { return Ok(found) };
    let places = places(elf.stream(&strings, MAX_BYTES)?, names)?;
    if places.iter().all(Vec::is_empty) {
        return Ok(found);
    }
    let mut window = vec![0; WINDOW_BYTES / SYMBOL_BYTES * SYMBOL_BYTES];
    let mut symbols = elf.stream(table, MAX_BYTES)?;
    loop {
        let length = fill(&mut symbols, &mut window)?;
        for symbol in window.get(..length).unwrap_or_default().chunks_exact(SYMBOL_BYTES) {
            let [a, b, c, d, _info, _other, _s0, _s1, rest @ ..] = symbol else { continue };
            let name = u32::from_le_bytes([*a, *b, *c, *d]);
            let wanted = places.iter().position(|places| places.contains(&name));
            let Some(found) = wanted.and_then(|index| found.get_mut(index)) else { continue };
            if let (Some(address), Some(bytes)) = (rest.first_chunk::<8>(), rest.last_chunk::<8>())
            {
                let address = u64::from_le_bytes(*address);
                let bytes = u64::from_le_bytes(*bytes);
                if address != 0 {
                    *found = Some(Symbol { address, bytes });
                }
            }
        }
        if length < window.len() {
            return Ok(found);
        }
    }
}

/// Where each name stands in the table of strings: also as the end of another,
/// since some linkers let them share.
pub(super) fn places<const N: usize>(
    mut strings: impl Read,
    names: [&str; N],
) -> io::Result<[Vec<u32>; N]> {
    let longest = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut places = [const { Vec::new() }; N];
    let mut window = vec![0; WINDOW_BYTES];
    // Bytes of the window that were looked at, and where it begins.
    let (mut kept, mut start) = (0, 0_usize);
    loop {
        let Some(free) = window.get_mut(kept..) else { return Ok(places) };
        let free_bytes = free.len();
        let length = fill(&mut strings, free)?;
        let filled = window.get(..kept + length).unwrap_or_default();
        for (at, _) in filled.iter().enumerate().skip(kept).filter(|(_, byte)| **byte == 0) {
            let before = filled.get(..at).unwrap_or_default();
            for (name, places) in names.iter().zip(&mut places) {
                if before.ends_with(name.as_bytes())
                    && places.len() < MAX_PLACES
                    && let Ok(place) = u32::try_from(start + at - name.len())
                {
                    places.push(place);
                }
            }
        }
        if length < free_bytes {
            return Ok(places);
        }
        let keep_from = window.len() - longest;
        window.copy_within(keep_from.., 0);
        start += keep_from;
        kept = longest;
    }
}

/// Reads until the buffer is full or there is no more.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(free) = buffer.get_mut(length..).filter(|free| !free.is_empty()) {
        match from.read(free) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_wherever_the_window_cuts_them() {
        for padding in (WINDOW_BYTES - 30..WINDOW_BYTES + 5).chain([0, 1, 3 * WINDOW_BYTES - 5]) {
            let mut strings = vec![b'x'; padding];
            strings.extend(b"\0runtime.sched\0other.runtime.g0\0");
            let places = places(strings.as_slice(), ["runtime.sched", "runtime.g0"]).unwrap();
            assert_eq!(places, [vec![padding as u32 + 1], vec![padding as u32 + 21]], "{padding}");
        }
    }

    #[test]
    fn a_name_without_its_end_is_none() {
        let places = places(b"\0runtime.sched".as_slice(), ["runtime.sched"]).unwrap();
        assert_eq!(places, [Vec::<u32>::new()]);
    }
}
