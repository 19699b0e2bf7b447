//! `/proc/stat`: what each CPU did since the node started.
//!
//! Separate because it is of CPUs and not of processes, and its parser is pure.

/// What one CPU did, in ticks of `USER_HZ` since the node started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTicks {
    /// Its number.
    pub cpu: u32,
    /// Time that was not idle, `taken` included.
    pub busy: u64,
    /// Of that: time that the hypervisor (`steal`) or hard interrupts (`irq`)
    /// had. Kernels without `IRQ_TIME_ACCOUNTING` may count no `irq`.
    pub taken: u64,
}

impl CpuTicks {
    /// CPUs in the text of the file; those that are offline have no line.
    /// `None` if that is not its form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Vec<Self>> {
        // The first line is the sum of all; what is not of CPUs follows theirs.
        let lines = text.lines().skip(1).map_while(|line| line.strip_prefix("cpu"));
        let cpus: Vec<Self> = lines.map(Self::parse_line).collect::<Option<_>>()?;
        (text.starts_with("cpu ") && !cpus.is_empty()).then_some(cpus)
    }

    fn parse_line(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let cpu = fields.next()?.parse().ok()?;
        let mut next = || fields.next()?.parse::<u64>().ok();
        // Time of guests, which comes after these, is in user and nice.
        let (user, nice, system) = (next()?, next()?, next()?);
        let (_idle, _iowait) = (next()?, next()?);
        let (irq, softirq, steal) = (next()?, next()?, next()?);
        let taken = irq.checked_add(steal)?;
        let busy = [user, nice, system, softirq].into_iter().try_fold(taken, u64::checked_add)?;
        Some(Self { cpu, busy, taken })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::CpuTicks;
    use crate::attribution::procfs::ProcRoot;

    #[test]
    fn idle_time_is_not_busy_and_guests_are_not_counted_twice() {
        let text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 20 300 7000 800 4000 50000 600000 7 8\n\
            cpu2 0 0 0 5 5 0 0 0 0 0\nintr 1 2\ncpu3 1 1 1 1 1 1 1 1\n";
        let cpus = CpuTicks::parse(text).unwrap();
        assert_eq!(cpus.len(), 2);
        assert_eq!(cpus[0], CpuTicks { cpu: 0, busy: 654_321, taken: 604_000 });
        assert_eq!(cpus[1], CpuTicks { cpu: 2, busy: 0, taken: 0 });
    }

    #[test]
    fn another_form_is_refused() {
        let max = u64::MAX;
        for text in [
            "",
            "cpu  1 2 3 4 5 6 7 8\n",
            "cpu0 1 2 3 4 5 6 7 8\ncpu1 1 2 3 4 5 6 7 8\n",
            "cpu  1 2 3 4 5 6 7 8\ncpu0 1 2 3 4 5 6 7\n",
            "cpu  1 2 3 4 5 6 7 8\ncpu0 1 2 3 4 5 6 7 -8\n",
            &format!("cpu  1 2 3 4 5 6 7 8\ncpu0 {max} 2 3 4 5 6 7 8\n"),
        ] {
            assert_eq!(CpuTicks::parse(text), None, "{text}");
        }
    }

    #[test]
    fn this_kernel_gives_a_line_a_cpu() {
        let text = ProcRoot::default().read_text("stat").unwrap();
        let cpus = CpuTicks::parse(&text).unwrap();
        assert_eq!(cpus.len() as u32, crate::host::cpus::online());
        assert!(cpus.iter().any(|cpu| cpu.busy > 0), "{cpus:?}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(cpu[0-9 ]{0,60}\n){0,4}") {
            let _ = CpuTicks::parse(&text);
        }
    }
}
