//! What the hypervisor and hard interrupts took of the time that requests were
//! on a CPU.
//!
//! Separate from the parts' arithmetic in the kernel, to which a thread runs
//! while its CPU is taken away: only the kernel's ticks tell, and they are of
//! CPUs and not of requests. So each request gives up the share of its CPU time
//! that the node's busy time lost. That is right in the mean, and an estimate
//! for one request.

use agent_common::parts::Part;

use super::procfs::cpu_ticks::CpuTicks;
use crate::event::request::Request;

/// Busy time that a share is taken of at least, in ticks: one tick is then a
/// hundredth at most. Within a second wherever a CPU's worth is used, later on
/// nodes that idle.
const MIN_BUSY_TICKS: u64 = 100;

/// A share of busy time, in ticks; `taken` is at most `busy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    taken: u64,
    busy: u64,
}

impl Share {
    /// What of `ns` that is, rounded down: `ns` at most, 0 without ticks.
    fn of(self, ns: u64) -> u64 {
        let product = u128::from(ns) * u128::from(self.taken);
        product.checked_div(u128::from(self.busy)).and_then(|ns| ns.try_into().ok()).unwrap_or(0)
    }
}

/// The share that was lost lately.
#[derive(Debug, Default)]
pub struct Steal {
    before: Vec<CpuTicks>,
    share: Share,
    is_blind: bool,
}

impl Steal {
    /// Takes up what CPUs did until now; `None` if that could not be read:
    /// nothing is then claimed until it is again, twice. Gives whether it is
    /// the first time that it could not.
    pub fn measure(&mut self, now: Option<Vec<CpuTicks>>) -> bool {
        let Some(now) = now else {
            let is_news = !self.is_blind;
            *self = Self { is_blind: true, ..Self::default() };
            return is_news;
        };
        self.is_blind = false;
        let (share, ran_back) = lost(&self.before, &now);
        let is_enough = share.busy >= MIN_BUSY_TICKS;
        if is_enough {
            self.share = share;
        }
        if is_enough || ran_back || self.before.is_empty() {
            self.before = now;
        }
        false
    }

    /// Moves the share of the request's CPU parts to `hardware.steal`. To be
    /// called once, before anybody is shown the request.
    pub fn take_from(&self, request: &mut Request) {
        let ns = &mut request.parts.ns;
        let mut moved_ns = 0;
        for part in [Part::Cpu, Part::OsCpu] {
            let taken_ns = self.share.of(ns[part as usize]);
            ns[part as usize] -= taken_ns;
            moved_ns += taken_ns;
        }
        if moved_ns > 0 {
            ns[Part::Steal as usize] += moved_ns;
            request.work.estimated |= Part::Steal.bit();
        }
    }
}

