//! Which addresses had another name since when: a log of bounded length.
//!
//! Separate because it knows nothing of names: a number that grows, and what
//! happened at it.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

/// Changes that are kept: those of a minute in which 5 000 nodes with 30 pods
/// each replace one pod in a hundred, and more than are told at once.
const MAX_KEPT: usize = 8_192;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Number of the last change.
    revision: u64,
    kept: VecDeque<IpAddr>,
}

impl Changes {
    /// An address has another name now.
    pub(super) fn push(&mut self, address: IpAddr) {
        self.revision += 1;
        if self.kept.len() >= MAX_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(address);
    }

    /// Number of the last change.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Addresses that changed since a revision, each once, in no order; `None` if
    /// that is not known any more, never was, or is more than `most`.
    pub(super) fn since(&self, revision: u64, most: usize) -> Option<Vec<IpAddr>> {
        let count = usize::try_from(self.revision.checked_sub(revision)?).ok()?;
        let skipped = self.kept.len().checked_sub(count)?;
        let changed: HashSet<IpAddr> = self.kept.iter().skip(skipped).copied().collect();
        (changed.len() <= most).then(|| changed.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u64) -> IpAddr {
        IpAddr::from([10, 0, (n >> 8) as u8, n as u8])
    }

    #[test]
    fn what_changed_since_is_told_once_or_not_at_all() {
        let mut changes = Changes::default();
        assert_eq!(changes.since(0, 9), Some(vec![]));
        assert_eq!(changes.since(1, 9), None, "it never was");
        for n in [1, 2, 1] {
            changes.push(address(n));
        }
        let sorted = |revision| {
            changes.since(revision, 9).map(|mut changed| {
                changed.sort();
                changed
            })
        };
        assert_eq!(sorted(0), Some(vec![address(1), address(2)]));
        assert_eq!(sorted(2), Some(vec![address(1)]));
        assert_eq!(sorted(3), Some(vec![]));
        assert_eq!(changes.since(0, 1), None, "too many");
        for n in 0..MAX_KEPT as u64 {
            changes.push(address(n));
        }
        assert_eq!(changes.since(2, usize::MAX), None, "forgotten");
        assert!(changes.since(3, usize::MAX).is_some());
        assert_eq!(changes.revision(), 3 + MAX_KEPT as u64);
    }
}
