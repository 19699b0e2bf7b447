//! Addresses of this node, as `/proc` tells: of the first process, since an
//! agent in a pod has a network of its own.
//!
//! Separate because the two files are read as text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::attribution::procfs::ProcRoot;

/// Addresses that are kept, at most.
const MAX_ADDRESSES: usize = 1_024;

/// Addresses of the namespace of the first process. Files that cannot be read
/// give none.
#[must_use]
pub fn addresses(proc: &ProcRoot) -> Vec<IpAddr> {
    let v4 = proc.read_text("1/net/fib_trie").unwrap_or_default();
    let v6 = proc.read_text("1/net/if_inet6").unwrap_or_default();
    let mut all: Vec<IpAddr> = parse_fib_trie(&v4).map(IpAddr::V4).collect();
    all.sort_unstable();
    all.dedup();
    all.extend(parse_if_inet6(&v6).map(IpAddr::V6));
    all.truncate(MAX_ADDRESSES);
    all
}

/// Addresses that `fib_trie` has as `/32 host LOCAL`, loopback left out. The
/// file has the same in the table `main` and in the table `local`.
fn parse_fib_trie(text: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut last = None;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(leaf) = line.strip_prefix("|-- ") {
            last = leaf.parse::<Ipv4Addr>().ok();
            return None;
        }
        let is_own = line == "/32 host LOCAL";
        last.filter(|address| is_own && !address.is_loopback())
    })
}

/// Addresses of `if_inet6`: 32 hexadecimal digits at the beginning of a line.
fn parse_if_inet6(text: &str) -> impl Iterator<Item = Ipv6Addr> {
    text.lines().filter_map(|line| {
        let digits = line.split_whitespace().next().filter(|digits| digits.len() == 32)?;
        let address = Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?);
        (!address.is_loopback()).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIB_TRIE: &str = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.244.1.0/24 2 0 2
        |-- 10.244.1.0
           /24 link UNICAST
        |-- 10.244.1.1
           /32 host LOCAL
        |-- 10.244.1.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
Local:
        |-- 10.244.1.1
           /32 host LOCAL
        |-- 192.168.7.9
           /32 host LOCAL
";

    #[test]
    fn own_addresses_are_those_that_are_local() {
        let v4: Vec<_> = parse_fib_trie(FIB_TRIE).map(|address| address.to_string()).collect();
        assert_eq!(v4, ["10.244.1.1", "10.244.1.1", "192.168.7.9"]);
        let text = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    fe80000000000000042c8ffffe5a0001 02 40 20 80     eth0\nx\n";
        let v6: Vec<_> = parse_if_inet6(text).map(|address| address.to_string()).collect();
        assert_eq!(v6, ["fe80::42c:8fff:fe5a:1"]);
    }

    #[test]
    fn this_machine_can_be_asked() {
        // Whatever it has, none of it is loopback.
        assert!(addresses(&ProcRoot::default()).iter().all(|address| !address.is_loopback()));
        assert!(addresses(&ProcRoot::new("/nowhere")).is_empty());
    }
}
