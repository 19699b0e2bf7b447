//! Programs made up byte by byte, and hostile ones.

mod hostile;
mod real;

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use agent_common::go::GoWait;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::{BuildInfo, GoBinary, GoVersion, Unsupported, inspect, inspect_file};

#[test]
fn this_program_is_not_go() {
    assert_eq!(inspect_file(&std::env::current_exe().unwrap()).unwrap(), GoBinary::NotGo);
    assert!(inspect_file(Path::new("/none")).is_err());
}

/// A program file, made up.
#[derive(Clone)]
struct MadeUp {
    kind: u16,
    machine: u16,
    is_dynamic: bool,
    tls_bytes: Option<u64>,
    build_info: Vec<u8>,
}

impl MadeUp {
    fn new(version: &str) -> Self {
        Self {
            kind: 2,
            machine: 62,
            is_dynamic: false,
            tls_bytes: None,
            build_info: build_info(version),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut segments = Vec::new();
        let mut segment = |kind: u32, bytes: u64| {
            segments.extend(kind.to_le_bytes());
            segments.extend([0; 36]);
            segments.extend(bytes.to_le_bytes());
            segments.extend(8_u64.to_le_bytes());
        };
        segment(1, 4096);
        if self.is_dynamic {
            segment(3, 28);
        }
        if let Some(bytes) = self.tls_bytes {
            segment(7, bytes);
        }
        let names = b"\0.text\0.go.buildinfo\0.shstrtab\0";
        let names_at = 64 + segments.len() as u64;
        let info_at = names_at + names.len() as u64;
        let sections_at = info_at + self.build_info.len() as u64;
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend(self.kind.to_le_bytes());
        file.extend(self.machine.to_le_bytes());
        file.resize(32, 0);
        file.extend(64_u64.to_le_bytes());
        file.extend(sections_at.to_le_bytes());
        file.resize(54, 0);
        for number in [56, (segments.len() / 56) as u16, 64, 4, 3] {
            file.extend(number.to_le_bytes());
        }
        file.extend(segments);
        file.extend(names);
        file.extend(&self.build_info);
        for (name, at, bytes) in [
            (0_u32, 0, 0),
            (1, 0, 64),
            (7, info_at, self.build_info.len() as u64),
            (21, names_at, names.len() as u64),
        ] {
            let start = file.len();
            file.extend(name.to_le_bytes());
            file.resize(start + 24, 0);
            file.extend(at.to_le_bytes());
            file.extend(bytes.to_le_bytes());
            file.resize(start + 64, 0);
        }
        file
    }

    fn inspect(&self) -> GoBinary {
        inspect(Cursor::new(self.bytes())).unwrap()
    }
}

/// `.go.buildinfo` as Go 1.18 and newer write it.
fn build_info(version: &str) -> Vec<u8> {
    let mut section = b"\xff Go buildinf:\x08\x02".to_vec();
    section.resize(32, 0);
    let length = version.len();
    if length < 128 {
        section.push(length as u8);
    } else {
        section.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
    }
    section.extend(version.as_bytes());
    section.extend(b"\x30\x77\xaf\x0c path\tprogram\n");
    section
}

fn version_of(found: GoBinary) -> Option<(String, i32, u32)> {
    match found {
        GoBinary::Readable(layout) => {
            Some((layout.version.to_string(), layout.g_tls_offset, layout.goid_offset))
        }
        GoBinary::NotGo | GoBinary::Unsupported { .. } => None,
    }
}

#[test]
fn the_offset_of_the_id_goes_by_the_version() {
    for (version, offset) in [
        ("go1.21", 152),
        ("go1.22.12", 152),
        ("go1.23.0", 160),
        ("go1.24.3 X:boringcrypto", 160),
        ("go1.25rc1", 152),
        ("go1.26.8-custom", 152),
        ("go1.27.3", 152),
    ] {
        assert_eq!(
            version_of(MadeUp::new(version).inspect()),
            Some((version.to_owned(), -8, offset))
        );
    }
    for version in [
        "go1.20.14",
        "go1.28.0",
        "go1.2",
        "go2.21",
        "devel go1.26-abc",
        "go1.26-devel_abc",
        "go1.",
        "",
    ] {
        let expected = GoBinary::Unsupported {
            version: Some(GoVersion::parse(version)),
            why: Unsupported::UnknownVersion,
        };
        assert_eq!(MadeUp::new(version).inspect(), expected, "{version}");
    }
}

#[test]
fn numbers_of_reasons_go_by_the_version() {
    let texts = [GoWait::Select, GoWait::Sleep, GoWait::Mutex, GoWait::ChanReceive];
    for (version, numbers) in [
        ("go1.21.13", [9, 19, 21, 14]),
        ("go1.24.6", [9, 19, 21, 14]),
        ("go1.25.5", [9, 20, 22, 14]),
        ("go1.26.8", [18, 14, 22, 19]),
    ] {
        let GoBinary::Readable(found) = MadeUp::new(version).inspect() else { panic!() };
        for (wait, number) in texts.into_iter().zip(numbers) {
            assert_eq!(found.layout.reasons[number], wait as u8, "{version} {wait:?}");
        }
        assert_eq!(found.layout.counts_syscalls, u8::from(version < "go1.26"));
        assert_eq!(found.layout.gcwaiting_at, 0, "it has no symbols");
        assert_eq!(found.layout.sched_sp, 56);
    }
}

#[test]
fn the_offset_of_g_is_told_only_where_nothing_else_is_thread_local() {
    let go = MadeUp::new("go1.26.8");
    for (kind, is_dynamic, tls_bytes, is_readable) in [
        (2, false, None, true),
        (2, true, Some(8), true),
        (3, true, Some(8), true),
        (2, false, Some(8), true),
        (2, false, Some(0x80), false),
        (3, true, Some(16), false),
        (3, true, None, false),
        (3, false, None, false),
        (2, true, None, false),
    ] {
        let found = MadeUp { kind, is_dynamic, tls_bytes, ..go.clone() }.inspect();
        if is_readable {
            assert_eq!(version_of(found), Some(("go1.26.8".to_owned(), -8, 152)));
        } else {
            assert!(matches!(
                found,
                GoBinary::Unsupported { why: Unsupported::ForeignThreadStorage, .. }
            ));
        }
    }
}

#[test]
fn programs_of_old_go_and_of_other_machines_are_told_apart() {
    let mut old = MadeUp::new("");
    old.build_info = b"\xff Go buildinf:\x08\x00".to_vec();
    old.build_info.resize(32, 1);
    assert_eq!(
        old.inspect(),
        GoBinary::Unsupported { version: None, why: Unsupported::OldBuildInfo }
    );
    for other in [
        MadeUp { machine: 183, ..MadeUp::new("go1.26.8") },
        MadeUp { kind: 1, ..MadeUp::new("go1.26.8") },
        MadeUp { build_info: b"nothing".to_vec(), ..MadeUp::new("") },
        MadeUp { build_info: Vec::new(), ..MadeUp::new("") },
    ] {
        assert_eq!(other.inspect(), GoBinary::NotGo);
    }
}

#[test]
fn versions_are_kept_short_and_printable() {
    let long = format!("go1.26.1 {}", "x".repeat(300));
    let (version, ..) = version_of(MadeUp::new(&long).inspect()).unwrap();
    assert_eq!(version.chars().count(), 64);
    assert_eq!(GoVersion::parse("go1.26\n\x1b[31m").to_string(), "go1.26[31m");
}

/// Counts what is read, and claims to be a file of any size.
struct Metered {
    content: Cursor<Vec<u8>>,
    read_bytes: u64,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.content.position();
        let count = match self.content.read(buffer)? {
            // Beyond the content there are zeros without end.
            0 => buffer.len(),
            count => count,
        };
        self.content.set_position(at + count as u64);
        self.read_bytes += count as u64;
        Ok(count)
    }
}

