//! A running program's own code, where a probe may have been put into it.
//!
//! Separate because kernel tests and end-to-end tests ask it, and the program's
//! memory is a witness that no tool for probes stands between.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use agent::attribution::go_binary::client_probe;
use anyhow::Context as _;

/// `push %rbp`: the instruction where Go programs are probed.
pub const PUSH: u8 = 0x55;
/// What the kernel puts in its place.
pub const BREAKPOINT: u8 = 0xcc;

/// Where in its file the program of a process is probed for its calls.
///
/// # Errors
/// When there is no such place.
pub fn client_site(pid: u32) -> anyhow::Result<u64> {
    let program = format!("/proc/{pid}/exe");
    let site = client_probe::find_in(Path::new(&program))?;
    Ok(site.context("no place for the client probe")?.file_offset)
}

/// The byte that a process has in its memory for `offset` of its program.
///
/// # Errors
/// When there is no code of that offset, or it may not be read.
pub fn at(pid: u32, offset: u64) -> anyhow::Result<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let address = maps.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        let is_code = fields.next()?.contains('x');
        let [from, to, at] = [from, to, fields.next()?].map(|n| u64::from_str_radix(n, 16));
        let (from, to, at) = (from.ok()?, to.ok()?, at.ok()?);
        let is_in = is_code && offset >= at && offset < at + (to - from);
        is_in.then(|| from + (offset - at))
    });
    let mut byte = [0];
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    memory.read_exact_at(&mut byte, address.context("no code is mapped there")?)?;
    Ok(byte[0])
}
