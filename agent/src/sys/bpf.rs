//! bpf(2) calls that aya 0.14 has no wrapper for.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

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