/// What CPUs lost that are there both times; and whether a counter of one ran
/// back, as `steal` does where a guest is moved: that CPU then says nothing.
fn lost(before: &[CpuTicks], now: &[CpuTicks]) -> (Share, bool) {
    let (mut share, mut ran_back) = (Share::default(), false);
    for now in now {
        let Some(before) = before.iter().find(|before| before.cpu == now.cpu) else { continue };
        let busy = now.busy.checked_sub(before.busy);
        let taken = now.taken.checked_sub(before.taken);
        if let (Some(busy), Some(taken)) = (busy, taken)
            && taken <= busy
        {
            share.busy = share.busy.saturating_add(busy);
            share.taken = share.taken.saturating_add(taken);
        } else {
            ran_back = true;
        }
    }
    (share, ran_back)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ticks(cpu: u32, busy: u64, taken: u64) -> CpuTicks {
        CpuTicks { cpu, busy, taken }
    }

    /// A request with all of its time in the two CPU parts and one other.
    fn request(cpu_ns: u64, os_ns: u64, wait_ns: u64) -> Request {
        let mut request = Request::sample(cpu_ns + os_ns + wait_ns);
        request.parts.ns[Part::Unknown as usize] = 0;
        request.parts.ns[Part::Cpu as usize] = cpu_ns;
        request.parts.ns[Part::OsCpu as usize] = os_ns;
        request.parts.ns[Part::Wait as usize] = wait_ns;
        request
    }

    fn stolen(steal: &Steal) -> u64 {
        let mut request = request(900, 100, 5_000);
        steal.take_from(&mut request);
        let ns = &request.parts.ns;
        assert_eq!(ns.iter().sum::<u64>(), 6_000);
        let is_estimated = request.work.estimated & Part::Steal.bit() != 0;
        assert_eq!(is_estimated, ns[Part::Steal as usize] > 0);
        ns[Part::Steal as usize]
    }

    #[test]
    fn cpu_parts_give_up_the_share_that_busy_time_lost() {
        let mut steal = Steal::default();
        steal.measure(Some(vec![ticks(0, 1_000, 500), ticks(1, 1_000, 0)]));
        assert_eq!(stolen(&steal), 0, "one look says nothing");
        steal.measure(Some(vec![ticks(0, 1_100, 540), ticks(1, 1_100, 10)]));
        assert_eq!(stolen(&steal), 250);
        let mut all = request(900, 100, 5_000);
        steal.take_from(&mut all);
        assert_eq!(all.parts.ns[Part::Cpu as usize], 675);
        assert_eq!(all.parts.ns[Part::OsCpu as usize], 75);
        assert_eq!(all.parts.ns[Part::Wait as usize], 5_000);
        steal.measure(Some(vec![ticks(0, 1_300, 540), ticks(1, 1_300, 10)]));
        assert_eq!(stolen(&steal), 0, "none was lost since");
    }

    #[test]
    fn a_node_that_idles_is_looked_at_until_it_did_enough() {
        let mut steal = Steal::default();
        steal.measure(Some(vec![ticks(0, 0, 0)]));
        steal.measure(Some(vec![ticks(0, 3, 2)]));
        assert_eq!(stolen(&steal), 0, "three ticks say nothing");
        steal.measure(Some(vec![ticks(0, 100, 2)]));
        assert_eq!(stolen(&steal), 20, "2 of 100");
        steal.measure(Some(vec![ticks(0, 110, 12)]));
        assert_eq!(stolen(&steal), 20, "until more is known");
    }

    #[test]
    fn a_cpu_that_comes_goes_or_runs_back_says_nothing() {
        let mut steal = Steal::default();
        steal.measure(Some(vec![ticks(0, 1_000, 100), ticks(1, 1_000, 100)]));
        // CPU 1 goes, CPU 2 comes with a past of its own.
        steal.measure(Some(vec![ticks(0, 1_200, 120), ticks(2, 9_000, 9_000)]));
        assert_eq!(stolen(&steal), 100);
        // CPU 0 runs back, in one counter and not in the other.
        steal.measure(Some(vec![ticks(0, 1_500, 60), ticks(2, 9_200, 9_100)]));
        assert_eq!(stolen(&steal), 500);
        // From where it ran back to it counts again, though it did too little.
        steal.measure(Some(vec![ticks(0, 10, 0)]));
        steal.measure(Some(vec![ticks(0, 110, 30)]));
        assert_eq!(stolen(&steal), 300);
    }

    #[test]
    fn what_cannot_be_read_claims_nothing() {
        let mut steal = Steal::default();
        steal.measure(Some(vec![ticks(0, 0, 0)]));
        steal.measure(Some(vec![ticks(0, 100, 50)]));
        assert_eq!(stolen(&steal), 500);
        assert!(steal.measure(None), "told once");
        assert!(!steal.measure(None), "and not again");
        assert_eq!(stolen(&steal), 0);
        steal.measure(Some(vec![ticks(0, 200, 150)]));
        assert_eq!(stolen(&steal), 0);
    }

    fn any_ticks() -> impl Strategy<Value = Vec<CpuTicks>> {
        let cpu = (0u32..4, prop_oneof![0u64..2_000, any::<u64>()], any::<u64>());
        let cpu = cpu.prop_map(|(cpu, busy, taken)| ticks(cpu, busy, taken % (busy | 1)));
        proptest::collection::vec(cpu, 0..5)
    }

    proptest! {
        #[test]
        fn whatever_the_ticks_say_parts_sum_and_only_cpu_parts_give(
            looks in proptest::collection::vec(any_ticks(), 1..8),
            (cpu_ns, os_ns, wait_ns) in (0..u64::MAX / 4, 0..u64::MAX / 4, 0..u64::MAX / 4),
        ) {
            let mut steal = Steal::default();
            for look in looks {
                steal.measure(Some(look));
                let mut request = request(cpu_ns, os_ns, wait_ns);
                steal.take_from(&mut request);
                let ns = &request.parts.ns;
                prop_assert_eq!(ns.iter().sum::<u64>(), request.wall_ns());
                prop_assert!(ns[Part::Cpu as usize] <= cpu_ns);
                prop_assert!(ns[Part::OsCpu as usize] <= os_ns);
                prop_assert_eq!(ns[Part::Wait as usize], wait_ns);
            }
        }

        #[test]
        fn in_the_mean_it_is_the_share_that_was_lost(
            windows in proptest::collection::vec((100u64..6_400, 0u64..100), 1..50),
        ) {
            let (mut steal, mut busy, mut taken) = (Steal::default(), 0, 0);
            steal.measure(Some(vec![ticks(0, 0, 0)]));
            let mut given_ns = 0;
            for (more, lost) in windows {
                (busy, taken) = (busy + more, taken + lost);
                steal.measure(Some(vec![ticks(0, busy, taken)]));
                // A tick of busy time is ten milliseconds of one request.
                let mut request = request(more * 10_000_000, 0, 0);
                steal.take_from(&mut request);
                given_ns += request.parts.ns[Part::Steal as usize];
            }
            prop_assert_eq!(given_ns, taken * 10_000_000);
        }
    }
}
