//! Classes of system calls, and how a call ended.
//!
//! A closed set of sixteen classes keeps the syscalls lane's counters small
//! and its labels few. The tables are constants that the kernel programs index;
//! the same table of names makes the reference page, so the two cannot differ.

pub mod calls;
pub mod errno;

use calls::CALLS;

/// What a system call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Reads from a descriptor of any kind.
    Read = 0,
    /// Writes to a descriptor of any kind, or moves data between two.
    Write = 1,
    /// Receives from a socket.
    Recv = 2,
    /// Sends to a socket.
    Send = 3,
    /// Waits for readiness or completion, and says for what.
    Poll = 4,
    /// Takes an incoming connection.
    Accept = 5,
    /// Makes an outgoing connection.
    Connect = 6,
    /// Makes, names or sets up a socket.
    Socket = 7,
    /// Waits for or wakes another thread.
    Futex = 8,
    /// Waits for time to pass or a signal to come.
    Sleep = 9,
    /// Opens or closes a descriptor.
    FileOpen = 10,
    /// Works on names, attributes, places and locks of files.
    FileMeta = 11,
    /// Brings data to stable storage.
    Sync = 12,
    /// Maps and unmaps memory.
    Memory = 13,
    /// Makes, ends, waits for, signals and describes processes and threads.
    Process = 14,
    /// The rest, and calls of 32-bit programs.
    Other = 15,
}

/// Number of [`Class`]es.
pub const CLASSES: usize = 16;

impl Class {
    /// Every class, in order of its index.
    pub const ALL: [Self; CLASSES] = [
        Self::Read,
        Self::Write,
        Self::Recv,
        Self::Send,
        Self::Poll,
        Self::Accept,
        Self::Connect,
        Self::Socket,
        Self::Futex,
        Self::Sleep,
        Self::FileOpen,
        Self::FileMeta,
        Self::Sync,
        Self::Memory,
        Self::Process,
        Self::Other,
    ];

    /// The value of the `class` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Recv => "recv",
            Self::Send => "send",
            Self::Poll => "poll",
            Self::Accept => "accept",
            Self::Connect => "connect",
            Self::Socket => "socket",
            Self::Futex => "futex",
            Self::Sleep => "sleep",
            Self::FileOpen => "file_open",
            Self::FileMeta => "file_meta",
            Self::Sync => "sync",
            Self::Memory => "memory",
            Self::Process => "process",
            Self::Other => "other",
        }
    }
}

/// The value of the `class` label of the class with this index.
#[must_use]
pub const fn class_name(index: usize) -> &'static str {
    let class = if index < CLASSES { Class::ALL[index] } else { Class::Other };
    class.as_str()
}

/// Numbers that have a place in [`CLASS_OF`]; a power of two, so that an index
/// can be masked.
pub const NUMBERS: usize = 512;

/// Class, as a number, by system call number.
pub static CLASS_OF: [u8; NUMBERS] = classes();

/// The class of a system call, as a number. Numbers outside the table
/// (negative ones, those of the x32 interface) are [`Class::Other`].
#[inline(always)]
#[must_use]
pub fn class_of(number: i64) -> u8 {
    // The last place of the table belongs to no call.
    let number = if number.cast_unsigned() < NUMBERS as u64 { number } else { NUMBERS as i64 - 1 };
    // Opaque, so that the mask stays: the verifier of 6.1 follows ways on which
    // the comparison above leaves no number at all, and then knows no bound.
    CLASS_OF[core::hint::black_box(number as usize) & (NUMBERS - 1)]
}

const fn classes() -> [u8; NUMBERS] {
    let mut table = [Class::Other as u8; NUMBERS];
    let mut i = 0;
    while i < CALLS.len() {
        let (number, _, class) = CALLS[i];
        table[number as usize] = class as u8;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::calls::nr;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_are_listed_in_order_of_their_index() {
        for (i, class) in Class::ALL.iter().enumerate() {
            assert_eq!(*class as usize, i);
        }
    }

    #[test]
    fn every_number_below_512_has_a_class() {
        for number in 0..NUMBERS as i64 {
            assert!(usize::from(class_of(number)) < CLASSES, "{number}");
        }
    }

    #[test]
    fn each_call_is_listed_once_in_order_of_its_number() {
        assert!(CALLS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (i, (_, name, _)) in CALLS.iter().enumerate() {
            assert!(CALLS.iter().skip(i + 1).all(|(_, other, _)| other != name), "{name}");
        }
    }

    #[test]
    fn every_class_has_calls() {
        for class in Class::ALL {
            assert!(CALLS.iter().any(|(_, _, of)| *of == class), "{class:?}");
        }
    }

    #[test]
    fn named_numbers_are_those_of_the_table() {
        for (number, name) in [
            (nr::SELECT, "select"),
            (nr::POLL, "poll"),
            (nr::PSELECT6, "pselect6"),
            (nr::PPOLL, "ppoll"),
            (nr::NANOSLEEP, "nanosleep"),
            (nr::RT_SIGRETURN, "rt_sigreturn"),
        ] {
            assert!(CALLS.iter().any(|call| i64::from(call.0) == number && call.1 == name));
        }
    }

    #[test]
    fn numbers_of_this_host_are_those_of_the_table() {
        // The C library's header, where it is installed, is another source.
        let path = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
        let Ok(header) = std::fs::read_to_string(path) else { return };
        for line in header.lines() {
            let mut words = line.split_whitespace();
            let (Some("#define"), Some(name), Some(number)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let (Some(name), Ok(number)) = (name.strip_prefix("__NR_"), number.parse::<u16>())
            else {
                continue;
            };
            let listed = CALLS.iter().find(|call| call.0 == number);
            assert_eq!(listed.map(|call| call.1), Some(name), "{number}");
        }
    }

    proptest! {
        #[test]
        fn numbers_outside_the_table_are_other(number in any::<i64>()) {
            prop_assume!(!(0..NUMBERS as i64).contains(&number));
            prop_assert_eq!(class_of(number), Class::Other as u8);
        }
    }
}
