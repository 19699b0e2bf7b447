//! Why a text is not a value of its type.
//!
//! Separate because every value type refuses with it, and the messages are
//! what an operator reads: kept together they stay alike.

/// Why a text is not a value. The message follows the key's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not a boolean.
    #[error("`{text}` is neither true nor false")]
    Flag {
        /// What was given.
        text: String,
    },
    /// Not one of a closed set of words.
    #[error("`{text}` is not one of {choices}")]
    Choice {
        /// What was given.
        text: String,
        /// The words, with commas.
        choices: String,
    },
    /// Not of the form that the type wants.
    #[error("`{text}` is not {wanted}")]
    Form {
        /// What was given.
        text: String,
        /// The form, with an example.
        wanted: &'static str,
    },
    /// A number without its unit.
    #[error("`{text}` has no unit; write one of {units}, as in {example}")]
    NoUnit {
        /// What was given.
        text: String,
        /// The units, with commas.
        units: String,
        /// A value that would do.
        example: &'static str,
    },
    /// A number with a unit that does not exist.
    #[error("`{text}` has an unknown unit; write one of {units}, as in {example}")]
    Unit {
        /// What was given.
        text: String,
        /// The units, with commas.
        units: String,
        /// A value that would do.
        example: &'static str,
    },
    /// Outside the bounds.
    #[error("`{text}` is out of bounds: {min} to {max}")]
    Bounds {
        /// What was given.
        text: String,
        /// The least that is allowed.
        min: String,
        /// The most that is allowed.
        max: String,
    },
    /// A size that must be a power of two and is not.
    #[error("`{text}` is not a power of two")]
    PowerOfTwo {
        /// What was given.
        text: String,
    },
    /// A text longer than what it is for can hold.
    #[error("`{text}` is longer than {max} bytes")]
    Long {
        /// What was given.
        text: String,
        /// The most that is allowed, in bytes.
        max: usize,
    },
    /// A list with too many items.
    #[error("{count} items are more than the {max} that are allowed")]
    Many {
        /// Items given.
        count: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// Several values, or none, for a key that takes one.
    #[error("takes one value, not {count}")]
    NotOne {
        /// Values given.
        count: usize,
    },
    /// Nothing at all: a key with neither value nor list.
    #[error("has no value; leave the line out to keep the default")]
    Absent,
}
