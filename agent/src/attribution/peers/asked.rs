//! What somebody who watches the cluster told of peers elsewhere, and what is
//! to be asked.
//!
//! Separate because time decides here, and only here: a name that was told holds
//! up to the moment for which it was last confirmed, never beyond. What was
//! counted since waits for the next answer, or goes without a name when none
//! comes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::event::peer::{Changed, PeerName, PeersTold, PeersWanted};

/// Addresses that are kept, at most: 200 bytes each.
const MAX_FOUND: usize = 4_096;
/// Addresses that wait to be asked about, at most.
const MAX_WANTED: usize = 1_024;
/// How long an answer holds without being asked again, be it confirmed or not.
const NAMED_NS: u64 = 300_000_000_000;
/// How long it holds that nobody has an address.
const NOBODY_NS: u64 = 30_000_000_000;
/// How long counts wait for an answer: three times what lies between two. After
/// that whoever tells is away, and they go without a name.
pub const WAIT_NS: u64 = 15_000_000_000;

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It had this name up to now.
    Named(PeerName),
    /// It has none, or none that is certain.
    Nobody,
    /// An answer may come soon.
    Wait,
}

#[derive(Debug)]
struct Found {
    name: Option<PeerName>,
    until_ns: u64,
    used_ns: u64,
    /// Another had it since it was last told: what was counted is neither's.
    is_doubtful: bool,
    /// It is nobody's, and was somebody's: it is not asked about before its time,
    /// for a server that is behind would still name who left.
    was_left: bool,
}

/// See the module. All times are `CLOCK_MONOTONIC` nanoseconds.
#[derive(Debug)]
pub struct Asked {
    found: HashMap<IpAddr, Found>,
    wanted: HashSet<IpAddr>,
    /// For which moment the last answer was.
    confirmed_ns: u64,
    /// Addresses that there was no room for.
    left_out: u64,
}

impl Asked {
    /// Nothing is known; the first answer may come soon.
    #[must_use]
    pub fn new(now_ns: u64) -> Self {
        Self { found: HashMap::new(), wanted: HashSet::new(), confirmed_ns: now_ns, left_out: 0 }
    }

    /// Whether an answer may come soon.
    #[must_use]
    pub const fn may_be_told(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.confirmed_ns) < WAIT_NS
    }

    /// Who had an address up to `now_ns`. `is_confirmed`: an answer was just
    /// taken up, and nothing was counted since.
    pub fn find(&mut self, address: IpAddr, now_ns: u64, is_confirmed: bool) -> Word {
        let may_be_told = self.may_be_told(now_ns);
        match self.found.get_mut(&address).filter(|found| found.until_ns > now_ns) {
            Some(found) => {
                found.used_ns = now_ns;
                match &found.name {
                    _ if found.is_doubtful => Word::Nobody,
                    None => Word::Nobody,
                    Some(name) if is_confirmed => Word::Named(name.clone()),
                    Some(_) if may_be_told => Word::Wait,
                    Some(_) => Word::Nobody,
                }
            }
            None => {
                if self.wanted.len() < MAX_WANTED {
                    self.wanted.insert(address);
                } else if !self.wanted.contains(&address) {
                    self.left_out += 1;
                    return Word::Nobody;
                }
                if may_be_told { Word::Wait } else { Word::Nobody }
            }
        }
    }

    /// What to ask. What is used and will not hold for another `soon_ns` is
    /// asked again in time.
    pub fn wanted(&mut self, now_ns: u64, soon_ns: u64) -> PeersWanted {
        let mut unknown: Vec<IpAddr> = self.wanted.drain().collect();
        let mut known = Vec::new();
        self.found.retain(|address, found| {
            let asked_ns = found.until_ns.saturating_sub(match found.name {
                Some(_) => NAMED_NS,
                None => NOBODY_NS,
            });
            if found.until_ns <= now_ns {
                return false;
            }
            let is_used = found.used_ns > asked_ns;
            let ends_soon = found.until_ns <= now_ns.saturating_add(soon_ns);
            if is_used && ends_soon && unknown.len() < MAX_WANTED {
                unknown.push(*address);
            } else if found.name.is_some() {
                known.push(*address);
            }
            true
        });
        PeersWanted { unknown, known }
    }

    /// There is nothing to ask: who tells may well be there.
    pub fn idle(&mut self, now_ns: u64) {
        self.confirmed_ns = now_ns;
    }

    /// Takes up an answer. Until [`Asked::settle`] what was counted before it may
    /// be named.
    pub fn take(&mut self, told: &PeersTold, now_ns: u64) {
        self.confirmed_ns = now_ns;
        match &told.changed {
            Changed::These(addresses) => {
                for address in addresses {
                    self.doubt(address, &told.found);
                }
            }
            Changed::All => {
                let all: Vec<IpAddr> = self.found.keys().copied().collect();
                all.iter().for_each(|address| self.doubt(address, &told.found));
            }
        }
        for (address, name) in &told.found {
            let address = address.to_canonical();
            self.wanted.remove(&address);
            let before = self.found.get(&address).filter(|found| found.until_ns > now_ns);
            let is_other = before.is_some_and(|found| found.name.is_some() && found.name != *name);
            let is_doubtful = is_other || before.is_some_and(|found| found.is_doubtful);
            let was_left =
                name.is_none() && (is_other || before.is_some_and(|found| found.was_left));
            if before.is_none() {
                self.make_room(now_ns);
            }
            let holds_ns = if name.is_some() { NAMED_NS } else { NOBODY_NS };
            let (name, until_ns) = (name.clone(), now_ns.saturating_add(holds_ns));
            let found = Found { name, until_ns, used_ns: now_ns, is_doubtful, was_left };
            self.found.insert(address, found);
        }
    }

    /// What was counted before the answer has been named.
    pub fn settle(&mut self) {
        for found in self.found.values_mut() {
            found.is_doubtful = false;
        }
    }

    /// Addresses that are known now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether there is anything to ask.
    #[must_use]
    pub fn is_wanting(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Times that an address was not asked about for want of room.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Another may have had an address: it is forgotten, unless it is told again.
    /// Under the same name it was the same all the time, or one of the same
    /// workload.
    fn doubt(&mut self, address: &IpAddr, told: &[(IpAddr, Option<PeerName>)]) {
        let address = address.to_canonical();
        if self.found.get(&address).is_some_and(|found| found.was_left) {
            return;
        }
        if !told.iter().any(|(of, _)| of.to_canonical() == address) {
            self.found.remove(&address);
        }
    }

    /// Who was not used for longest makes room for another.
    fn make_room(&mut self, now_ns: u64) {
        if self.found.len() < MAX_FOUND {
            return;
        }
        self.found.retain(|_, found| found.until_ns > now_ns);
        if self.found.len() >= MAX_FOUND {
            let oldest = self.found.iter().min_by_key(|(_, found)| found.used_ns);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.found.remove(&oldest);
            }
        }
    }
}
