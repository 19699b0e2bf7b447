//! How parts and text are written as JSON.
//!
//! Separate from the members because this is where foreign bytes become safe,
//! and where the closed set of parts meets its names.

use std::fmt;
use std::io::{self, Write};

use agent_common::parts::{PARTS, Part};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::Formatter;

/// `layer.part`, as in JSON and on screen.
#[must_use]
pub const fn part_name(part: Part) -> &'static str {
    match part {
        Part::Cpu => "application.cpu",
        Part::Gc => "runtime.gc",
        Part::Sched => "runtime.sched",
        Part::Wait => "runtime.wait",
        Part::OsCpu => "os.cpu",
        Part::Runqueue => "os.runqueue",
        Part::Throttled => "os.throttled",
        Part::Lock => "os.lock",
        Part::Disk => "os.disk",
        Part::Memory => "os.memory",
        Part::Accept => "os.accept",
        Part::Sleep => "os.sleep",
        Part::Receive => "network.receive",
        Part::Send => "network.send",
        Part::Loss => "network.loss",
        Part::Downstream => "downstream.wait",
        Part::Steal => "hardware.steal",
        Part::Unknown => "unattributed.unknown",
        Part::Sampled => "unattributed.sampled",
    }
}

/// The part of this name. A newer agent may know parts that are not known
/// here: what it says of them is not known, which is a part too.
fn part_of(name: &str) -> Part {
    Part::ALL.into_iter().find(|part| part_name(*part) == name).unwrap_or(Part::Unknown)
}

/// Nanoseconds of each part; in JSON a map of those that are not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartTimes(pub [u64; PARTS]);

impl PartTimes {
    /// Each part that is not zero with its nanoseconds, in order of its index.
    pub fn iter(&self) -> impl Iterator<Item = (Part, u64)> {
        Part::ALL.into_iter().zip(self.0).filter(|(_, ns)| *ns > 0)
    }

    fn add(&mut self, part: Part, ns: u64) {
        if let Some(to) = self.0.get_mut(part as usize) {
            *to = to.saturating_add(ns);
        }
    }
}

impl Serialize for PartTimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (part, ns) in self.iter() {
            map.serialize_entry(part_name(part), &ns)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for PartTimes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = PartTimes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of parts to nanoseconds")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PartTimes, A::Error> {
                let mut times = PartTimes::default();
                while let Some((name, ns)) = map.next_entry::<std::borrow::Cow<'de, str>, u64>()? {
                    times.add(part_of(&name), ns);
                }
                Ok(times)
            }
        }
        deserializer.deserialize_map(Parts)
    }
}

/// A set of parts, by [`Part::bit`]; in JSON a list of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimated(pub u32);

impl Estimated {
    /// Whether the part is in it.
    #[must_use]
    pub const fn has(self, part: Part) -> bool {
        self.0 & part.bit() != 0
    }
}

impl Serialize for Estimated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for part in Part::ALL.into_iter().filter(|part| self.has(*part)) {
            list.serialize_element(part_name(part))?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Estimated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Estimated;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of parts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Estimated, A::Error> {
                let mut bits = 0;
                while let Some(name) = list.next_element::<std::borrow::Cow<'de, str>>()? {
                    bits |= part_of(&name).bit();
                }
                Ok(Estimated(bits))
            }
        }
        deserializer.deserialize_seq(Names)
    }
}

/// Whether a character could do something to a terminal, or to the order in
/// which what stands beside it is read: control characters, line and paragraph
/// separators, marks of writing direction, the byte order mark.
#[must_use]
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
        )
}

/// Appends a value as a line of JSON.
pub(super) fn write(value: &impl Serialize, to: &mut Vec<u8>) {
    let at = to.len();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *to, Escaping);
    if value.serialize(&mut serializer).is_err() {
        // No value of these types is reason for it; half a line would be worse.
        to.truncate(at);
        return;
    }
    to.push(b'\n');
}

/// Compact JSON in which hostile characters are escaped as well.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte.is_ascii() && byte != 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        for c in fragment.chars() {
            if is_hostile(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            } else {
                writer.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_is_written_as_layer_and_part() {
        for part in Part::ALL {
            assert_eq!(part_name(part), format!("{}.{}", part.layer().as_str(), part.as_str()));
            assert_eq!(part_of(part_name(part)), part);
        }
    }

    #[test]
    fn parts_of_a_newer_agent_stay_in_the_sum() {
        let times: PartTimes =
            serde_json::from_str(r#"{"os.cpu":3,"os.new":4,"unattributed.unknown":5}"#).unwrap();
        assert_eq!(times.iter().collect::<Vec<_>>(), [(Part::OsCpu, 3), (Part::Unknown, 9)]);
    }

    proptest! {
        #[test]
        fn parts_and_estimates_survive_the_way(
            ns in proptest::collection::vec(any::<u64>(), PARTS),
            bits in 0u32..1 << PARTS,
        ) {
            let mut times = PartTimes::default();
            times.0.copy_from_slice(&ns);
            let mut bytes = Vec::new();
            write(&(times, Estimated(bits)), &mut bytes);
            let back: (PartTimes, Estimated) = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(back, (times, Estimated(bits)));
        }

        #[test]
        fn any_text_survives_and_does_nothing_to_a_terminal(text in any::<String>()) {
            let mut bytes = Vec::new();
            write(&text, &mut bytes);
            prop_assert_eq!(bytes.pop(), Some(b'\n'));
            let json = String::from_utf8(bytes).unwrap();
            prop_assert!(!json.chars().any(is_hostile), "{json:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
