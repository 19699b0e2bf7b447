//! Why a goroutine waits: the runtime's texts and numbers.
//!
//! Separate because the numbers differ by release and the texts hardly do: a
//! binary's own table of texts (`runtime.waitReasonStrings`) says what its
//! numbers mean.

use std::io::{self, Read, Seek};

use agent_common::go::{GO_REASONS, GoWait};

use super::elf::Elf;
use super::symbols::Symbol;

/// What each number means, for the first [`GO_REASONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reasons {
    /// [`GoWait`] by number.
    pub(super) waits: [u8; GO_REASONS],
}

/// Bytes of a string header, and of a text that is read.
const HEADER_BYTES: usize = 16;
const MAX_TEXT_BYTES: u64 = 64;

impl Reasons {
    /// The meaning of these texts, one list after the other.
    pub(super) fn of_texts(lists: &[&[&str]]) -> Self {
        let mut waits = [GoWait::Unknown as u8; GO_REASONS];
        let texts = lists.iter().flat_map(|list| list.iter());
        for (wait, text) in waits.iter_mut().zip(texts) {
            *wait = meaning(text) as u8;
        }
        Self { waits }
    }

    /// Reads the binary's own table. `None` if it does not look like one: in a
    /// position-independent program the linker fills it in at start.
    pub(super) fn read<R: Read + Seek>(
        elf: &mut Elf<R>,
        table: Symbol,
    ) -> io::Result<Option<Self>> {
        let count = usize::try_from(table.bytes).unwrap_or(usize::MAX) / HEADER_BYTES;
        let mut waits = [GoWait::Unknown as u8; GO_REASONS];
        let mut address = table.address;
        for wait in waits.iter_mut().take(count) {
            let mut header = [0; HEADER_BYTES];
            if !elf.read_address(address, &mut header)? {
                return Ok(None);
            }
            address = address.saturating_add(HEADER_BYTES as u64);
            let [a, b, c, d, e, f, g, h, length @ ..] = header;
            let at = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            let length = u64::from_le_bytes(length);
            if length > MAX_TEXT_BYTES {
                return Ok(None);
            }
            let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
            if length > 0 && !elf.read_address(at, &mut text)? {
                return Ok(None);
            }
            let Ok(text) = std::str::from_utf8(&text) else { return Ok(None) };
            *wait = meaning(text) as u8;
        }
        let has = |wait: GoWait| waits.contains(&(wait as u8));
        let is_whole = [GoWait::IoWait, GoWait::ChanReceive, GoWait::Select, GoWait::Sleep]
            .into_iter()
            .all(has);
        Ok(is_whole.then_some(Self { waits }))
    }
}

/// What a text means. What the runtime adds in parentheses does not matter:
/// `chan receive (nil chan)`, `select (durable)`.
fn meaning(text: &str) -> GoWait {
    let base = text.split_once(" (").map_or(text, |(base, _)| base);
    match base {
        "" => GoWait::Unknown,
        "IO wait" => GoWait::IoWait,
        "chan receive" => GoWait::ChanReceive,
        "chan send" => GoWait::ChanSend,
        "select" => GoWait::Select,
        "sleep" => GoWait::Sleep,
        "sync.Mutex.Lock" => GoWait::Mutex,
        "sync.RWMutex.RLock" | "sync.RWMutex.Lock" => GoWait::RwMutex,
        "sync.WaitGroup.Wait" => GoWait::WaitGroup,
        "sync.Cond.Wait" => GoWait::Cond,
        "semacquire" => GoWait::Semacquire,
        "preempted" => GoWait::Preempted,
        "force gc" | "wait for GC cycle" | "stopping the world" | "flushing proc caches" => {
            GoWait::Gc
        }
        _ if base.starts_with("GC ") || base.starts_with("garbage collection") => GoWait::Gc,
        _ => GoWait::Other,
    }
}
