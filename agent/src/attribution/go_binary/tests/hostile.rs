//! Damaged and made-up tables: symbols, functions, debug information.

use std::io::Cursor;

use proptest::prelude::{any, prop_assert, proptest};

use super::super::dwarf;
use super::super::elf::Elf;
use super::super::{pclntab, symbols};

/// A program with one section of the given bytes, named `.x`.
fn program(content: &[u8]) -> Vec<u8> {
    let names = b"\0.x\0.n\0";
    let sections_at = 64 + names.len() + content.len();
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend(2_u16.to_le_bytes());
    file.extend(62_u16.to_le_bytes());
    file.resize(40, 0);
    file.extend((sections_at as u64).to_le_bytes());
    file.resize(54, 0);
    for number in [56_u16, 0, 64, 3, 2] {
        file.extend(number.to_le_bytes());
    }
    file.extend(names);
    file.extend(content);
    for (name, at, bytes) in
        [(0_u32, 0, 0), (1, 64 + names.len(), content.len()), (4, 64, names.len())]
    {
        let start = file.len();
        file.extend(name.to_le_bytes());
        file.resize(start + 24, 0);
        file.extend((at as u64).to_le_bytes());
        file.extend((bytes as u64).to_le_bytes());
        // Its names are its own bytes.
        file.extend(1_u32.to_le_bytes());
        file.resize(start + 64, 0);
    }
    file
}

/// A table of one function, `f`, 16 bytes into the text.
fn functions() -> Vec<u8> {
    let mut table = b"\xf1\xff\xff\xff\0\0\x01\x08".to_vec();
    for number in [1_u64, 0, 0x1000, 72, 76, 76, 76, 80] {
        table.extend(number.to_le_bytes());
    }
    table.extend(b"g\0f\0\0\0\0\0");
    for number in [16_u32, 8, 16, 2] {
        table.extend(number.to_le_bytes());
    }
    table
}

fn find_function(table: &[u8]) -> Option<u64> {
    let mut elf = Elf::open(Cursor::new(program(table))).unwrap().unwrap();
    let [section] = elf.sections([b".x"]).unwrap();
    pclntab::function(&mut elf, &section.unwrap(), Some(0x4000), "f").unwrap_or(None)
}

#[test]
fn a_function_is_found_by_its_name() {
    assert_eq!(find_function(&functions()), Some(0x1010));
    let mut newer = functions();
    newer[24..32].fill(0);
    assert_eq!(find_function(&newer), Some(0x4010), "from the section's address");
    let mut other = functions();
    other[74] = b'h';
    assert_eq!(find_function(&other), None);
}

/// A unit named `runtime` with a `runtime.g` whose `goid` is at 152.
fn debug_information() -> (Vec<u8>, Vec<u8>) {
    let abbreviations = vec![
        1, 0x11, 1, 0x03, 0x08, 0, 0, //
        2, 0x13, 1, 0x03, 0x08, 0x0b, 0x0f, 0, 0, //
        3, 0x0d, 0, 0x03, 0x08, 0x38, 0x0f, 0x49, 0x10, 0, 0, //
        0,
    ];
    let mut unit = vec![5, 0, 1, 8, 0, 0, 0, 0];
    unit.extend(b"\x01runtime\0\x02runtime.g\0\x90\x04");
    unit.extend(b"\x03goid\0\x98\x01\0\0\0\0\0\0");
    let mut info = (unit.len() as u32).to_le_bytes().to_vec();
    info.extend(unit);
    (info, abbreviations)
}

#[test]
fn a_field_is_found_in_its_structure() {
    let (info, abbreviations) = debug_information();
    assert_eq!(dwarf::fields(info.as_slice(), &abbreviations).unwrap().goid, 152);
    let mut other = info;
    let at = other.windows(9).position(|name| name == b"runtime.g").unwrap();
    other[at + 8] = b'h';
    assert_eq!(dwarf::fields(other.as_slice(), &abbreviations).unwrap().goid, 0);
}

proptest! {
    #[test]
    fn any_debug_information_is_read_without_panic_or_error(
        info in proptest::collection::vec(any::<u8>(), 0..400),
        abbreviations in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        prop_assert!(dwarf::fields(info.as_slice(), &abbreviations).is_ok());
    }

    #[test]
    fn damaged_debug_information_is_read_without_panic_or_error(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (mut info, mut abbreviations) = debug_information();
        for (index, (at, value)) in damage.into_iter().enumerate() {
            let bytes = if index % 2 == 0 { &mut info } else { &mut abbreviations };
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        prop_assert!(dwarf::fields(info.as_slice(), &abbreviations).is_ok());
    }

    #[test]
    fn damaged_tables_of_functions_and_symbols_are_read_without_panic(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut table = functions();
        for (at, value) in damage {
            let at = at.index(table.len());
            table[at] = value;
        }
        find_function(&table);
        let mut elf = Elf::open(Cursor::new(program(&table))).unwrap().unwrap();
        let [section] = elf.sections([b".x"]).unwrap();
        prop_assert!(symbols::find(&mut elf, &section.unwrap(), ["f", "g"]).is_ok());
    }
}
