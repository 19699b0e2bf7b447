//! Kernel arrays mapped into the agent: read and written without a system call.

use std::os::fd::{AsRawFd as _, BorrowedFd};

/// An array map (`BPF_F_MMAPABLE`) as an array of `u64` words.
///
/// The kernel adds to the words while they are read, so each is read on its
/// own, whole; nothing is said about two words read one after the other.
#[derive(Debug)]
pub struct Mapping {
    at: *mut u64,
    words: usize,
}

// SAFETY: the mapping belongs to this value and is accessed by volatile or
// atomic operations only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the array behind `fd`, whose values take `bytes` in all (a
    /// multiple of eight).
    ///
    /// # Errors
    ///
    /// What `mmap` says.
    pub fn new(fd: BorrowedFd<'_>, bytes: usize) -> std::io::Result<Self> {
        // SAFETY: a new shared mapping at an address of the kernel's choice.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Self { at: at.cast(), words: bytes / 8 })
    }

    /// Number of words.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.words
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// The word at `index`; 0 beyond the end.
    #[must_use]
    pub fn word(&self, index: usize) -> u64 {
        if index >= self.words {
            return 0;
        }
        // SAFETY: within the mapping, aligned.
        unsafe { self.at.add(index).read_volatile() }
    }

    /// Copies words from `index` on into `words`; those beyond the end are 0.
    pub fn read(&self, index: usize, words: &mut [u64]) {
        for (i, word) in words.iter_mut().enumerate() {
            *word = self.word(index + i);
        }
    }

    /// Adds to a word that the kernel adds to as well, wrapping; beyond the end
    /// nothing happens.
    pub fn add_word(&self, index: usize, value: u64) {
        if index < self.words {
            // SAFETY: within the mapping, aligned, and only accessed whole.
            let word = unsafe { std::sync::atomic::AtomicU64::from_ptr(self.at.add(index)) };
            word.fetch_add(value, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Stores a word; beyond the end nothing happens.
    pub fn set_word(&self, index: usize, value: u64) {
        if index < self.words {
            // SAFETY: within the mapping, aligned.
            unsafe { self.at.add(index).write_volatile(value) }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length.
        unsafe { libc::munmap(self.at.cast(), self.words * 8) };
    }
}
