//! bpf(2) calls for links of the kind `uprobe_multi` (6.6), which aya 0.14 has
//! no wrapper for, and for a program that they take.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::bpf;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
/// Program type `BPF_PROG_TYPE_KPROBE`.
const KPROBE: u32 = 2;
/// Attach type `BPF_TRACE_UPROBE_MULTI`.
const UPROBE_MULTI: u32 = 48;
/// Bytes of the verifier's words that are kept.
const LOG_BYTES: usize = 64 << 10;

/// `union bpf_attr` of `BPF_PROG_LOAD`, up to the last field that is set
/// (include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// `union bpf_attr` of `BPF_LINK_CREATE` for this kind.
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    multi_flags: u32,
    pid: u32,
    _pad: u32,
}

/// A loaded program that can be linked to places in files. It and its links are
/// gone when they are dropped, or the process dies.
#[derive(Debug)]
pub struct UprobeProgram {
    fd: OwnedFd,
}

/// A place in a file that the program runs at, whoever runs the file.
#[derive(Debug)]
pub struct UprobeLink {
    _fd: OwnedFd,
}

impl UprobeProgram {
    /// Loads a program of these instructions (the kernel's encoding, eight
    /// bytes each; descriptors of maps in place), GPL-compatible by `license`.
    /// The kernel keeps 15 bytes of `name`.
    ///
    /// # Errors
    ///
    /// What the kernel says, and the last words of its verifier.
    pub fn load(name: &str, instructions: &[u64], license: &CStr) -> io::Result<Self> {
        let mut log = vec![0_u8; LOG_BYTES];
        let mut attr = ProgLoad {
            prog_type: KPROBE,
            insn_cnt: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
            insns: instructions.as_ptr() as u64,
            license: license.as_ptr() as u64,
            expected_attach_type: UPROBE_MULTI,
            ..ProgLoad::default()
        };
        for (to, from) in attr.prog_name.iter_mut().take(15).zip(name.bytes()) {
            *to = from;
        }
        if let Ok(fd) = bpf::call(BPF_PROG_LOAD, &attr) {
            return Ok(Self { fd });
        }
        // Again, now to hear why.
        attr.log_level = 1;
        attr.log_size = LOG_BYTES as u32;
        attr.log_buf = log.as_mut_ptr() as u64;
        match bpf::call(BPF_PROG_LOAD, &attr) {
            Ok(fd) => Ok(Self { fd }),
            Err(error) => {
                let log = String::from_utf8_lossy(&log);
                let log = log.trim_end_matches('\0').trim_end();
                let last = log.lines().rev().find(|line| !line.starts_with("processed"));
                Err(match last {
                    Some(last) if !last.is_empty() => {
                        io::Error::new(error.kind(), format!("{error}: {last}"))
                    }
                    _ => error,
                })
            }
        }
    }

    /// Whether the kernel makes links of this kind with this program.
    ///
    /// It is asked for one to a directory: who knows the kind says that this is
    /// no file, and nothing is attached.
    ///
    /// # Errors
    ///
    /// What the kernel says instead.
    pub fn can_link(&self) -> io::Result<()> {
        match self.link(c"/", 0) {
            Err(error) if error.raw_os_error() != Some(libc::EBADF) => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs the program where any process executes the instruction at `offset`
    /// of the file at `path`.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn link(&self, path: &CStr, offset: u64) -> io::Result<UprobeLink> {
        let offsets = [offset];
        let attr = LinkCreate {
            prog_fd: self.program().as_raw_fd().cast_unsigned(),
            attach_type: UPROBE_MULTI,
            path: path.as_ptr() as u64,
            offsets: offsets.as_ptr() as u64,
            cnt: 1,
            ..LinkCreate::default()
        };
        bpf::call(BPF_LINK_CREATE, &attr).map(|fd| UprobeLink { _fd: fd })
    }

    fn program(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd as _;
        self.fd.as_fd()
    }
}
