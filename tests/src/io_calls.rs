//! Every system call that servers read and write sockets with.
//!
//! Separate because the standard library makes only two of them, and because
//! they are unsafe.
#![expect(unsafe_code, reason = "libc has no safe form of these calls")]

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, RawFd};

/// The head of the response; [`BODY_BYTES`] follow.
pub const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
/// Length of the body.
pub const BODY_BYTES: usize = 1000;

/// How a request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// read(2)
    Read,
    /// recvfrom(2), which recv(3) is
    Recvfrom,
    /// recvmsg(2)
    Recvmsg,
    /// readv(2), into two buffers
    Readv,
    /// recvfrom(2) with `MSG_PEEK`, then read(2)
    PeekThenRead,
}

/// How a response is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send {
    /// write(2)
    Write,
    /// sendto(2), which send(3) is
    Sendto,
    /// sendmsg(2), of two buffers
    Sendmsg,
    /// writev(2), of two buffers
    Writev,
    /// write(2) of the head, sendfile(2) of the body
    Sendfile,
}

impl Receive {
    /// Every way.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::Recvfrom, Self::Recvmsg, Self::Readv, Self::PeekThenRead];

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| format!("{way:?}") == name)
    }
}

impl Send {
    /// Every way.
    pub const ALL: [Self; 5] =
        [Self::Write, Self::Sendto, Self::Sendmsg, Self::Writev, Self::Sendfile];

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| format!("{way:?}") == name)
    }
}

/// A file with the body in it.
///
/// # Errors
/// When it cannot be made.
pub fn body_file() -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(&[b'x'; BODY_BYTES])?;
    file.rewind()?;
    Ok(file)
}

/// Reads what is there.
///
/// # Errors
/// What the call gives.
pub fn receive(stream: &TcpStream, way: Receive, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = stream.as_raw_fd();
    let (at, len) = (buffer.as_mut_ptr().cast::<libc::c_void>(), buffer.len());
    // Two buffers, the first so short that a request lies in both.
    let first = len.min(10);
    let mut parts = [
        libc::iovec { iov_base: at, iov_len: first },
        libc::iovec { iov_base: at.wrapping_byte_add(first), iov_len: len - first },
    ];
    let result = match way {
        // SAFETY: `at` is valid for `len` bytes while `buffer` is borrowed.
        Receive::Read => unsafe { libc::read(fd, at, len) },
        // SAFETY: as above.
        Receive::Recvfrom => unsafe { libc::recv(fd, at, len, 0) },
        // SAFETY: both parts lie within `buffer`.
        Receive::Readv => unsafe { libc::readv(fd, parts.as_ptr(), 2) },
        Receive::Recvmsg => {
            let mut message = message(&mut parts);
            // SAFETY: the message names the two parts and nothing else.
            unsafe { libc::recvmsg(fd, &raw mut message, 0) }
        }
        Receive::PeekThenRead => {
            // SAFETY: as for read.
            let peeked = unsafe { libc::recv(fd, at, len, libc::MSG_PEEK) };
            // SAFETY: as for read.
            if peeked < 0 { peeked } else { unsafe { libc::read(fd, at, len) } }
        }
    };
    bytes(result)
}

/// Writes [`HEAD`] and the body.
///
/// # Errors
/// What the call gives, or when not all was taken.
pub fn respond(stream: &TcpStream, way: Send, body: &File) -> io::Result<()> {
    let fd = stream.as_raw_fd();
    let mut whole = HEAD.to_vec();
    whole.extend([b'x'; BODY_BYTES]);
    let at = whole.as_mut_ptr().cast::<libc::c_void>();
    // The status lies in the second buffer.
    let first = HEAD.iter().position(|byte| *byte == b' ').unwrap_or(0);
    let mut parts = [
        libc::iovec { iov_base: at, iov_len: first },
        libc::iovec { iov_base: at.wrapping_byte_add(first), iov_len: whole.len() - first },
    ];
    let result = match way {
        // SAFETY: `at` is valid for the length of `whole`.
        Send::Write => unsafe { libc::write(fd, at, whole.len()) },
        // SAFETY: as above.
        Send::Sendto => unsafe { libc::send(fd, at, whole.len(), 0) },
        // SAFETY: both parts lie within `whole`.
        Send::Writev => unsafe { libc::writev(fd, parts.as_ptr(), 2) },
        Send::Sendmsg => {
            let message = message(&mut parts);
            // SAFETY: the message names the two parts and nothing else.
            unsafe { libc::sendmsg(fd, &raw const message, 0) }
        }
        Send::Sendfile => return send_file(fd, body),
    };
    if bytes(result)? == whole.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn send_file(fd: RawFd, body: &File) -> io::Result<()> {
    // SAFETY: a constant's bytes.
    bytes(unsafe { libc::write(fd, HEAD.as_ptr().cast(), HEAD.len()) })?;
    let mut from = 0;
    // SAFETY: both descriptors are open while borrowed; the offset is ours.
    bytes(unsafe { libc::sendfile(fd, body.as_raw_fd(), &raw mut from, BODY_BYTES) })?;
    Ok(())
}

fn message(parts: &mut [libc::iovec; 2]) -> libc::msghdr {
    // SAFETY: a msghdr is integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len();
    message
}

fn bytes(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_negative| io::Error::last_os_error())
}
