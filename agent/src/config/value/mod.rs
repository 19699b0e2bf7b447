//! The types that a configuration value can have: text in, value out, and back.
//!
//! Separate from the table of keys so that each type is one small pure parser,
//! used alike for the file, the environment and the flags.

mod error;
mod glob;
mod network;
mod scalar;
mod selector;
mod text;
mod units;
mod url;

pub use error::Unfit;
pub use glob::Glob;
pub use network::Network;
pub use selector::{Requirement, Selector};
pub use units::duration;

pub(super) use glob::GlobText;
pub(super) use network::NetworkText;
pub(super) use scalar::{Address, Choice, Flag, Share, Whole};
pub(super) use selector::SelectorText;
pub(super) use text::{AbsolutePath, Maybe, Name, NodeName, RequestPath, RoutePattern};
pub(super) use units::{BytesIn, DurationIn};
pub(super) use url::{HttpUrl, PlainUrl};

/// A type of value. Bounds are fields of the implementing type, so that the
/// table of keys states them once and the documentation repeats them.
pub(super) trait Type: Sync {
    /// What a value is once it is parsed.
    type Value;

    /// Reads a value from its text.
    fn parse(&self, text: &str) -> Result<Self::Value, Unfit>;

    /// Writes a value such that [`Type::parse`] gives it back; two different
    /// values never look alike.
    fn show(&self, value: &Self::Value) -> String;

    /// The type and its bounds in a few words, for help and documentation.
    fn describe(&self) -> String;

    /// Whether it is true or false, so that a flag may stand without a value.
    fn is_boolean(&self) -> bool {
        false
    }
}
