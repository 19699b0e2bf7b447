//! One round: what is asked, in how many questions, and what follows from the
//! answers.
//!
//! Separate from the connection: the decisions here are about names alone.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::link::Link;
use crate::event::peer::{Changed, PeerName, PeersTold, PeersWanted};
use crate::peers::wire::{Answer, MAX_ASKED, MAX_NAME, MAX_SEEN, Named, Question, Seen};
use crate::telemetry::Own;
use crate::telemetry::peers::PeersAnswer;

/// Questions of one round, at most: all that an agent keeps, and all that it may
/// want besides.
const MAX_QUESTIONS: usize = 12;

/// See the module.
#[derive(Debug)]
pub(super) struct Rounds {
    node: String,
    /// Servers, the one that was heard last first.
    seen: Vec<Seen>,
    has_zone: bool,
}

/// What the answers of a round came to so far.
#[derive(Debug)]
struct Heard {
    zone: String,
    /// `None`: it is not known what has changed.
    changed: Option<HashSet<IpAddr>>,
    found: HashMap<IpAddr, Option<PeerName>>,
}

impl Rounds {
    /// Nobody has been heard.
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), seen: Vec::new(), has_zone: false }
    }

    /// Whether there is anything to ask.
    pub(super) fn is_needed(&self, wanted: &PeersWanted) -> bool {
        !self.has_zone || !wanted.unknown.is_empty() || !wanted.known.is_empty()
    }

    /// Asks about all that is wanted, and what has changed of what is known.
    pub(super) async fn ask(
        &mut self,
        wanted: &PeersWanted,
        link: &mut Link,
        own: &Arc<Own>,
    ) -> Result<PeersTold, PeersAnswer> {
        let mut heard =
            Heard { zone: String::new(), changed: Some(HashSet::new()), found: HashMap::new() };
        let mut left = MAX_QUESTIONS;
        let mut next = wanted.unknown.chunks(MAX_ASKED);
        let mut some = next.next().unwrap_or_default();
        loop {
            self.take(link.ask(&self.question(some)).await?, some, &mut heard);
            left = left.saturating_sub(1);
            match next.next() {
                Some(more) if left > 0 => some = more,
                _ => break,
            }
        }
        // Of what is known and has changed, or may have.
        let again: Vec<IpAddr> = match &heard.changed {
            None => wanted.known.clone(),
            Some(changed) => {
                wanted.known.iter().filter(|of| changed.contains(*of)).copied().collect()
            }
        };
        for some in again.chunks(MAX_ASKED).take(left) {
            self.take(link.ask(&self.question(some)).await?, some, &mut heard);
        }
        self.has_zone = true;
        let named = heard.found.values().flatten().count();
        own.peers.count_addresses(heard.found.len(), named);
        Ok(PeersTold {
            zone: heard.zone.into(),
            changed: match heard.changed {
                Some(changed) => Changed::These(changed.into_iter().collect()),
                None => Changed::All,
            },
            found: heard.found.into_iter().collect(),
        })
    }

    fn question(&self, addresses: &[IpAddr]) -> Question {
        Question { node: self.node.clone(), seen: self.seen.clone(), addresses: addresses.to_vec() }
    }

    /// Adds an answer to what was heard.
    fn take(&mut self, answer: Answer, asked: &[IpAddr], heard: &mut Heard) {
        self.seen.retain(|seen| seen.server != answer.at.server);
        self.seen.insert(0, answer.at);
        self.seen.truncate(MAX_SEEN);
        heard.zone = answer.zone;
        match answer.changed {
            None => heard.changed = None,
            Some(addresses) => {
                for address in addresses {
                    let address = address.to_canonical();
                    // What was told a moment ago is another's by now.
                    heard.found.remove(&address);
                    if let Some(changed) = &mut heard.changed {
                        changed.insert(address);
                    }
                }
            }
        }
        let named = answer.peers.into_iter().filter_map(name);
        let mut named: HashMap<IpAddr, PeerName> = named.collect();
        for address in asked {
            heard.found.insert(*address, named.remove(&address.to_canonical()));
        }
    }
}

/// A name as it is used, if it can be one.
fn name(named: Named) -> Option<(IpAddr, PeerName)> {
    let Named { address, namespace, workload, zone } = named;
    let is_fit = |text: &str| text.len() <= MAX_NAME && !text.contains(|c: char| c.is_control());
    let is_name =
        !workload.is_empty() && [&namespace, &workload, &zone].iter().all(|it| is_fit(it));
    let name =
        || PeerName { namespace: namespace.into(), workload: workload.into(), zone: zone.into() };
    is_name.then(|| (address.to_canonical(), name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn answer(server: u64, revision: u64, changed: Option<&[u8]>, peers: &[(u8, &str)]) -> Answer {
        let named = |(n, workload): &(u8, &str)| Named {
            address: address(*n),
            namespace: String::new(),
            workload: (*workload).to_owned(),
            zone: "z".to_owned(),
        };
        Answer {
            at: Seen { server, revision },
            age_ms: 0,
            zone: "a".to_owned(),
            changed: changed.map(|changed| changed.iter().map(|n| address(*n)).collect()),
            peers: peers.iter().map(named).collect(),
        }
    }

    fn nothing() -> Heard {
        Heard { zone: String::new(), changed: Some(HashSet::new()), found: HashMap::new() }
    }

    #[test]
    fn who_is_not_named_is_nobody_and_each_server_is_heard_up_to_its_own_place() {
        let (mut rounds, mut heard) = (Rounds::new("n1"), nothing());
        rounds.take(
            answer(7, 3, Some(&[]), &[(1, "pod/a")]),
            &[address(1), address(2)],
            &mut heard,
        );
        assert_eq!(heard.found[&address(1)].as_ref().unwrap().workload.as_ref(), "pod/a");
        assert_eq!(heard.found[&address(2)], None);
        rounds.take(answer(8, 5, None, &[]), &[], &mut heard);
        rounds.take(answer(7, 4, Some(&[9]), &[]), &[], &mut heard);
        assert_eq!(heard.changed, None, "once it is not known, it is not");
        let seen = [Seen { server: 7, revision: 4 }, Seen { server: 8, revision: 5 }];
        assert_eq!(rounds.question(&[]).seen, seen);
        for server in 10..20 {
            rounds.take(answer(server, 1, None, &[]), &[], &mut heard);
        }
        assert_eq!(rounds.question(&[]).seen.len(), MAX_SEEN);
    }

    #[test]
    fn what_changes_while_it_is_asked_is_not_told() {
        let (mut rounds, mut heard) = (Rounds::new("n1"), nothing());
        rounds.take(answer(7, 3, Some(&[]), &[(1, "pod/a")]), &[address(1)], &mut heard);
        rounds.take(answer(7, 4, Some(&[1]), &[(2, "pod/b")]), &[address(2)], &mut heard);
        assert!(!heard.found.contains_key(&address(1)));
        assert_eq!(heard.changed, Some(HashSet::from([address(1)])));
        assert!(heard.found.contains_key(&address(2)));
    }

    #[test]
    fn what_cannot_be_a_name_is_none() {
        let (mut rounds, mut heard) = (Rounds::new("n1"), nothing());
        let long = "x".repeat(MAX_NAME + 1);
        let peers = [(1, ""), (2, long.as_str()), (3, "pod/a\nb"), (4, "pod/a")];
        let asked = [1, 2, 3, 4].map(address);
        rounds.take(answer(7, 3, Some(&[]), &peers), &asked, &mut heard);
        let named = asked.map(|address| heard.found[&address].is_some());
        assert_eq!(named, [false, false, false, true]);
    }
}
