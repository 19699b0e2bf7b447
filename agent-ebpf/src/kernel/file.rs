//! From a descriptor to the socket behind it.

use aya_ebpf::helpers::bpf_probe_read_kernel;

use super::sock::{AF_INET, AF_INET6};
use super::task::Task;
use crate::globals;

/// Address of the `struct sock` behind a descriptor of `task`, the current
/// one; `None` if it is not an internet socket.
///
/// The descriptor is known to be a socket: a call on it has just succeeded.
#[inline(always)]
pub(crate) fn inet_sock(task: Task, descriptor: u32) -> Option<u64> {
    let table = pointer(task.files() as u64, globals::FILES_FDT.load())?;
    let files = pointer(table, globals::FDTABLE_FD.load())?;
    let file = pointer(files + u64::from(descriptor) * 8, 0)?;
    let socket = pointer(file, globals::FILE_PRIVATE_DATA.load())?;
    let sk = pointer(socket, globals::SOCKET_SK.load())?;
    // SAFETY: the helper checks the address and reads two bytes.
    let family: u16 = unsafe {
        bpf_probe_read_kernel((sk + u64::from(globals::SOCK_FAMILY.load())) as *const u16)
    }
    .ok()?;
    if family == AF_INET || family == AF_INET6 { Some(sk) } else { None }
}

/// As [`inet_sock`], for a number that may be no descriptor, or that of
/// another kind of file: a socket and its `sk` name each other.
#[inline(always)]
pub(crate) fn checked_inet_sock(task: Task, descriptor: u64) -> Option<u64> {
    if descriptor >= MAX_DESCRIPTORS {
        return None;
    }
    let table = pointer(task.files() as u64, globals::FILES_FDT.load())?;
    let files = pointer(table, globals::FDTABLE_FD.load())?;
    let file = pointer(files + descriptor * 8, 0)?;
    let socket = pointer(file, globals::FILE_PRIVATE_DATA.load())?;
    let sk = pointer(socket, globals::SOCKET_SK.load())?;
    if pointer(sk, globals::SOCK_SOCKET.load())? == socket { Some(sk) } else { None }
}

/// `fs.nr_open`, by default.
const MAX_DESCRIPTORS: u64 = 1 << 20;

/// A pointer in kernel memory, if there is one.
#[inline(always)]
fn pointer(at: u64, offset: u32) -> Option<u64> {
    // SAFETY: the helper checks the address and reads eight bytes.
    let value = unsafe { bpf_probe_read_kernel((at + u64::from(offset)) as *const u64) }.ok()?;
    if value == 0 { None } else { Some(value) }
}
