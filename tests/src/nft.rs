//! Loss on a wire, by nftables in a namespace of ours, with its own count.
//!
//! Separate because the count of what was dropped is the truth that
//! retransmits are held against.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::Context as _;

use crate::netns::Netns;
use crate::process;

/// Which arriving TCP segments are dropped.
///
/// Segments are dropped where they arrive, not where they leave: a drop at the
/// sender is an error to its TCP and no loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Of all segments, so many in ten thousand, at random.
    Random {
        /// Share in hundredths of a percent.
        per_ten_thousand: u16,
    },
    /// Of segments that carry data or more than a bare acknowledgement, so many
    /// in ten thousand, at random.
    RandomData {
        /// Share in hundredths of a percent.
        per_ten_thousand: u16,
    },
    /// Of segments with data to this port, one in so many. What is sent again
    /// for it comes next, and arrives.
    OneTo {
        /// The port.
        port: u16,
        /// One in this many, the last of them.
        count: u32,
    },
    /// The first SYN that asks for a connection.
    FirstSyn,
    /// Every SYN.
    EverySyn,
    /// The first answer to a SYN.
    FirstSynAck,
}

impl Loss {
    fn matches(self) -> String {
        let random = |share| format!("numgen random mod 10000 < {share}");
        match self {
            Self::Random { per_ten_thousand } => {
                format!("meta l4proto tcp {}", random(per_ten_thousand))
            }
            // 40 bytes of IP and TCP headers and at most 40 of options.
            Self::RandomData { per_ten_thousand } => {
                format!("meta l4proto tcp meta length > 100 {}", random(per_ten_thousand))
            }
            Self::OneTo { port, count } => format!(
                "tcp dport {port} meta length > 100 numgen inc mod {count} == {}",
                count.saturating_sub(1)
            ),
            // Counts up from 0 with each segment that gets here.
            Self::FirstSyn => {
                "tcp flags & (syn | ack) == syn numgen inc mod 1000000 == 0".to_owned()
            }
            Self::EverySyn => "tcp flags & (syn | ack) == syn".to_owned(),
            Self::FirstSynAck => {
                "tcp flags & (syn | ack) == (syn | ack) numgen inc mod 1000000 == 0".to_owned()
            }
        }
    }
}

/// Rules that drop what arrives in a namespace; removed at drop.
#[derive(Debug)]
pub struct Rules<'a> {
    netns: &'a Netns,
}

/// Name of the table and of the counters that it may have.
const TABLE: &str = "strata_test";

impl<'a> Rules<'a> {
    /// Drops what `losses` say of all that arrives in `netns`.
    ///
    /// # Errors
    /// When `nft` refuses them.
    pub fn install(netns: &'a Netns, losses: &[Loss]) -> anyhow::Result<Self> {
        let mut text = format!("table inet {TABLE} {{\n");
        for name in ["seen", "syns", "synacks", "lost"] {
            let _ = writeln!(text, " counter {name} {{}}");
        }
        text.push_str(" chain arrive {\n  type filter hook input priority 0;\n");
        text.push_str("  meta l4proto tcp counter name seen\n");
        text.push_str("  tcp flags & (syn | ack) == syn counter name syns\n");
        text.push_str("  tcp flags & (syn | ack) == (syn | ack) counter name synacks\n");
        for loss in losses {
            let _ = writeln!(text, "  {} counter name lost drop", loss.matches());
        }
        text.push_str(" }\n}\n");
        let rules = Self { netns };
        let mut file = tempfile::NamedTempFile::new()?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        rules.nft(&["-f", &file.path().to_string_lossy()]).with_context(|| text.clone())?;
        Ok(rules)
    }

    /// TCP segments that arrived, those lost among them.
    ///
    /// # Errors
    /// When `nft` cannot say.
    pub fn seen(&self) -> anyhow::Result<u64> {
        self.counter("seen")
    }

    /// SYNs that arrived, those lost among them.
    ///
    /// # Errors
    /// When `nft` cannot say.
    pub fn syns(&self) -> anyhow::Result<u64> {
        self.counter("syns")
    }

    /// Answers to SYNs that arrived, those lost among them.
    ///
    /// # Errors
    /// When `nft` cannot say.
    pub fn synacks(&self) -> anyhow::Result<u64> {
        self.counter("synacks")
    }

