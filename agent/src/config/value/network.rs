//! Networks by address and length, with a name: `10.0.0.0/8=corp`.
//!
//! Separate because it is the one value of two halves.

use std::net::{IpAddr, Ipv6Addr};

use super::{Type, Unfit};

/// The most bytes of a network's name: those of a DNS label.
const MAX_NAME_BYTES: usize = 63;

/// A network that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// Bits of the address that all of its addresses share.
    pub bits: u8,
    /// What it is called.
    pub name: String,
}

impl Network {
    /// Reads `10.0.0.0/8=corp`.
    ///
    /// # Errors
    ///
    /// Why the text does not fit.
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        let form = |wanted| Unfit::Form { text: text.to_owned(), wanted };
        let wanted = "a network and its name, such as 10.0.0.0/8=corp";
        let (network, name) = text.split_once('=').ok_or_else(|| form(wanted))?;
        let (address, bits) = network.split_once('/').ok_or_else(|| form(wanted))?;
        let address: IpAddr = address.parse().ok().ok_or_else(|| form(wanted))?;
        let bits: u8 = bits.parse().ok().ok_or_else(|| form(wanted))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if bits > most {
            return Err(form(wanted));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if name.is_empty() || !name.chars().all(is_name) || name.starts_with('_') {
            return Err(form("a network with a name of letters, digits, `-`, `.`, `/`"));
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(Unfit::Long { text: text.to_owned(), max: MAX_NAME_BYTES });
        }
        let network = Self { address, bits, name: name.to_owned() };
        if (mapped(address) & !network.mask()) != 0 {
            return Err(form("a network: bits of the address beyond its length are set"));
        }
        Ok(network)
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && mapped(address) & self.mask() == mapped(self.address)
    }

    /// Its length as an IPv6 network, IPv4 mapped: what is narrower is longer.
    #[must_use]
    pub const fn mapped_bits(&self) -> u8 {
        if self.address.is_ipv4() { 96 + self.bits } else { self.bits }
    }

    fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.mapped_bits())).unwrap_or(0)
    }
}

fn mapped(address: IpAddr) -> u128 {
    let v6: Ipv6Addr = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    v6.to_bits()
}

/// See [`Network`].
pub(in crate::config) struct NetworkText;

impl Type for NetworkText {
    type Value = Network;

    fn parse(&self, text: &str) -> Result<Network, Unfit> {
        Network::parse(text)
    }

    fn show(&self, value: &Network) -> String {
        format!("{}/{}={}", value.address, value.bits, value.name)
    }

    fn describe(&self) -> String {
        "network and its name, as 10.0.0.0/8=corp".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn networks_have_an_address_a_length_and_a_name() {
        let corp = Network::parse("10.0.0.0/8=corp").unwrap();
        assert_eq!((corp.bits, corp.mapped_bits()), (8, 104));
        let contains = |text: &str| corp.contains(text.parse().unwrap());
        assert!(contains("10.255.0.1") && !contains("11.0.0.1") && !contains("::ffff:10.0.0.1"));
        let all = Network::parse("::/0=all").unwrap();
        assert!(all.contains("fd00::1".parse().unwrap()));
        assert!(!all.contains("1.1.1.1".parse().unwrap()));
        for wrong in [
            "10.0.0.0/8",
            "10.0.0.0=corp",
            "10.0.0.0/33=x",
            "10.0.0.1/8=x",
            "ten/8=x",
            "10.0.0.0/8=",
            "10.0.0.0/8=_other",
            "10.0.0.0/8=a b",
        ] {
            assert!(Network::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(address: u128, is_v4: bool, bits in 0u8..=128) {
            let bits = if is_v4 { bits % 33 } else { bits };
            let address = if is_v4 {
                let host = 32 - u32::from(bits);
                let all = u32::MAX.checked_shl(host).unwrap_or(0);
                IpAddr::V4((address as u32 & all).into())
            } else {
                let all = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                IpAddr::V6((address & all).into())
            };
            let network = Network { address, bits, name: "x".to_owned() };
            prop_assert_eq!(Network::parse(&NetworkText.show(&network)).unwrap(), network.clone());
            prop_assert!(network.contains(address));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = Network::parse(&text);
        }
    }
}
