//! Edges against faults that the socket itself keeps count of: segments out of
//! order, and peers that do not read.
//!
//! What belongs here: a fault on one edge of a process, what `ss` says of its
//! socket, and another edge of the same process that has none of it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::agent_process::{Agent, run_once};
use tests::netns::{Netns, Wire};
use tests::nft::{self, Loss, Rules};
use tests::puppet::Puppet;
use tests::require::has_tool;
use tests::{eventually, require, ss, sys};

use crate::expect::{VISIBLE, own_losses};

const OUT_OF_ORDER: &str = "strata_edge_segments_out_of_order_total";
const STALLS: &str = "strata_edge_zero_window_stalls_total";
const STALLED: &str = "strata_edge_zero_window_seconds_total";

/// Another address on the wire: the peer that nothing happens to.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 9));
/// Ports that the client's ends have.
const STUCK_PORT: u16 = 5_080;
const READING_PORT: u16 = 5_081;
/// Longer than anything here takes that ends by itself.
const LIMIT: Duration = Duration::from_secs(60);
/// The kernel counts time in ticks, of which each end of a stall may cost one;
/// they take 10 ms at most.
const TICKS_S: f64 = 0.05;

fn missing() -> Option<&'static str> {
    if !sys::is_root() {
        return Some("root is needed");
    }
    let has_all = ["ip", "nsenter", "python3", "ss"].iter().all(|tool| has_tool(tool));
    (!has_all).then_some("iproute2, util-linux and Python are needed")
}

fn in_netns(netns: &Netns) -> Puppet {
    Puppet::start(|argv| netns.command(argv)).unwrap()
}

/// An agent that watches one process and knows two peers by name.
fn watching(puppet: &Puppet, names: [(IpAddr, &str); 2]) -> Agent {
    let names = names.map(|(addr, name)| format!("{addr}/32={name}")).join(",");
    Agent::start(&["--pid", &puppet.pid().to_string(), "--network-names", &names]).unwrap()
}

/// A counter of the edge with this peer.
fn of(agent: &Agent, metric: &str, peer: &str) -> f64 {
    agent.scrape().unwrap().sum(metric, &[("peer_workload", peer)])
}

/// A connection from an address and port to a server.
fn connect_from(from: IpAddr, port: u16, to: IpAddr, to_port: u16) -> String {
    format!("c = socket.socket()\nc.bind(('{from}', {port}))\nc.connect(('{to}', {to_port}))")
}

#[test]
fn segments_out_of_order_are_counted_on_the_edge_where_one_was_lost() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    require!(nft::is_usable(), "nftables does not work here");
    let wire = Wire::create().unwrap();
    wire.send_single_segments().unwrap();
    wire.add_address(&wire.client, OTHER).unwrap();
    let mut server = in_netns(&wire.server);
    let (mut lossy, mut calm) = (in_netns(&wire.client), in_netns(&wire.client));
    server.run("lossy, calm = listen('', 80), listen('', 81)").unwrap();
    let agent = watching(&server, [(Wire::CLIENT, "lossy"), (OTHER, "calm")]);
    let _rules = Rules::install(&wire.server, &[Loss::OneTo { port: 80, count: 500 }]).unwrap();

    lossy.run(&connect_from(Wire::CLIENT, 0, Wire::SERVER, 80)).unwrap();
    calm.run(&connect_from(OTHER, 0, Wire::SERVER, 81)).unwrap();
    server.run("l, c = accept(lossy), accept(calm)").unwrap();
    lossy.begin(&format!("c.sendall(bytes({}))", 8 << 20)).unwrap();
    assert_eq!(server.run(&format!("receive(l, {})", 8 << 20)).unwrap(), 8 << 20);
    lossy.end().unwrap();
    // No burst that could overflow a queue of a busy machine.
    calm.begin("for _ in range(300): c.sendall(bytes(2000)); c.recv(9)").unwrap();
    server.run("for _ in range(300): receive(c, 2000); c.sendall(b'b')").unwrap();
    calm.end().unwrap();

    let truth = |port| ss::established(&wire.server, port).unwrap().out_of_order as f64;
    let (truths, seen) = ((truth(80), truth(81)), || {
        (of(&agent, OUT_OF_ORDER, "lossy"), of(&agent, OUT_OF_ORDER, "calm"))
    });
    assert!(truths.0 >= 5.0 && truths.1 < truths.0 / 10.0, "ss says {truths:?}");
    // While both connections are open.
    let seen = eventually::settle(VISIBLE, seen, |seen| *seen == truths);
    assert_eq!(seen, truths, "{}", own_losses(&agent));
    assert_eq!(agent.scrape().unwrap().sum(STALLS, &[]), 0.0);
}

/// A client that sends to a server which does not read, and talks to another
/// which does.
struct Stall {
    wire: Wire,
    server: Puppet,
    client: Puppet,
    agent: Agent,
    /// When the window was seen to be zero.
    since: Instant,
}