impl Seek for Metered {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.content.seek(position)
    }
}

#[test]
fn a_section_of_a_terabyte_is_not_read() {
    let mut file = MadeUp::new("go1.26.8").bytes();
    let sections_at = file.len() - 4 * 64;
    for section in 0..4 {
        let size_at = sections_at + section * 64 + 32;
        file[size_at..size_at + 8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    }
    let mut metered = Metered { content: Cursor::new(file), read_bytes: 0 };
    assert!(version_of(inspect(&mut metered).unwrap()).is_some());
    assert!(metered.read_bytes < 80 << 10, "{} bytes read", metered.read_bytes);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic_or_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(inspect(Cursor::new(bytes)).unwrap(), GoBinary::NotGo);
    }

    #[test]
    fn damage_anywhere_neither_panics_nor_reads_without_end(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        length in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = MadeUp { tls_bytes: Some(8), is_dynamic: true, ..MadeUp::new("go1.26.8") }.bytes();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        inspect(Cursor::new(bytes[..length.index(bytes.len() + 1)].to_vec())).unwrap();
        let mut metered = Metered { content: Cursor::new(bytes), read_bytes: 0 };
        inspect(&mut metered).unwrap();
        // All headers that two 16-bit counts can tell, and the two sections.
        prop_assert!(metered.read_bytes <= 65_535 * (64 + 56) + (80 << 10));
    }

    #[test]
    fn any_build_information_is_read_without_panic(tail in proptest::collection::vec(any::<u8>(), 0..100)) {
        BuildInfo::parse(&[b"\xff Go buildinf:".as_slice(), &tail].concat());
    }

    #[test]
    fn any_version_comes_back(version in "[ -~]{0,64}") {
        let parsed = BuildInfo::parse(&build_info(&version));
        prop_assert_eq!(parsed, Some(BuildInfo::Version(GoVersion::parse(&version))));
    }
}
