//! The edges' counters, swept: what was added since the last sweep.
//!
//! Separate from the mapped arrays because edges are a hash: each sweep copies
//! it, in batches, and takes away edges that nothing was counted on for a
//! while, so that peers that come and go do not fill it.

use std::collections;
use std::os::fd::{AsFd as _, OwnedFd};

use agent_common::counter::edge::{EdgeCounters, EdgeKey};
use agent_common::limits::MAX_SERVICES;
use aya::maps::{HashMap, MapData, MapError};

use crate::event::edge::{EdgeChange, Remote};
use crate::load::{Error, Loaded, map_array};
use crate::sys::bpf::BatchReader;
use crate::sys::mapping::Mapping;

/// How long an edge is kept on which nothing happens. One that is needed again
/// is made again.
const IDLE_NS: u64 = 300_000_000_000;
/// Edges of a batch: 110 KB.
const BATCH: u32 = 64;

type Map = HashMap<MapData, [u64; EdgeKey::WORDS], [u64; EdgeCounters::WORDS]>;

/// What was counted on an edge when it was last looked at.
#[derive(Debug)]
struct Seen {
    counters: Box<EdgeCounters>,
    changed_ns: u64,
    /// Number of the sweep that saw it.
    sweep: u64,
}

/// See the module.
pub struct Edges {
    map: Map,
    fd: OwnedFd,
    /// Entries of the map by service.
    count: Mapping,
    reader: BatchReader,
    seen: collections::HashMap<EdgeKey, Seen>,
    sweeps: u64,
    failures: u64,
}

impl Edges {
    /// Takes the map out of what was loaded.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn new(loaded: &mut Loaded) -> Result<Self, Error> {
        let name = "EDGES";
        let aya::maps::Map::HashMap(data) = loaded.take_map(name)? else {
            return Err(Error::NoMap { name });
        };
        // aya does not give the descriptor of a map with a type.
        let fd = data.fd().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|source| Error::Mapping { name, source })?;
        let map = Map::try_from(aya::maps::Map::HashMap(data))
            .map_err(|source: MapError| Error::Map { name, source })?;
        Ok(Self {
            map,
            fd,
            count: map_array(loaded, "EDGES_OF", MAX_SERVICES as usize * 8)?,
            reader: BatchReader::new(EdgeKey::WORDS, EdgeCounters::WORDS, BATCH),
            seen: collections::HashMap::new(),
            sweeps: 0,
            failures: 0,
        })
    }

    /// Edges now, as of the last sweep.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Sweeps that the kernel refused.
    #[must_use]
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// Looks at every edge, and tells what was added since the last time: the
    /// service, its peer, the change. What `observe` does not take (`false`) is
    /// told again with the next change. `now_ns` is `CLOCK_MONOTONIC`.
    pub fn sweep(
        &mut self,
        now_ns: u64,
        mut observe: impl FnMut(u16, Remote, &EdgeChange) -> bool,
    ) {
        self.sweeps += 1;
        let (sweep, seen) = (self.sweeps, &mut self.seen);
        let result = self.reader.read(self.fd.as_fd(), |key, value| {
            let Ok(key) = key.try_into().map(EdgeKey::from_words) else { return };
            let now = EdgeCounters::from_words(value);
            let known = seen.entry(key).or_insert_with(|| Seen {
                counters: Box::default(),
                changed_ns: now_ns,
                sweep,
            });
            known.sweep = sweep;
            let Ok(service) = u16::try_from(key.service) else { return };
            if *known.counters == now {
                return;
            }
            let change = EdgeChange::between(&known.counters, &now);
            if observe(service, Remote::from_words(key.remote), &change) {
                *known.counters = now;
                known.changed_ns = now_ns;
            }
        });
        if result.is_err() {
            self.failures += 1;
            return;
        }
        self.take_idle(now_ns);
    }

    /// Forgets a service's edges, before its index is given to another.
    pub fn clear(&mut self, service: u16) {
        // All that there are now: some may have come since the last sweep.
        let keys: Vec<_> = self.map.keys().filter_map(Result::ok).collect();
        for words in keys {
            if EdgeKey::from_words(words).service == u64::from(service) {
                let _ = self.map.remove(&words);
            }
        }
        self.seen.retain(|key, _| key.service != u64::from(service));
        self.count.set_word(usize::from(service), 0);
    }

    /// Takes away what was idle for long, and forgets what is not there.
    fn take_idle(&mut self, now_ns: u64) {
        let (map, count, sweep) = (&mut self.map, &self.count, self.sweeps);
        self.seen.retain(|key, seen| {
            if seen.sweep != sweep {
                return false;
            }
            let is_idle = now_ns.saturating_sub(seen.changed_ns) >= IDLE_NS;
            if is_idle && map.remove(&key.to_words()).is_ok() {
                // All ones take one away.
                count.add_word(key.service as usize, u64::MAX);
            }
            !is_idle
        });
    }
}
