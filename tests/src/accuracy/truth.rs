//! What a workload's notes mean in parts.
//!
//! Separate because the words are the workloads' and the parts are the
//! agent's: here is the only table between them.

use agent_common::parts::{PARTS, Part};

use super::Nanoseconds;
use crate::journal::Entry;
use crate::workload::Kind;

/// A word of the journal, and the part that its time belongs to; `sleep` is
/// one thing to a goroutine and another to a thread.
const WORDS: [(&str, Part); 15] = [
    ("spin", Part::Cpu),
    ("out", Part::Runqueue),
    ("nap", Part::Sleep),
    ("chan", Part::Wait),
    ("mutex", Part::Wait),
    ("group", Part::Wait),
    ("gc", Part::Gc),
    ("yield", Part::Sched),
    ("lock", Part::Lock),
    ("fsync", Part::Disk),
    ("fault", Part::Memory),
    ("down", Part::Downstream),
    ("redis", Part::Downstream),
    ("body", Part::Receive),
    ("big", Part::Send),
];

/// The part of a word in a journal of this kind of server; `None` for one that
/// names no span of time (`accepted` is a point).
#[must_use]
pub fn part(kind: Kind, word: &str) -> Option<Part> {
    if word == "sleep" {
        return Some(if kind == Kind::Go { Part::Wait } else { Part::Sleep });
    }
    WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, part)| part)
}

/// What was noted of a request, by part.
#[must_use]
pub fn of(kind: Kind, entry: &Entry) -> Nanoseconds {
    let mut truth: Nanoseconds = [0; PARTS];
    for (word, ns) in &entry.notes {
        if let Some(slot) = part(kind, word).and_then(|part| truth.get_mut(part as usize)) {
            *slot += ns;
        }
    }
    truth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_add_up_by_part_and_points_do_not_count() {
        let notes = [("sleep", 5), ("chan", 2), ("spin", 7), ("accepted", 1 << 40)];
        let entry = Entry {
            id: None,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            status: 200,
            goid: 0,
            start_ns: 0,
            end_ns: 0,
            notes: notes.map(|(word, ns)| (word.to_owned(), ns)).to_vec(),
        };
        let go = of(Kind::Go, &entry);
        assert_eq!((go[Part::Wait as usize], go[Part::Cpu as usize]), (7, 7));
        let c = of(Kind::C, &entry);
        assert_eq!((c[Part::Sleep as usize], c[Part::Wait as usize]), (5, 2));
        assert_eq!(c.iter().sum::<u64>(), 14);
    }
}
