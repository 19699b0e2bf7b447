//! Bytes that are not a record.

/// Why bytes are not an event; each has the label that it is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// No record has this kind.
    Kind,
    /// Shorter or longer than its kind says.
    Length,
    /// A field has a value that it cannot have.
    Value,
}

impl Malformed {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Kind, Self::Length, Self::Value];

    /// The value of the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Length => "length",
            Self::Value => "value",
        }
    }
}
