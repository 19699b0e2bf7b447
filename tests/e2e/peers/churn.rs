//! Thousands of pods that come and go, with addresses that are used again, while
//! agents' workloads connect to them.
//!
//! Separate because here the pods are many, and made by a rule.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tests::peers::{Api, Replica};
use tests::puppet::Puppet;
use tests::{eventually, require};

use super::lan::{Lan, Watched, address, begin, connect, end, missing, of};
use super::{TOLD, replica};

/// Addresses that pods have one after another.
const SLOTS: u16 = 1_024;
/// Of these so many are connected to: a service has 64 edges.
const PROBED: u16 = 56;
/// Processes that connect. All are one to an agent, which shows six names of its
/// peers: two that stay, and the first of those that go.
const CLIENTS: usize = 1;
/// Pods that are there when it begins.
const AT_FIRST: u32 = 512;
const TICKS: u32 = 80;
const TICK: Duration = Duration::from_millis(500);
/// How long nobody has an address: an answer may be as old as three seconds. No
/// network gives an address again sooner.
const REST: Duration = Duration::from_secs(4);

/// Pods in all: 1 000, or 5 000 in a full run.
fn pods() -> u32 {
    if require::is_full() { 5_000 } else { 1_000 }
}

/// Who has an address, or had it last.
#[derive(Clone, Debug)]
struct Owner {
    number: u32,
    name: String,
    has_ended: bool,
}

/// All addresses, and who has them by the API server's account.
struct Cluster<'a> {
    api: &'a Api,
    owners: BTreeMap<u16, Owner>,
    /// Those whose pods live, the oldest first.
    living: VecDeque<u16>,
    /// Those whose pods are gone, since when that is told.
    leaving: VecDeque<(u16, Instant)>,
    /// Those that nobody has, the first that was left first.
    free: VecDeque<u16>,
    made: u32,
}

impl<'a> Cluster<'a> {
    fn new(api: &'a Api) -> Self {
        let (owners, living) = (BTreeMap::new(), VecDeque::new());
        Self { api, owners, living, leaving: VecDeque::new(), free: (0..SLOTS).collect(), made: 0 }
    }

    /// The next pod: by turns at the address that was left last, and first.
    fn make(&mut self) {
        let slot = match self.made % 2 {
            0 => self.free.pop_front(),
            _ => self.free.pop_back(),
        };
        let Some(slot) = slot else { return };
        self.made += 1;
        let owner = Owner {
            number: 1_000 + self.made,
            name: format!("d{}", self.made % 12),
            has_ended: false,
        };
        begin(self.api, owner.number, &owner.name, address(slot));
        self.owners.insert(slot, owner);
        self.living.push_back(slot);
    }

    /// The oldest one ends.
    fn unmake(&mut self, ended: &mut Vec<u16>) {
        let Some(slot) = self.living.pop_front() else { return };
        let Some(owner) = self.owners.get_mut(&slot) else { return };
        owner.has_ended = true;
        end(self.api, owner.number, &owner.name, address(slot));
        ended.push(slot);
    }

    /// Waits until all that happened so far is told, and asks who has all
    /// addresses: whoever is told has it now. How many are.
    fn look(&mut self, replica: &Replica, turn: u32, ended: Vec<u16>) -> usize {
        // One that was never before: it has its name at once, after all others.
        let last = address(20_000 + turn as u16);
        begin(self.api, 500_000 + turn, "last", last);
        let is_told = || replica.names(&[last]).unwrap().is_some_and(|names| !names.is_empty());
        let told = eventually::until(TOLD, || is_told().then_some(()));
        assert!(told.is_some(), "{}", replica.log());
        let all: Vec<Ipv4Addr> = (0..SLOTS).map(address).collect();
        let names = replica.names(&all).unwrap().unwrap_or_default();
        for slot in 0..SLOTS {
            let Some(name) = names.get(&address(slot)) else { continue };
            let owner = self.owners.get(&slot).filter(|owner| !owner.has_ended);
            let owner = owner.map(|owner| format!("deployment/{}", owner.name));
            assert_eq!(Some(name), owner.as_ref(), "at {}", address(slot));
        }
        let now = Instant::now();
        self.leaving.extend(ended.into_iter().map(|slot| (slot, now)));
        while let Some((slot, since)) = self.leaving.front().copied()
            && since.elapsed() >= REST
        {
            self.leaving.pop_front();
            self.free.push_back(slot);
        }
        names.len()
    }
}

