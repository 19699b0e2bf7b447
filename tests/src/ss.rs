//! What `ss` says of one socket: the kernel's own count, read by another's tool.
//!
//! Separate because it is the truth that the agent's TCP counters are held to.

use anyhow::Context as _;

use crate::netns::Netns;
use crate::{nft, process};

/// One connection, as `ss -tin` prints it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Socket {
    /// Segments sent again, over its life.
    pub retransmits: u64,
    /// Segments with data sent, those sent again included.
    pub data_segments_out: u64,
    /// Segments that came out of order, over its life.
    pub out_of_order: u64,
    /// Time that data waited for the peer's window, over its life, milliseconds.
    pub window_limited_ms: f64,
    /// Window that the peer allows.
    pub peer_window: u64,
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: f64,
    /// Its mean deviation in microseconds.
    pub jitter_us: f64,
}

/// The only established connection in `netns` with this local port.
///
/// # Errors
/// When `ss` fails, or there is not exactly one.
pub fn established(netns: &Netns, port: u16) -> anyhow::Result<Socket> {
    only(netns, &format!("sport = :{port}"))
}

fn only(netns: &Netns, filter: &str) -> anyhow::Result<Socket> {
    let args = ["-tinHO", "state", "established", filter];
    let text = process::run(&mut nft::command_in(netns, "ss", &args))?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let line = lines.next().with_context(|| format!("no connection with {filter}"))?;
    anyhow::ensure!(lines.next().is_none(), "more than one: {text}");
    parse(line).with_context(|| format!("not understood: {line}"))
}

/// The only established connection in `netns` from this local port to `peer`.
///
/// # Errors
/// As [`established`].
pub fn established_to(netns: &Netns, port: u16, peer: std::net::IpAddr) -> anyhow::Result<Socket> {
    only(netns, &format!("sport = :{port} and dst {peer}"))
}

/// A field that is absent is zero: `ss` leaves those out.
fn parse(line: &str) -> Option<Socket> {
    let field = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
    let (rtt_ms, jitter_ms) = field("rtt:")?.split_once('/')?;
    let retransmits = match field("retrans:") {
        // Now outstanding, and over its life.
        Some(both) => both.split_once('/')?.1.parse().ok()?,
        None => 0,
    };
    let window_limited_ms = match field("rwnd_limited:") {
        // And its part of the time that there was something to send.
        Some(time) => time.split_once("ms")?.0.parse().ok()?,
        None => 0.0,
    };
    let count = |name: &str| field(name).unwrap_or("0").parse::<u64>().ok();
    Some(Socket {
        retransmits,
        out_of_order: count("rcv_ooopack:")?,
        window_limited_ms,
        peer_window: count("snd_wnd:")?,
        data_segments_out: count("data_segs_out:")?,
        rtt_us: rtt_ms.parse::<f64>().ok()? * 1e3,
        jitter_us: jitter_ms.parse::<f64>().ok()? * 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_absent_ones_are_zero() {
        let line = "0 0 10.77.0.2:80 10.77.0.1:41520 cubic wscale:7,7 rto:204 rtt:0.053/0.021 \
                    minrtt:0.02 data_segs_out:20021 retrans:0/417 dsack_dups:3 rcv_rtt:1 \
                    busy:3516ms rwnd_limited:3456ms(98.3%) rcv_ooopack:12 snd_wnd:65535";
        let socket = parse(line).unwrap();
        assert_eq!((socket.retransmits, socket.data_segments_out), (417, 20_021));
        assert_eq!((socket.rtt_us, socket.jitter_us), (53.0, 21.0));
        assert_eq!((socket.out_of_order, socket.peer_window), (12, 65_535));
        assert_eq!(socket.window_limited_ms, 3_456.0);
        let quiet = parse("0 0 [::1]:80 [::1]:9 rtt:1/0.5").unwrap();
        assert_eq!((quiet.retransmits, quiet.data_segments_out), (0, 0));
        assert_eq!((quiet.out_of_order, quiet.peer_window, quiet.window_limited_ms), (0, 0, 0.0));
        assert_eq!(parse("0 0 a b"), None);
    }
}
