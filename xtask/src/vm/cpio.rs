//! A writer of the `cpio` archive format "newc", the one that the kernel unpacks
//! as its first file system (Documentation/driver-api/early-userspace/buffer-format.rst).
//! Separate and pure: it turns names and bytes into bytes.

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive in the making. Parent directories are made as files need them.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// Adds a directory and its parents. `path` has no leading slash.
    pub(super) fn directory(&mut self, path: &str) {
        for (index, _) in path.match_indices('/') {
            self.one_directory(&path[..index]);
        }
        self.one_directory(path);
    }

    /// Adds an executable file of at most 4 GiB (the format's bound) and its parents.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.parents(path);
        self.entry(path, EXECUTABLE, (0, 0), content);
    }

    /// Adds a character device and its parents.
    pub(super) fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.parents(path);
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[]);
    }

    /// The finished archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }

    fn one_directory(&mut self, path: &str) {
        if !path.is_empty() && self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY, (0, 0), &[]);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        self.inode += 1;
        let header = [
            self.inode,
            mode,
            0, // uid
            0, // gid
            1, // links
            0, // modification time
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            0, // device of the file: major, minor
            0,
            major,
            minor,
            u32::try_from(path.len() + 1).unwrap_or(u32::MAX),
            0, // checksum, unused in this format
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in header {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Names and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    /// The names in an archive, read the way the kernel reads it.
    fn entries(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |index: usize| {
                let start = at + 6 + 8 * index;
                u32::from_str_radix(std::str::from_utf8(&bytes[start..start + 8]).unwrap(), 16)
                    .unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name =
                std::str::from_utf8(&bytes[at + 110..at + 110 + name_size - 1]).unwrap().to_owned();
            let content = (at + 110 + name_size).next_multiple_of(4);
            at = (content + size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(at, bytes.len());
                return found;
            }
            found.push((name, mode, bytes[content..content + size].to_vec()));
        }
    }

    #[test]
    fn parents_come_once_and_before_what_they_hold() {
        let mut archive = Archive::default();
        archive.file("lib/x86_64/libc.so.6", b"abcde");
        archive.file("lib/x86_64/libm.so.6", b"");
        archive.directory("sys/fs");
        let read = entries(&archive.finish());
        let names: Vec<&str> = read.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(
            names,
            ["lib", "lib/x86_64", "lib/x86_64/libc.so.6", "lib/x86_64/libm.so.6", "sys", "sys/fs"]
        );
    }

    #[test]
    fn contents_and_kinds_survive() {
        let mut archive = Archive::default();
        archive.file("init", b"#!/bin/sh\n");
        archive.character_device("dev/console", 5, 1);
        let read = entries(&archive.finish());
        assert_eq!(read[0], ("init".to_owned(), 0o100_755, b"#!/bin/sh\n".to_vec()));
        assert_eq!(read[2].0, "dev/console");
        assert_eq!(read[2].1, 0o020_600);
    }

    #[test]
    fn any_length_of_content_keeps_the_next_entry_aligned() {
        for length in 0..9 {
            let mut archive = Archive::default();
            archive.file("a", &vec![7; length]);
            archive.file("bcd", b"x");
            let read = entries(&archive.finish());
            assert_eq!(read[0].2.len(), length);
            assert_eq!(read[1].2, b"x");
        }
    }
}
