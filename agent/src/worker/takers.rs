//! Names of those who ran while requests waited for a CPU.
//!
//! Separate because finding one reads `/proc`, which must not happen for every
//! request: names are kept for a few seconds, and only so many are looked up in
//! that time.

use std::collections::HashMap;
use std::sync::Arc;

use crate::aggregate::culprits::Taker;
use crate::attribution::identity::Identity;
use crate::event::request::Culprit;

/// Processes that are looked up until the names are forgotten, at most. A
/// look-up takes some tens of microseconds.
const MAX_LOOKUPS: usize = 256;

/// Names that are known for now.
#[derive(Debug, Default)]
pub(super) struct Takers(HashMap<u32, Option<Arc<Taker>>>);

impl Takers {
    /// Forgets all names: process numbers are used again.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// The name of a culprit. `who_is` knows processes by their number; one
    /// that it does not know, or not any more, is named for its thread.
    pub(super) fn find(
        &mut self,
        culprit: &Culprit,
        who_is: impl FnOnce(u32) -> Option<Identity>,
    ) -> Arc<Taker> {
        let is_full = self.0.len() >= MAX_LOOKUPS;
        let known = match self.0.get(&culprit.tgid) {
            Some(known) => known.clone(),
            None if is_full => None,
            None => {
                let taker = who_is(culprit.tgid).map(|identity| {
                    Arc::new(Taker {
                        namespace: identity.namespace.to_string(),
                        workload: identity.workload.to_string(),
                    })
                });
                self.0.insert(culprit.tgid, taker.clone());
                taker
            }
        };
        known.unwrap_or_else(|| {
            let workload = format!("process/{}", thread_name(&culprit.comm));
            Arc::new(Taker { namespace: String::new(), workload })
        })
    }
}

/// The name of a thread without what tells kernel threads of one kind apart:
/// `kworker` of `kworker/0:1-events`.
fn thread_name(comm: &str) -> &str {
    comm.split('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn culprit(tgid: u32, comm: &str) -> Culprit {
        Culprit { tgid, comm: comm.into() }
    }

    fn known(workload: &str) -> Option<Identity> {
        let [namespace, nothing] = ["jobs", ""].map(Arc::<str>::from);
        let pod = Arc::clone(&nothing);
        Some(Identity { namespace, pod, container: nothing, workload: workload.into() })
    }

    #[test]
    fn a_known_process_is_its_workload_and_others_are_named_for_their_thread() {
        let mut takers = Takers::default();
        let taker = takers.find(&culprit(7, "batch"), |_| known("job/batch"));
        assert_eq!((&*taker.namespace, &*taker.workload), ("jobs", "job/batch"));
        for (comm, workload) in
            [("make", "process/make"), ("kworker/0:1", "process/kworker"), ("", "process/unknown")]
        {
            takers.forget();
            let taker = takers.find(&culprit(8, comm), |_| None);
            assert_eq!((&*taker.namespace, &*taker.workload), ("", workload));
        }
    }

    #[test]
    fn a_process_is_looked_up_once_and_only_so_many_are() {
        let mut takers = Takers::default();
        let mut lookups = 0;
        for tgid in (0..1_000).chain(0..1_000) {
            takers.find(&culprit(tgid, "x"), |_| {
                lookups += 1;
                known("job/x")
            });
        }
        assert_eq!(lookups, MAX_LOOKUPS);
    }
}