#[test]
fn no_name_is_wrong_while_thousands_of_pods_come_and_go() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let dir = tempfile::tempdir().unwrap();
    let api = Api::start().unwrap();
    // Two for each client, which stay.
    let steady: Vec<(String, Ipv4Addr)> =
        (0..2 * CLIENTS as u16).map(|n| (format!("steady{n}"), address(10_000 + n))).collect();
    for (number, (name, address)) in (1..).zip(&steady) {
        begin(&api, number, name, *address);
    }
    let mut cluster = Cluster::new(&api);
    (0..AT_FIRST).for_each(|_| cluster.make());
    let replica = replica(api.addr(), dir.path());
    let lan = Lan::create();
    let mut clients: Vec<Puppet> = (0..CLIENTS).map(|_| lan.client()).collect();
    let watched = Watched::start(&clients.iter().collect::<Vec<_>>(), replica.addr());
    let mut truth: BTreeMap<String, u64> = BTreeMap::new();
    for (client, own) in clients.iter_mut().zip(steady.chunks(2)) {
        connect(client, &[own[0].1, own[1].1]);
        own.iter().for_each(|(name, _)| *truth.entry(name.clone()).or_default() += 1);
    }
    let shown = eventually::settle(TOLD, || watched.shown(), |shown| *shown == truth);
    assert_eq!(shown, truth, "{}", watched.agent.log());
    let memory_of_replica =
        || replica.scrape().unwrap().sum("strata_peers_resident_memory_bytes", &[]) as u64 >> 10;
    let before = (watched.agent.rss_kib().unwrap(), memory_of_replica());

    let per_tick = (pods() - AT_FIRST).div_ceil(TICKS);
    let (mut lots, mut told) = (1_u64, 0);
    for turn in 0..TICKS {
        let (begun, mut ended) = (Instant::now(), Vec::new());
        for _ in 0..per_tick {
            cluster.unmake(&mut ended);
            cluster.make();
        }
        told += cluster.look(&replica, turn, ended);
        for (number, client) in clients.iter_mut().enumerate() {
            let mut to: Vec<Ipv4Addr> = vec![steady[2 * number].1];
            *truth.entry(steady[2 * number].0.clone()).or_default() += 1;
            for _ in 0..8 {
                // By Knuth's chances, one of this client's share.
                lots = lots
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let lot = (lots >> 33) as u16 % (PROBED / CLIENTS as u16);
                let slot = lot * CLIENTS as u16 + number as u16;
                let name = cluster.owners.get(&slot).map(|owner| owner.name.clone());
                *truth.entry(name.unwrap_or_default()).or_default() += 1;
                to.push(address(slot));
            }
            connect(client, &to);
        }
        for (name, count) in watched.shown() {
            let had = of(&truth, &name);
            assert!(["", "_other"].contains(&&*name) || count <= had, "{name}: {count} of {had}");
        }
        std::thread::sleep(TICK.saturating_sub(begun.elapsed()));
    }
    assert!(cluster.made >= pods(), "{} pods", cluster.made);
    let after = (watched.agent.rss_kib().unwrap(), memory_of_replica());

    // All is shown in the end, and none of it under another's name.
    let all: u64 = truth.values().sum();
    let shown =
        eventually::settle(TOLD, || watched.shown(), |shown| shown.values().sum::<u64>() == all);
    assert_eq!(shown.values().sum::<u64>(), all, "{shown:?}");
    for (name, _) in &steady {
        assert_eq!(of(&shown, name), of(&truth, name), "{name}");
    }
    let is_name = |name: &str| !["", "_other"].contains(&name);
    for (name, count) in shown.iter().filter(|(name, _)| is_name(name)) {
        assert!(*count <= of(&truth, name), "{name}: {count} of {}", of(&truth, name));
    }
    let named: u64 = shown.iter().filter(|(name, _)| is_name(name)).map(|(_, count)| count).sum();
    let churned = named - steady.iter().map(|(name, _)| of(&shown, name)).sum::<u64>();
    assert!(churned > 0 && told > 0, "nothing was named: {shown:?}");
    println!(
        "{} pods; {told} names told, all right; {all} connects, {named} by name, {churned} to \
         pods that went; KiB agent {} to {}, peers {} to {}",
        cluster.made, before.0, after.0, before.1, after.1
    );
    assert!(after.0 < before.0 + (8 << 10), "agent: {} to {} KiB", before.0, after.0);
    assert!(after.1 < before.1 + (8 << 10), "peers: {} to {} KiB", before.1, after.1);
    let known = watched.agent.scrape().unwrap().sum("strata_agent_peer_addresses", &[]);
    assert!(known <= 64.0, "{known} addresses");
}