impl Stall {
    fn begin() -> Self {
        let wire = Wire::create().unwrap();
        wire.add_address(&wire.server, OTHER).unwrap();
        let (mut server, mut client) = (in_netns(&wire.server), in_netns(&wire.client));
        let mut reading = in_netns(&wire.server);
        server.run("l = listen('', 80)").unwrap();
        reading.run("l = listen('', 81)").unwrap();
        let agent = watching(&client, [(Wire::SERVER, "stuck"), (OTHER, "reading")]);
        client.run(&connect_from(Wire::CLIENT, READING_PORT, OTHER, 81)).unwrap();
        client.run("other = c").unwrap();
        client.run(&connect_from(Wire::CLIENT, STUCK_PORT, Wire::SERVER, 80)).unwrap();
        reading.run("s = accept(l)").unwrap();
        server.run("s = accept(l)").unwrap();
        reading.begin("for _ in range(300): receive(s, 2000); s.sendall(b'b')").unwrap();
        client.run("for _ in range(300): other.sendall(bytes(2000)); other.recv(9)").unwrap();
        reading.end().unwrap();
        client.begin(&format!("error_of(c.sendall, bytes({}))", 16 << 20)).unwrap();
        let stall = Self { wire, server, client, agent, since: Instant::now() };
        let is_zero = |socket: &ss::Socket| socket.peer_window == 0;
        let socket = eventually::settle(VISIBLE, || stall.truth(), is_zero);
        assert!(is_zero(&socket), "the server does not read: {socket:?}");
        Self { since: Instant::now(), ..stall }
    }

    fn truth(&self) -> ss::Socket {
        ss::established(&self.wire.client, STUCK_PORT).unwrap()
    }

    fn seconds(&self) -> f64 {
        of(&self.agent, STALLED, "stuck")
    }

    /// Waits until the agent tells of so many seconds; the stall goes on.
    #[track_caller]
    fn wait_for(&self, seconds: f64) {
        let seen = eventually::settle(VISIBLE, || self.seconds(), |seen| *seen >= seconds);
        let truth_s = self.truth().window_limited_ms / 1e3;
        assert!(seen >= seconds && seen <= truth_s + TICKS_S, "{seen}, ss says {truth_s}");
        assert_eq!(of(&self.agent, STALLS, "stuck"), 1.0);
    }

    fn assert_other_edge_has_none(&self) {
        for metric in [STALLS, STALLED] {
            assert_eq!(of(&self.agent, metric, "reading"), 0.0, "{metric}");
        }
        let segments = of(&self.agent, "strata_edge_segments_sent_total", "reading");
        assert!(segments >= 300.0, "{segments}");
    }
}

#[test]
fn a_peer_that_does_not_read_is_a_stall_while_it_lasts_and_has_the_time_it_took() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let mut stall = Stall::begin();
    stall.wait_for(2.0);
    let socket = stall.agent.socket().display().to_string();
    let net = || {
        let args = ["net", "--once", "-o", "json", "--interval", "2s", "--peer", "stuck"];
        let output = run_once(&[], &[args.as_slice(), &["--socket", &socket]].concat(), LIMIT);
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.filter_map(|row| row["zero_window_connections"].as_f64()).sum::<f64>()
    };
    let seen = eventually::settle(VISIBLE, net, |share| *share > 0.1);
    assert!(seen > 0.1, "{seen}");

    let known_s = stall.since.elapsed().as_secs_f64();
    let step = format!("receive(s, {})", 16 << 20);
    assert_eq!(stall.server.run(&step).unwrap(), 16 << 20);
    assert_eq!(stall.client.end().unwrap(), "ok");
    // All that the window took, without the little that it took while the rest
    // was read.
    let truth_s = stall.truth().window_limited_ms / 1e3;
    assert!(truth_s >= known_s - TICKS_S, "{known_s}, ss says {truth_s}");
    let is_whole = |seen: &f64| *seen >= known_s - TICKS_S;
    let seen = eventually::settle(VISIBLE, || stall.seconds(), is_whole);
    assert!(is_whole(&seen) && seen <= truth_s + TICKS_S, "{known_s} <= {seen} <= {truth_s}");
    stall.assert_other_edge_has_none();
}

#[test]
fn a_stall_that_a_reset_ends_has_its_time_and_goes_on_no_longer() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let mut stall = Stall::begin();
    stall.wait_for(2.0);
    let known_s = stall.since.elapsed().as_secs_f64();
    // Before `ss` is asked: what it takes on a busy machine is not to be missed.
    let asks = Instant::now();
    let before_s = stall.truth().window_limited_ms / 1e3;
    stall.server.run("reset(s)").unwrap();
    assert_eq!(stall.client.end().unwrap(), "ConnectionResetError");
    let most_s = before_s + asks.elapsed().as_secs_f64() + TICKS_S;
    let is_whole = |seen: &f64| *seen >= known_s - TICKS_S;
    let seen = eventually::settle(VISIBLE, || stall.seconds(), is_whole);
    assert!(is_whole(&seen) && seen <= most_s, "{known_s} <= {seen} <= {most_s}");
    // The process still has the socket, which the sweep looks at.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(stall.seconds(), seen);
    stall.client.run("c.close()").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!((stall.seconds(), of(&stall.agent, STALLS, "stuck")), (seen, 1.0));
    stall.assert_other_edge_has_none();
}
