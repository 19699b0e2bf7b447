//! bpf(2) calls that aya 0.14 has no wrapper for.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_ITER_CREATE: libc::c_long = 33;
/// Attach type `BPF_TRACE_ITER`.
const TRACE_ITER: u32 = 28;

/// `union bpf_attr` of `BPF_LINK_CREATE` for iterators (include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_len: u32,
    _pad: [u32; 7],
}

/// `union bpf_attr` of `BPF_ITER_CREATE`.
#[repr(C)]
#[derive(Default)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
    _pad: [u32; 6],
}

/// An iterator program bound to one map: each run visits every element once.
///
/// The program and its link are gone when this is dropped, or the process dies.
#[derive(Debug)]
pub struct MapIterator {
    link: OwnedFd,
}

impl MapIterator {
    /// Binds a loaded `iter` program to a map.
    ///
    /// # Errors
    ///
    /// What the kernel says; `EINVAL` if the program's type of iterator does
    /// not go with the map.
    pub fn new(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> std::io::Result<Self> {
        // `union bpf_iter_link_info`: the map's descriptor comes first.
        let info = [map.as_raw_fd().cast_unsigned(), 0, 0, 0];
        let attr = LinkCreate {
            prog_fd: program.as_raw_fd().cast_unsigned(),
            attach_type: TRACE_ITER,
            iter_info: info.as_ptr() as u64,
            iter_info_len: size_of_val(&info) as u32,
            ..LinkCreate::default()
        };
        call(BPF_LINK_CREATE, &attr).map(|link| Self { link })
    }

    /// Visits every element.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn run(&self) -> std::io::Result<()> {
        let attr =
            IterCreate { link_fd: self.link.as_raw_fd().cast_unsigned(), ..IterCreate::default() };
        let mut file = File::from(call(BPF_ITER_CREATE, &attr)?);
        // The program writes nothing: the first read visits all and ends.
        let mut nothing = [0; 64];
        while file.read(&mut nothing)? > 0 {}
        Ok(())
    }
}

/// `union bpf_attr` of `BPF_MAP_LOOKUP_BATCH`.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Reads a hash from one end to the other, some elements at a time.
///
/// An element that is there all the time is read once; one that comes or goes
/// meanwhile may be read or not.
#[derive(Debug)]
pub struct BatchReader {
    key_words: usize,
    value_words: usize,
    keys: Vec<u64>,
    values: Vec<u64>,
    elements: u32,
}

/// Beyond this many elements in one bucket of a hash somebody attacks it.
const MAX_BATCH: u32 = 4_096;

impl BatchReader {
    /// For keys and values of so many words, `elements` at a time.
    #[must_use]
    pub fn new(key_words: usize, value_words: usize, elements: u32) -> Self {
        let mut reader =
            Self { key_words, value_words, keys: Vec::new(), values: Vec::new(), elements };
        reader.make_room();
        reader
    }

    fn make_room(&mut self) {
        self.keys.resize(self.key_words * self.elements as usize, 0);
        self.values.resize(self.value_words * self.elements as usize, 0);
    }

    /// Visits every element of `map`, whose keys and values must have the sizes
    /// that were given: its key, its value.
    ///
    /// # Errors
    ///
    /// What the kernel says: `EINVAL` before 5.6.
    pub fn read(
        &mut self,
        map: BorrowedFd<'_>,
        mut visit: impl FnMut(&[u64], &[u64]),
    ) -> std::io::Result<()> {
        // Where the next batch begins: a bucket's number, in the map's own form.
        let (mut from, mut next) = (0_u64, 0_u64);
        let mut is_first = true;
        loop {
            let mut attr = Batch {
                in_batch: if is_first { 0 } else { std::ptr::from_mut(&mut from) as u64 },
                out_batch: std::ptr::from_mut(&mut next) as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: self.elements,
                map_fd: map.as_raw_fd().cast_unsigned(),
                elem_flags: 0,
                flags: 0,
            };
            // SAFETY: `attr` is a bpf_attr of the size given; keys and values
            // have room for `count` elements, and the numbers of buckets for
            // theirs.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_bpf,
                    BPF_MAP_LOOKUP_BATCH,
                    std::ptr::from_mut(&mut attr),
                    size_of::<Batch>() as u32,
                )
            };
            let error = (result < 0).then(std::io::Error::last_os_error);
            match error.as_ref().and_then(std::io::Error::raw_os_error) {
                None => {}
                // The end; there may have been some before it.
                Some(libc::ENOENT) => {}
                // More in one bucket than there is room for: nothing was read.
                Some(libc::ENOSPC) if self.elements < MAX_BATCH => {
                    self.elements *= 2;
                    self.make_room();
                    continue;
                }
                Some(_) => return Err(error.unwrap_or_else(std::io::Error::last_os_error)),
            }
            let keys = self.keys.chunks_exact(self.key_words);
            let values = self.values.chunks_exact(self.value_words);
            for (key, value) in keys.zip(values).take(attr.count as usize) {
                visit(key, value);
            }
            if error.is_some() {
                return Ok(());
            }
            from = next;
            is_first = false;
        }
    }
}

pub(super) fn call<T>(command: libc::c_long, attr: &T) -> std::io::Result<OwnedFd> {
    // SAFETY: `attr` is a bpf_attr of the size given, and what it points to
    // outlives the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>() as u32)
    };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
