//! What the guest's only file system holds: the payload with the shared
//! libraries that it names, busybox, and the script that runs them. Separate
//! from `cpio`, which knows the format and not the content.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::cpio::Archive;

/// The guest's init, kept with the tests since it is one.
const INIT: &str = include_str!("../../../tests/guest/init.sh");

/// Debian's statically linked busybox: the guest's user land.
pub(super) const BUSYBOX: &str = "/bin/busybox";

/// The launcher that takes capabilities away: util-linux's, since busybox's own
/// cannot shrink the bounding set, which is what root's programs get.
pub(super) const SETPRIV: &str = "/usr/bin/setpriv";

/// The programs under test.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) agent: PathBuf,
    pub(super) api: PathBuf,
}

/// Writes the archive that the kernel unpacks, uncompressed: unpacking costs
/// more under emulation than reading.
pub(super) fn write(path: &Path, payload: &Payload) -> Result<()> {
    let mut archive = Archive::default();
    for directory in
        ["proc", "sys", "dev", "tmp", "run", "etc", "var/log", "usr/bin", "usr/sbin", "sbin"]
    {
        archive.directory(directory);
    }
    // Before devtmpfs is mounted init needs somewhere to write.
    archive.character_device("dev/console", 5, 1);
    archive.file("init", INIT.as_bytes());

    let programs = [
        (Path::new(BUSYBOX), "bin/busybox"),
        (&payload.agent, "bin/strata"),
        (&payload.api, "bin/goapi"),
        (Path::new(SETPRIV), "usr/bin/setpriv"),
    ];
    let mut libraries = BTreeSet::new();
    for (source, name) in programs {
        let content = std::fs::read(source)
            .with_context(|| format!("cannot read {}; is it built?", source.display()))?;
        archive.file(name, &content);
        libraries.extend(shared_libraries(source)?);
    }
    for library in libraries {
        let content = std::fs::read(&library).with_context(|| format!("cannot read {library}"))?;
        archive.file(library.trim_start_matches('/'), &content);
    }
    std::fs::write(path, archive.finish())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The files that the dynamic loader would map for `program`, loader included.
fn shared_libraries(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        // ldd fails on a static binary and says so, on either stream.
        let said = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        if said.contains("not a dynamic executable") {
            return Ok(Vec::new());
        }
        bail!("ldd {}: {}", program.display(), said.trim_end());
    }
    parse_ldd(&text)
}

fn parse_ldd(text: &str) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.ends_with("not found") {
            bail!("a shared library is missing: {line}");
        }
        // `libc.so.6 => /lib/libc.so.6 (0x…)`, or `/lib64/ld-linux.so.2 (0x…)`.
        let target = line.split_once("=> ").map_or(line, |(_, target)| target);
        if let Some(path) = target.split_whitespace().next().filter(|path| path.starts_with('/')) {
            paths.push(path.to_owned());
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::parse_ldd;

    #[test]
    fn libraries_and_the_loader_are_found_and_the_vdso_is_not() {
        let text = "\tlinux-vdso.so.1 (0x00007fd743b0d000)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fd7438fe000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007fd743b0f000)\n";
        assert_eq!(
            parse_ldd(text).unwrap(),
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
    }

    #[test]
    fn a_missing_library_is_an_error_and_a_static_program_has_none() {
        assert!(parse_ldd("\tlibx.so.1 => not found\n").is_err());
        assert_eq!(parse_ldd("\tstatically linked\n").unwrap(), Vec::<String>::new());
    }
}
