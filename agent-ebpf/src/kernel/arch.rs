//! What is particular to x86-64: registers of the system call that a hook runs
//! in, and where its buffer is.
//!
//! The user's registers lie at the top of the kernel stack, so the buffer of
//! the call is known without a hook on the call itself.

use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_task_pt_regs};

use super::task::Task;

/// Offsets in `struct pt_regs` (arch/x86/include/asm/ptrace.h; ABI).
const RAX: usize = 10 * 8;
const RSI: usize = 13 * 8;
const ORIG_RAX: usize = 15 * 8;
const CS: usize = 17 * 8;

/// Code segment of a 64-bit process. Calls of 32-bit ones have other numbers.
const USER64_CS: u64 = 0x33;

/// System call numbers (arch/x86/entry/syscalls/syscall_64.tbl).
pub(crate) mod nr {
    pub(crate) const READ: i64 = 0;
    pub(crate) const WRITE: i64 = 1;
    pub(crate) const READV: i64 = 19;
    pub(crate) const WRITEV: i64 = 20;
    pub(crate) const SENDTO: i64 = 44;
    pub(crate) const RECVFROM: i64 = 45;
    pub(crate) const SENDMSG: i64 = 46;
    pub(crate) const RECVMSG: i64 = 47;
}

/// Offset of `msg_iov` in `struct msghdr`.
const MSG_IOV: u64 = 16;

/// Number of a call that is not known.
pub(crate) const UNKNOWN: i64 = -2;

/// Size of `struct iovec`.
const IOVEC_BYTES: u64 = 16;

/// A task's user registers.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    at: *const u8,
}

impl Registers {
    /// Those of `task`.
    #[inline(always)]
    pub(crate) fn of(task: Task) -> Self {
        // SAFETY: the helper takes any task.
        let at = unsafe { bpf_task_pt_regs(task.as_ptr().cast_mut().cast()) };
        Self { at: at as *const u8 }
    }

    #[inline(always)]
    fn read(self, offset: usize) -> u64 {
        // SAFETY: eight bytes of `struct pt_regs`, at an offset that is ABI.
        unsafe { self.at.add(offset).cast::<u64>().read_volatile() }
    }

    /// A hook's `struct pt_regs *` argument, or a uprobe's context.
    #[inline(always)]
    pub(crate) const fn from_arg(at: *const u8) -> Self {
        Self { at }
    }

    /// The first argument of a Go function (its ABI since 1.17).
    #[inline(always)]
    pub(crate) fn first_of_go(self) -> u64 {
        self.read(RAX)
    }

    /// Whether it is a 64-bit program's: those of 32 bits have other numbers
    /// for their calls.
    #[inline(always)]
    pub(crate) fn is_64_bit(self) -> bool {
        self.read(CS) == USER64_CS
    }

    /// Number of the system call that the task is in; `off_cpu::OUTSIDE` if it
    /// is in none (an interrupt or exception leaves -1), [`UNKNOWN`] if it runs
    /// 32-bit code.
    #[inline(always)]
    pub(crate) fn syscall(self) -> i64 {
        if !self.is_64_bit() {
            return UNKNOWN;
        }
        self.read(ORIG_RAX).cast_signed()
    }

    /// The buffer of a call that reads or writes, cut to the `len` bytes that
    /// it read or wrote. `None` for calls whose buffer is elsewhere (sendfile,
    /// splice, `io_uring`).
    #[inline(always)]
    pub(crate) fn buffer(self, len: u64) -> Option<Buffer> {
        let second = self.read(RSI);
        match self.syscall() {
            nr::READ | nr::WRITE | nr::RECVFROM | nr::SENDTO => {
                Some(Buffer { from: second, bytes: len, next_vector: 0 })
            }
            nr::READV | nr::WRITEV => vector(second, len),
            nr::RECVMSG | nr::SENDMSG => vector(read_user_word(second + MSG_IOV)?, len),
            _ => None,
        }
    }
}

/// Memory of the current process that a call read into or wrote from.
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    /// Its address.
    pub(crate) from: u64,
    /// Bytes of it that the call used.
    pub(crate) bytes: u64,
    /// Where the next `struct iovec` is; 0 if the call takes one buffer.
    pub(crate) next_vector: u64,
}

/// The `struct iovec` at `at`, cut to `len` bytes.
#[inline(always)]
pub(crate) fn vector(at: u64, len: u64) -> Option<Buffer> {
    let from = read_user_word(at)?;
    let room = read_user_word(at + 8)?;
    let bytes = if room < len { room } else { len };
    Some(Buffer { from, bytes, next_vector: at + IOVEC_BYTES })
}

/// Eight bytes of the current process.
#[inline(always)]
pub(crate) fn read_user_word(at: u64) -> Option<u64> {
    let mut word = 0u64;
    // SAFETY: eight bytes of stack.
    let result =
        unsafe { bpf_probe_read_user(core::ptr::from_mut(&mut word).cast(), 8, at as *const _) };
    if result == 0 { Some(word) } else { None }
}
