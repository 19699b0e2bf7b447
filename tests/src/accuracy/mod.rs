//! Whether the agent's answer is the truth: requests whose time is known, and
//! what the agent says of each.
//!
//! Separate from the tests because `cargo xtask accuracy` prints tables of the
//! same, at length. The truth is what the workload wrote down (`journal`) and
//! what the client did, by the kernel's clock; the answer is read as a user
//! reads it, from `strata trace -o json`. Requests of both are matched one to
//! one by the id in their paths.

pub mod answer;
pub mod closure;
pub mod compare;
pub mod matrix;
pub mod plan;
pub mod rig;
pub mod scenes;
pub mod tracer;
pub mod trial;
pub mod truth;

use agent_common::parts::{PARTS, Part};

/// Nanoseconds of each part, by its index.
pub type Nanoseconds = [u64; PARTS];

/// A part as it is called everywhere: layer, dot, part.
#[must_use]
pub fn name(part: Part) -> String {
    format!("{}.{}", part.layer().as_str(), part.as_str())
}

/// The part of this name.
#[must_use]
pub fn named(name: &str) -> Option<Part> {
    Part::ALL.into_iter().find(|part| self::name(*part) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found_by_its_name() {
        assert!(Part::ALL.into_iter().all(|part| named(&name(part)) == Some(part)));
        assert_eq!((name(Part::OsCpu), named("os")), ("os.cpu".to_owned(), None));
    }
}
