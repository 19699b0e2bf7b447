//! Names of processes, containers and pods, each a type of its own.
//!
//! Separate so that a tgid is never taken for a tid, nor a container id for a
//! pod's uid, in any stage.

use std::fmt;
use std::sync::Arc;

/// Nanoseconds in one tick of `/proc/<pid>/stat`.
///
/// The kernel fixes `USER_HZ` at 100 for x86-64, whatever its own `HZ` is.
pub const NS_PER_TICK: u64 = 10_000_000;

/// Characters of a container id that people are shown, as `docker ps` does.
const SHORT_ID_CHARS: usize = 12;

/// A process (thread group), by its number in the initial PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tgid(pub u32);

impl fmt::Display for Tgid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When a process started, in ticks of `CLOCK_BOOTTIME`.
///
/// `/proc` tells the start in ticks, the kernel programs tell it in
/// nanoseconds. Both become ticks here, so that they can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StartTicks(pub u64);

impl StartTicks {
    /// The tick in which `start_boottime_ns` (`task_struct.start_boottime`)
    /// falls: the same truncation that the kernel does for `/proc`.
    #[must_use]
    pub const fn from_boottime_ns(start_boottime_ns: u64) -> Self {
        Self(start_boottime_ns / NS_PER_TICK)
    }
}

/// A process for good: its number together with its start.
///
/// The number alone is given to another process later. Two processes cannot
/// share both, unless all process numbers are used up within one tick (10 ms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey {
    /// Its number.
    pub tgid: Tgid,
    /// The start of its group leader.
    pub start: StartTicks,
}

/// A container's full id: 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// The id that `text` is, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_id =
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| Self(text.into()))
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, by which people know a container without a name.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..SHORT_ID_CHARS).unwrap_or(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pod's uid: a UUID, or for a static pod the 32-digit hash of its manifest
/// (which is not the uid that the API server knows the mirror pod by).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(Arc<str>);

impl PodUid {
    /// The uid that `text` is, if it is one. Systemd's form, with underscores
    /// for dashes, is taken too and turned back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |range| {
            text.get(range)
                .is_some_and(|part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        match text.len() {
            32 => is_hex(0..32).then(|| Self(text.into())),
            36 => {
                let is_uuid = [0..8, 9..13, 14..18, 19..23, 24..36].into_iter().all(is_hex)
                    && [8, 13, 18, 23]
                        .into_iter()
                        .all(|at| matches!(text.as_bytes().get(at), Some(b'-' | b'_')));
                is_uuid.then(|| Self(text.replace('_', "-").into()))
            }
            _ => None,
        }
    }

    /// The uid, with dashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{ContainerId, PodUid, ProcessKey, StartTicks, Tgid};

    #[test]
    fn container_ids_are_64_lower_case_hexadecimal_digits() {
        let id = "3f9c".repeat(16);
        assert_eq!(ContainerId::parse(&id).unwrap().short(), "3f9c3f9c3f9c");
        for other in
            ["", "3f9c", &id[1..], &format!("{id}0"), &id.to_uppercase(), &id.replace('c', "g")]
        {
            assert_eq!(ContainerId::parse(other), None, "{other}");
        }
    }

    #[test]
    fn pod_uids_are_uuids_or_hashes_and_underscores_become_dashes() {
        let uuid = "cb2635a6-d721-417d-9ff1-46f740323043";
        assert_eq!(PodUid::parse(&uuid.replace('-', "_")).unwrap().as_str(), uuid);
        assert_eq!(PodUid::parse(uuid).unwrap().as_str(), uuid);
        let hash = "8d2c5f2e6d0a4b1f9e3c7a5b1d4f6e80";
        assert_eq!(PodUid::parse(hash).unwrap().as_str(), hash);
        for other in [
            "",
            "man",
            &uuid[1..],
            &uuid.replace('-', "."),
            &hash[1..],
            "cb2635a6-d721-417d-9ff1-46f74032304é",
        ] {
            assert_eq!(PodUid::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_start_in_nanoseconds_equals_its_tick_and_a_reused_number_is_another_process() {
        let first =
            ProcessKey { tgid: Tgid(7), start: StartTicks::from_boottime_ns(123_456_789_012) };
        assert_eq!(first.start, StartTicks(12_345));
        let second = ProcessKey { start: StartTicks::from_boottime_ns(123_466_789_012), ..first };
        assert_ne!(first, second);
    }
}
