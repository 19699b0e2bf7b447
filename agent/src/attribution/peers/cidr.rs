//! Networks: which addresses are in them, and which are in nobody's.
//!
//! Separate because it is arithmetic alone.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::Network;

/// Names of networks, the narrowest first.
#[derive(Clone, Debug, Default)]
pub struct Names(Vec<(Network, Arc<str>)>);

impl Names {
    /// From what the configuration says.
    #[must_use]
    pub fn new(networks: &[Network]) -> Self {
        let mut names: Vec<_> =
            networks.iter().map(|network| (network.clone(), Arc::from(&*network.name))).collect();
        // An IPv4 network is as narrow as the same one mapped into IPv6.
        names.sort_by_key(|(network, _)| std::cmp::Reverse(network.mapped_bits()));
        Self(names)
    }

    /// The name of the narrowest network that has an address.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<&Arc<str>> {
        self.0.iter().find(|(network, _)| network.contains(address)).map(|(_, name)| name)
    }
}

/// Whether an address may be somebody's on the internet: not private, shared,
/// link-local, multicast, reserved or for documentation.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || a == 0
                || a >= 224
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19)))
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // 2000::/3 is all that was ever given out.
            first & 0xe000 == 0x2000 && !(first == 0x2001 && (second == 0xdb8 || second < 0x200))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn public_addresses_are_told_from_others() {
        for public in ["1.1.1.1", "8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:4700::1111"] {
            assert!(is_public(address(public)), "{public}");
        }
        for other in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.0.1",
            "127.0.0.1",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(address(other)), "{other}");
        }
    }

    #[test]
    fn the_narrowest_network_gives_the_name() {
        let networks = ["10.0.0.0/8=corp", "10.1.0.0/16=lab", "fd00::/8=six"];
        let networks: Vec<Network> =
            networks.iter().map(|text| Network::parse(text).unwrap()).collect();
        let names = Names::new(&networks);
        let find = |text| names.find(address(text)).map(|name| &**name);
        assert_eq!(find("10.2.0.1"), Some("corp"));
        assert_eq!(find("10.1.255.255"), Some("lab"));
        assert_eq!(find("fd12::1"), Some("six"));
        assert_eq!(find("11.0.0.1"), None);
    }
}