    /// TCP segments that were lost.
    ///
    /// # Errors
    /// When `nft` cannot say.
    pub fn lost(&self) -> anyhow::Result<u64> {
        self.counter("lost")
    }

    fn counter(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.nft(&["list", "counter", "inet", TABLE, name])?;
        let packets = text.split_whitespace().skip_while(|word| *word != "packets").nth(1);
        packets
            .and_then(|packets| packets.parse().ok())
            .with_context(|| format!("no packets in {text}"))
    }

    fn nft(&self, args: &[&str]) -> anyhow::Result<String> {
        let argv: Vec<_> =
            std::iter::once(&"nft").chain(args).map(|arg| (*arg).to_owned()).collect();
        process::run(&mut self.netns.command(&argv))
    }
}

/// Drops the first copy of each segment with data that arrives in `netns` with
/// this differentiated services code point, and no other copy of it; for as
/// long as the namespace is there.
///
/// # Errors
/// When `nft` refuses it.
pub fn drop_marked_once(netns: &Netns, dscp: u32) -> anyhow::Result<()> {
    // 40 bytes of IP and TCP headers and at most 40 of options.
    let is_marked = format!("ip dscp {dscp} meta length > 80");
    let text = format!(
        "table inet {TABLE} {{
 set dropped {{
  typeof tcp sport . tcp sequence
  flags dynamic, timeout
  timeout 1m
  size 65536
 }}
 chain arrive {{
  type filter hook input priority 0;
  {is_marked} tcp sport . tcp sequence @dropped accept
  {is_marked} add @dropped {{ tcp sport . tcp sequence }} drop
 }}
}}
"
    );
    install_for_good(netns, &text)
}

/// Rules that go with their namespace.
fn install_for_good(netns: &Netns, text: &str) -> anyhow::Result<()> {
    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    let argv = ["nft", "-f", &file.path().to_string_lossy()].map(str::to_owned);
    process::run(&mut netns.command(&argv)).with_context(|| text.to_owned())?;
    Ok(())
}

/// Loses the first copy of the first segment with this differentiated services
/// code point of a connection into `netns`, and with it whatever comes after it
/// until it comes again: as a link does that fails for a moment. Then marks
/// count for nothing until the connection had none for a moment.
///
/// # Errors
/// When `nft` refuses it.
pub fn drop_marked_and_after(netns: &Netns, dscp: u32) -> anyhow::Result<()> {
    let is_marked = format!("ip dscp {dscp} meta length > 80");
    let text = format!(
        "table inet {TABLE} {{
 set holes {{
  typeof tcp sport . tcp sequence
  flags dynamic, timeout
  timeout 1m
  size 65536
 }}
 set failing {{
  typeof tcp sport
  flags dynamic, timeout
  timeout 1m
  size 65536
 }}
 set mended {{
  typeof tcp sport
  flags dynamic, timeout
  timeout 5ms
  size 65536
 }}
 chain arrive {{
  type filter hook input priority 0;
  tcp sport . tcp sequence @holes delete @holes {{ tcp sport . tcp sequence }} delete @failing {{ tcp sport }} update @mended {{ tcp sport }} accept
  tcp sport @failing meta length > 80 drop
  {is_marked} tcp sport @mended update @mended {{ tcp sport }} accept
  {is_marked} add @holes {{ tcp sport . tcp sequence }} add @failing {{ tcp sport }} drop
 }}
}}
"
    );
    install_for_good(netns, &text)
}

impl Drop for Rules<'_> {
    fn drop(&mut self) {
        let _ = self.nft(&["delete", "table", "inet", TABLE]);
    }
}

/// Whether nftables with what these rules need works here, found by trying.
#[must_use]
pub fn is_usable() -> bool {
    let rules = [Loss::Random { per_ten_thousand: 1 }, Loss::FirstSyn];
    Netns::create().is_ok_and(|netns| Rules::install(&netns, &rules).is_ok())
}

/// A command for a program of this process's PATH, inside `netns`.
#[must_use]
pub fn command_in(netns: &Netns, program: &str, args: &[&str]) -> Command {
    let argv: Vec<_> =
        std::iter::once(program).chain(args.iter().copied()).map(str::to_owned).collect();
    netns.command(&argv)
}
