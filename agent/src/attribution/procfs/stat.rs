//! `/proc/<pid>/stat`: name, start, flags.
//!
//! Separate because its form is old and hostile (the name may hold spaces,
//! brackets and newlines), so that the parser is pure and tested by itself.

use crate::event::ids::StartTicks;

/// `PF_KTHREAD` of the kernel's `include/linux/sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// What is kept of `/proc/<pid>/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Name of the group leader, at most 15 bytes (longer for kernel threads).
    pub comm: String,
    /// The process that started it, or took it over.
    pub parent: u32,
    /// When it started.
    pub start: StartTicks,
    /// It has no program: it runs in the kernel only.
    pub is_kernel_thread: bool,
    /// It has ended, and waits for its parent.
    pub is_zombie: bool,
}

impl Stat {
    /// Reads the one line of the file; `None` if that is not its form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // pid (comm) state ppid ...: the name ends at the last bracket.
        let (head, tail) = text.rsplit_once(')')?;
        let comm = head.split_once('(')?.1.to_owned();
        let mut fields = tail.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        // Numbered as in proc(5): state is 3, ppid 4, flags 9, starttime 22.
        let flags: u64 = fields.nth(9 - 5)?.parse().ok()?;
        let start = StartTicks(fields.nth(22 - 10)?.parse().ok()?);
        let is_zombie = matches!(state, "Z" | "X" | "x");
        Some(Self { comm, parent, start, is_kernel_thread: flags & KERNEL_THREAD != 0, is_zombie })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::Stat;
    use crate::event::ids::StartTicks;

    /// As the kernel writes it, from a live process.
    fn line(comm: &str, state: char, flags: u64, start: u64) -> String {
        format!(
            "71 ({comm}) {state} 1 71 71 0 -1 {flags} 215 0 0 0 0 0 0 0 20 0 1 0 {start} 2945024 348 \
             18446744073709551615 1 2 3 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        )
    }

    #[test]
    fn names_with_brackets_and_newlines_do_not_shift_the_fields() {
        for comm in ["nginx", "a) S 1 2 (b", ") (", "", "x\ny", "(sd-pam)"] {
            let stat = Stat::parse(&line(comm, 'S', 4_194_560, 12_345)).unwrap();
            assert_eq!((stat.comm.as_str(), stat.start), (comm, StartTicks(12_345)));
            assert!(!stat.is_kernel_thread && !stat.is_zombie);
        }
    }

    #[test]
    fn kernel_threads_and_zombies_are_told_apart() {
        assert!(Stat::parse(&line("kworker/0:0", 'I', 69_238_880, 5)).unwrap().is_kernel_thread);
        assert!(Stat::parse(&line("sh", 'Z', 4_228_364, 5)).unwrap().is_zombie);
    }

    #[test]
    fn a_cut_line_is_not_read() {
        let whole = line("nginx", 'S', 1, 12_345);
        let end = whole.find("12345").unwrap();
        assert!((0..end).all(|length| Stat::parse(&whole[..length]).is_none()));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*") {
            prop_assert!(Stat::parse(&text).is_none_or(|stat| text.contains(&stat.comm)));
        }

        #[test]
        fn any_name_comes_back(comm in "[^\\x00]{0,15}", start in 0_u64..1 << 50) {
            let stat = Stat::parse(&line(&comm, 'R', 0, start)).unwrap();
            prop_assert_eq!((stat.comm, stat.start), (comm, StartTicks(start)));
        }
    }
}
