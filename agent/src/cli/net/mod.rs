//! `strata net`: the network by peer, as it is used.
//!
//! ```text
//! agent's socket -+-> samples -> edges -> print (table, JSON)
//! engine of ours -+
//! ```
//!
//! Everything but `run` is pure.

pub mod edges;
pub mod print;
#[cfg(feature = "agent")]
mod run;

use clap::ValueEnum;

#[cfg(feature = "agent")]
pub use run::run;

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// The largest part of segments sent again
    #[default]
    Retransmits,
    /// The largest deviation of the round trip
    Jitter,
    /// The longest round trip
    Rtt,
    /// The most segments
    Traffic,
}

/// How far away peers may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Scope {
    /// The same host
    Loopback,
    /// This node
    Node,
    /// Another node of the zone
    Zone,
    /// Another zone
    CrossZone,
    /// Outside of the cluster
    External,
    /// Not known
    Unknown,
}

impl Scope {
    /// The value of the `scope` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Node => "node",
            Self::Zone => "zone",
            Self::CrossZone => "cross_zone",
            Self::External => "external",
            Self::Unknown => "unknown",
        }
    }
}

/// Which edges, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct View {
    /// What comes first
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t)]
    pub sort: Sort,
    /// Only peers as far away as this
    #[arg(long, value_enum, value_name = "SCOPE")]
    pub scope: Option<Scope>,
    /// Only peers with this in their namespace or name
    #[arg(long, value_name = "TEXT")]
    pub peer: Option<String>,
}
