//! Who holds addresses in the cluster: pods, Services and nodes alike.
//!
//! Separate from [`super::pod`]: here are all of the cluster's, with what a
//! peer's name needs and no more.

use std::net::IpAddr;

/// What kind of object holds addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HolderKind {
    /// Nodes.
    Node,
    /// Services, by their cluster IPs.
    Service,
    /// Pods that have a network of their own.
    Pod,
}

impl HolderKind {
    /// Every kind; nodes first, whose zones the pods are told with.
    pub const ALL: [Self; 3] = [Self::Node, Self::Service, Self::Pod];

    /// The value of the `kind` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Service => "service",
            Self::Pod => "pod",
        }
    }
}

/// An object, with what its name as a peer is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its kind.
    pub kind: HolderKind,
    /// Its uid.
    pub uid: u128,
    /// Its namespace; empty for a node.
    pub namespace: String,
    /// `deployment/api`, `service/api`, `node/a`.
    pub workload: String,
    /// The node that it runs on, or that it is; empty for a Service.
    pub node: String,
    /// Of a node its zone; empty if it has none, and for others.
    pub zone: String,
    /// Addresses that are its alone, now: none for a pod that is ending, for its
    /// address may be another's at any moment.
    pub addresses: Vec<IpAddr>,
}

/// What the API server told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HolderUpdate {
    /// A list of all of a kind begins.
    Begin(HolderKind),
    /// One came, changed, or is of the list.
    Is(Holder),
    /// That was the list: of its kind, who was not told again is gone.
    End(HolderKind),
    /// One is gone.
    Gone(u128),
}

/// The number that a uid is; `None` if it is none.
#[must_use]
pub fn uid(text: &str) -> Option<u128> {
    let digits = text.bytes().filter(|byte| *byte != b'-');
    let mut number = 0u128;
    let mut count = 0;
    for byte in digits {
        number = (number << 4) | u128::from(char::from(byte).to_digit(16)?);
        count += 1;
    }
    (count == 32).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_32_digits_with_dashes_or_without() {
        let wanted = Some(0xcb26_35a6_d721_417d_9ff1_46f7_4032_3001);
        assert_eq!(uid("cb2635a6-d721-417d-9ff1-46f740323001"), wanted);
        assert_eq!(uid("cb2635a6d721417d9ff146f740323001"), wanted);
        for wrong in [
            "",
            "cb2635a6",
            "cb2635a6-d721-417d-9ff1-46f74032300x",
            "ffcb2635a6d721417d9ff146f740323001",
        ] {
            assert_eq!(uid(wrong), None, "{wrong}");
        }
    }
}
