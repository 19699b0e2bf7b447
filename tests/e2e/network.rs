//! The tcp lane against injected truths: loss, resets, waits and distance of
//! known size.
//!
//! What belongs here: a fault put on a wire or into a socket on purpose, and
//! what the metrics of the process at one end say of it. Each fault must show
//! under its own name and under no other.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tests::agent_process::Agent;
use tests::cgroup::Cgroup;
use tests::containers::Ids;
use tests::metrics_text::Metrics;
use tests::netns::{Netns, Wire};
use tests::nft::{self, Loss, Rules};
use tests::puppet::{self, Puppet};
use tests::require::has_tool;
use tests::{eventually, require, ss, sys};

use crate::expect::{VISIBLE, own_losses};

const RETRANSMITS: &str = "strata_tcp_retransmits_total";
const SEGMENTS: &str = "strata_tcp_segments_sent_total";
const RESETS: &str = "strata_tcp_resets_total";
const CONNECTS: &str = "strata_tcp_connects_total";
const CONNECT_COUNT: &str = "strata_tcp_connect_seconds_count";
const CONNECT_SUM: &str = "strata_tcp_connect_seconds_sum";
const RTT: &str = "strata_tcp_rtt_seconds";
const RTT_COUNT: &str = "strata_tcp_rtt_seconds_count";
const JITTER: &str = "strata_tcp_jitter_seconds";
const ACCEPT_COUNT: &str = "strata_tcp_accept_wait_seconds_count";
const ACCEPT_SUM: &str = "strata_tcp_accept_wait_seconds_sum";

/// What all of these need; why not, if it is not here.
fn missing() -> Option<&'static str> {
    if !sys::is_root() {
        return Some("root is needed");
    }
    let tools = ["ip", "nsenter", "ss", "python3"];
    if !tools.iter().all(|tool| has_tool(tool)) {
        return Some("iproute2, util-linux and Python are needed");
    }
    (!nft::is_usable()).then_some("nftables does not work here")
}

fn in_netns(netns: &Netns) -> Puppet {
    Puppet::start(|argv| netns.command(argv)).unwrap()
}

fn in_container(netns: &Netns, cgroup: &Cgroup) -> Puppet {
    Puppet::start(|argv| cgroup.command(&puppet::argv_of(&netns.command(argv)))).unwrap()
}

/// An agent that watches this process alone.
fn watching(puppet: &Puppet) -> Agent {
    Agent::start(&["--pid", &puppet.pid().to_string()]).unwrap()
}

/// A scrape, of what runs outside of containers: those of others are watched
/// too, if there are any.
fn host_scrape(agent: &Agent) -> Metrics {
    agent.scrape().unwrap().only(&[("container", "")])
}

/// Waits until a sum is there, and gives the scrape.
#[track_caller]
fn scrape_with(agent: &Agent, name: &str, labels: &[(&str, &str)], wanted: f64) -> Metrics {
    let scrape = || host_scrape(agent);
    let last = eventually::settle(VISIBLE, scrape, |metrics| metrics.sum(name, labels) == wanted);
    let seen: Vec<_> = last.select(name, &[]).map(|s| (&s.labels, s.value)).collect();
    assert_eq!(last.sum(name, labels), wanted, "{seen:?}\n{}", own_losses(agent));
    last
}

/// Retransmits by kind, over all scopes.
fn retransmits(metrics: &Metrics, kind: &str) -> f64 {
    metrics.sum(RETRANSMITS, &[("kind", kind)])
}

#[track_caller]
fn assert_within(seen: f64, truth: f64, share: f64, what: &str) {
    assert!((seen - truth).abs() <= truth * share, "{what}: {seen}, in truth {truth}");
}

/// A server in a container of its own, with one connection to a client.
struct Pair<'a> {
    wire: &'a Wire,
    ids: Ids,
    server: Puppet,
    client: Puppet,
    _cgroup: Cgroup,
}

impl<'a> Pair<'a> {
    const PORT: u16 = 8080;

    fn create(wire: &'a Wire) -> Self {
        wire.send_single_segments().unwrap();
        let ids = Ids::unique();
        let cgroup = Cgroup::create(&ids.cgroup_path()).unwrap();
        let mut server = in_container(&wire.server, &cgroup);
        server.run(&format!("l = listen('', {})", Self::PORT)).unwrap();
        let client = in_netns(&wire.client);
        Self { wire, ids, server, client, _cgroup: cgroup }
    }

    fn connect(&mut self) {
        let (host, port) = (Wire::SERVER, Self::PORT);
        self.client.run(&format!("c = connect('{host}', {port})")).unwrap();
        self.server.run("s = accept(l)").unwrap();
    }

    /// The server answers so many requests with so many bytes each.
    fn transfer(&mut self, times: u32, bytes: u32) {
        self.server
            .begin(&format!("for _ in range({times}): s.recv(99); s.sendall(bytes({bytes}))"))
            .unwrap();
        let ask = r"c.sendall(b'GET / HTTP/1.1\r\nHost: a\r\n\r\n')";
        let step = format!("for _ in range({times}): {ask}; assert receive(c, {bytes}) == {bytes}");
        self.client.run(&step).unwrap();
        self.server.end().unwrap();
    }

    fn truth(&self) -> ss::Socket {
        ss::established(&self.wire.server, Self::PORT).unwrap()
    }
}

#[test]
fn lost_data_is_counted_as_the_socket_counts_it_and_only_where_it_was_lost() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    // Both servers have the same address and port, in namespaces of their own.
    let (lossy_wire, calm_wire) = (Wire::create().unwrap(), Wire::create().unwrap());
    let (mut lossy, mut calm) = (Pair::create(&lossy_wire), Pair::create(&calm_wire));
    let agent = Agent::start(&[]).unwrap();
    lossy.connect();
    calm.connect();
    // Lost where it arrives: a drop at the sender would be an error to its TCP.
    let rules =
        Rules::install(&lossy_wire.client, &[Loss::RandomData { per_ten_thousand: 200 }]).unwrap();
    lossy.transfer(1, 32 << 20);
    // No burst that could overflow a queue of a busy machine.
    calm.transfer(300, 20_000);
    let (lost, truth, quiet) = (rules.lost().unwrap() as f64, lossy.truth(), calm.truth());
    let (sent, again) = (truth.data_segments_out as f64, truth.retransmits as f64);
    assert!(sent > 20_000.0 && lost > sent / 100.0, "{lost} lost of {truth:?}");
    assert!(again >= lost, "ss says {truth:?}, {lost} were lost");
    // A busy machine makes TCP's tail-loss probe fire now and then.
    assert!(quiet.retransmits < 20, "the wire without rules lost some: {quiet:?}");

    let labels = [("container", lossy.ids.short()), ("kind", "data")];
    let calm = [("container", calm.ids.short())];
    let is_whole = |metrics: &Metrics| {
        metrics.sum(SEGMENTS, &labels[..1]) >= sent
            && metrics.sum(SEGMENTS, &calm) >= quiet.data_segments_out as f64
    };
    let metrics = eventually::settle(VISIBLE, || agent.scrape().unwrap(), is_whole);
    assert_within(metrics.sum(RETRANSMITS, &labels), again, 0.05, "retransmits");
    assert_within(metrics.sum(SEGMENTS, &labels[..1]), sent, 0.05, "segments sent");
    let segments = metrics.sum(SEGMENTS, &calm);
    assert_within(segments, quiet.data_segments_out as f64, 0.05, "segments without loss");
    assert_eq!(metrics.sum(RETRANSMITS, &calm), quiet.retransmits as f64, "without loss");
    for kind in ["syn", "synack"] {
        assert_eq!(metrics.sum(RETRANSMITS, &[labels[0], ("kind", kind)]), 0.0, "{kind}");
    }
}

#[test]
fn a_syn_lost_once_is_one_retransmit_and_a_connect_of_a_second() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let wire = Wire::create().unwrap();
    let (mut server, mut client) = (in_netns(&wire.server), in_netns(&wire.client));
    server.run("l = listen('', 80)").unwrap();
    let agent = watching(&client);
    let connect = format!("c = connect('{}', 80)", Wire::SERVER);

    client.run(&connect).unwrap();
    let quick = scrape_with(&agent, CONNECTS, &[("result", "ok")], 1.0);
    assert!(quick.sum(CONNECT_SUM, &[]) < 0.1, "{}", quick.sum(CONNECT_SUM, &[]));
    assert_eq!(retransmits(&quick, "syn"), 0.0, "nothing was lost yet");

    let rules = Rules::install(&wire.server, &[Loss::FirstSyn]).unwrap();
    client.run(&connect).unwrap();
    assert_eq!((rules.syns().unwrap(), rules.lost().unwrap()), (2, 1));
    let slow = scrape_with(&agent, CONNECTS, &[("result", "ok")], 2.0);
    let took = slow.sum(CONNECT_SUM, &[]) - quick.sum(CONNECT_SUM, &[]);
    assert!((0.9..1.6).contains(&took), "{took}");
    assert_eq!(slow.sum(CONNECT_COUNT, &[]), 2.0);
    assert_eq!(retransmits(&slow, "syn"), 1.0);
    assert_eq!(slow.sum(RETRANSMITS, &[]), 1.0, "of no other kind");
    assert_eq!(slow.sum(CONNECTS, &[]), 2.0, "with no other result");
}

#[test]
fn a_lost_answer_to_a_syn_is_counted_for_the_server() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let wire = Wire::create().unwrap();
    let (mut server, mut client) = (in_netns(&wire.server), in_netns(&wire.client));
    server.run("l = listen('', 80)").unwrap();
    let agent = watching(&server);
    let rules = Rules::install(&wire.client, &[Loss::FirstSynAck]).unwrap();
    client.run(&format!("c = connect('{}', 80)", Wire::SERVER)).unwrap();
    server.run("s = accept(l)").unwrap();
    // The server's own timer and the client's second SYN come at the same
    // time: there is one answer too many, or two.
    let again = rules.synacks().unwrap() - rules.lost().unwrap();
    assert!((1..=2).contains(&again), "{again}");
    let metrics = scrape_with(&agent, RETRANSMITS, &[("kind", "synack")], again as f64);
    assert_eq!(metrics.sum(RETRANSMITS, &[]), again as f64, "of no other kind");
    assert_eq!(metrics.sum(CONNECTS, &[]), 0.0, "the server connected to nobody");
}

#[test]
fn connects_that_fail_are_counted_by_how() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let wire = Wire::create().unwrap();
    let (mut server, mut client) = (in_netns(&wire.server), in_netns(&wire.client));
    server.run("l = listen('', 80)").unwrap();
    let agent = watching(&client);
    let host = Wire::SERVER;
    let refused = format!("[error_of(connect, '{host}', 81) for _ in range(5)]");
    assert_eq!(client.run(&refused).unwrap(), serde_json::json!(vec!["ConnectionRefusedError"; 5]));
    client.run(&format!("good = [connect('{host}', 80) for _ in range(3)]")).unwrap();

    let rules = Rules::install(&wire.server, &[Loss::EverySyn]).unwrap();
    // The process gives up, as dialers with a timeout of their own do.
    client.run("c = socket.socket()\nc.settimeout(0.3)").unwrap();
    assert_eq!(client.run(&format!("error_of(c.connect, ('{host}', 80))")).unwrap(), "timeout");
    client.run("c.close()").unwrap();
    // The kernel gives up, after few SYNs more than the first.
    client
        .run("c = socket.socket()\nc.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)")
        .unwrap();
    assert_eq!(client.run(&format!("error_of(c.connect, ('{host}', 80))")).unwrap(), "ETIMEDOUT");

    let metrics = scrape_with(&agent, CONNECTS, &[], 10.0);
    for (result, count) in [("refused", 5.0), ("ok", 3.0), ("aborted", 1.0), ("timeout", 1.0)] {
        assert_eq!(metrics.sum(CONNECTS, &[("result", result)]), count, "{result}");
    }
    assert_eq!(metrics.sum(CONNECT_COUNT, &[]), 3.0, "only good ones have a time");
    let again = rules.syns().unwrap() - 2;
    assert_eq!(retransmits(&metrics, "syn"), again as f64, "of the one that the kernel gave up");
    assert_eq!(metrics.sum(RESETS, &[("direction", "received")]), 5.0, "of those refused");
}

/// Connects until the accept queue is full and once more, accepts after a
/// while, and holds the agent's sum against both ends' clocks.
fn check_accept_wait(is_served: bool) {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let netns = Netns::create().unwrap();
    let (mut server, mut client) = (in_netns(&netns), in_netns(&netns));
    // A queue of two holds three, by the kernel's way of counting.
    server.run("l = listen('127.0.0.1', 80, backlog=2)").unwrap();
    let agent = watching(&server);
    let works = [("lane", "syscalls"), ("state", "works")];
    let has_calls = agent.scrape().unwrap().sum("strata_agent_lane_state", &works) == 1.0;
    require!(is_served || has_calls, "without the syscalls lane accept is not seen by itself");
    client.run("made = []\nat = []").unwrap();
    let connect = "made.append(connect('127.0.0.1', 80)); at.append(time.monotonic())";
    let ask = if is_served { "; made[-1].sendall(b'PING\\r\\n')" } else { "" };
    client.run(&format!("for _ in range(3): {connect}{ask}")).unwrap();
    // No room: its SYN is dropped and sent again.
    client.begin(&format!("{connect}{ask}")).unwrap();
    let code = "time.sleep(1)\ntaken = []\nsockets = []\n\
                for _ in range(4): sockets.append(accept(l)); taken.append(time.monotonic())";
    server.run(code).unwrap();
    client.end().unwrap();
    if is_served {
        server.run("[(s.recv(100), s.sendall(b'PONG')) for s in sockets]").unwrap();
    }
    let seconds = |value: serde_json::Value| value.as_f64().unwrap();
    let truth =
        seconds(server.run("sum(taken)").unwrap()) - seconds(client.run("sum(at)").unwrap());
    assert!(truth > 2.5, "three waited a second each, yet {truth}");

    let metrics = scrape_with(&agent, ACCEPT_COUNT, &[], 4.0);
    // The client's clock is read after its connect returned; the server's
    // after its accept.
    assert_within(metrics.sum(ACCEPT_SUM, &[]), truth, 0.05, "accept wait");
    assert_eq!(metrics.sum(RETRANSMITS, &[]), 0.0, "the client's SYN is not the server's");
    // Without a wait there is none.
    client.run("c = connect('127.0.0.1', 80)").unwrap();
    server.run("s = accept(l)").unwrap();
    client.run("c.sendall(b'PING\\r\\n')").unwrap();
    server.run("(s.recv(100), s.sendall(b'PONG'))").unwrap();
    let after = scrape_with(&agent, ACCEPT_COUNT, &[], 5.0);
    let more = after.sum(ACCEPT_SUM, &[]) - metrics.sum(ACCEPT_SUM, &[]);
    assert!(more < 0.1, "{more}");
}

#[test]
fn connections_that_wait_to_be_accepted_show_for_how_long() {
    check_accept_wait(true);
}

#[test]
fn connections_that_are_accepted_and_stay_silent_show_their_wait_too() {
    check_accept_wait(false);
}

#[test]
fn resets_are_counted_by_direction() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let wire = Wire::create().unwrap();
    let (mut server, mut client) = (in_netns(&wire.server), in_netns(&wire.client));
    server.run("l = listen('', 80)").unwrap();
    let agent = watching(&server);
    let connect = format!("c = connect('{}', 80)", Wire::SERVER);
    let open = |server: &mut Puppet, client: &mut Puppet| {
        client.run(&connect).unwrap();
        server.run("s = accept(l)").unwrap();
        client.run(r"c.sendall(b'GET / HTTP/1.1\r\nHost: a\r\n\r\n')").unwrap();
    };
    // Closed in peace.
    open(&mut server, &mut client);
    server.run("s.recv(1000)").unwrap();
    client.run("c.close()").unwrap();
    server.run("s.recv(1000)\ns.close()").unwrap();
    // Cut off by the client.
    for _ in 0..3 {
        open(&mut server, &mut client);
        server.run("s.recv(1000)").unwrap();
        client.run("reset(c)").unwrap();
        assert_eq!(server.run("error_of(s.recv, 1)").unwrap(), "ConnectionResetError");
        server.run("s.close()").unwrap();
    }
    let received = scrape_with(&agent, RESETS, &[("direction", "received")], 3.0);
    assert_eq!(received.sum(RESETS, &[("direction", "sent")]), 0.0);
    // Closed by the server with the request unread, or with no regard for it.
    for close in ["s.close()", "s.close()", "s.recv(1000)\nreset(s)", "s.close()"] {
        open(&mut server, &mut client);
        server.run("select.select([s], [], [], 5)").unwrap();
        server.run(close).unwrap();
        assert_eq!(client.run("error_of(receive, c, 1)").unwrap(), "ConnectionResetError");
        client.run("c.close()").unwrap();
    }
    let sent = scrape_with(&agent, RESETS, &[("direction", "sent")], 4.0);
    assert_eq!(sent.sum(RESETS, &[("direction", "received")]), 3.0);
}

/// Requests and answers, one byte each way, one after the other. One more
/// request takes the last answer's acknowledgement with it, which would else
/// be delayed and look like distance.
fn converse(server: &mut Puppet, client: &mut Puppet, to: IpAddr, times: u32) {
    client.run(&format!("c = connect('{to}', 80)")).unwrap();
    server.run("s = accept(l)").unwrap();
    server.begin(&format!("for _ in range({times}): s.recv(9); s.sendall(b'b')")).unwrap();
    client.run(&format!("for _ in range({times}): c.sendall(b'a'); c.recv(9)")).unwrap();
    client.run("c.sendall(b'a')").unwrap();
    server.end().unwrap();
    server.run("s.recv(9)").unwrap();
}

/// Mean of a histogram over the series of one scope, in microseconds.
fn mean_us(metrics: &Metrics, name: &str, scope: &str) -> f64 {
    let of = |suffix| metrics.sum(&format!("{name}_{suffix}"), &[("scope", scope)]);
    of("sum") / of("count") * 1e6
}

#[test]
fn distance_and_jitter_are_those_of_the_wire() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    require!(std::path::Path::new("/dev/net/tun").exists(), "TUN devices are needed");
    let (delay, jitter) = (Duration::from_millis(10), Duration::from_millis(8));
    let wire = Wire::create_slow(delay, jitter).unwrap();
    let mut server = in_netns(&wire.server);
    server.run("l = listen('', 80)").unwrap();
    let agent = watching(&server);
    let samples = |metrics: &Metrics, scope| metrics.sum(RTT_COUNT, &[("scope", scope)]);

    let mut client = in_netns(&wire.server);
    converse(&mut server, &mut client, IpAddr::V4(Ipv4Addr::LOCALHOST), 5_000);
    let near = ss::established(&wire.server, 80).unwrap();
    server.run("s.close()").unwrap();
    drop(client);
    let scrape = || host_scrape(&agent);
    let metrics = eventually::settle(VISIBLE, scrape, |m| samples(m, "loopback") > 50.0);
    assert_eq!(samples(&metrics, "unknown"), 0.0, "all of it was on this node");
    // The mean over all of it, and the value at the end, which one late
    // acknowledgement on a busy machine may spoil.
    let (rtt, deviation) =
        (mean_us(&metrics, RTT, "loopback"), mean_us(&metrics, JITTER, "loopback"));
    assert!((near.rtt_us / 30.0..near.rtt_us * 30.0).contains(&rtt), "{rtt}, ss: {near:?}");
    assert!(rtt > 1.0 && rtt < 1_000.0, "{rtt}");
    assert!(deviation > 0.1 && deviation < 1_000.0, "{deviation}");

    let mut client = in_netns(&wire.client);
    converse(&mut server, &mut client, Wire::SERVER, 100);
    let far = ss::established(&wire.server, 80).unwrap();
    let metrics = eventually::settle(VISIBLE, scrape, |m| samples(m, "unknown") >= 30.0);
    let count = samples(&metrics, "unknown");
    assert!((30.0..=101.0).contains(&count), "{count}: one a round trip, the first few left out");
    // There and back, and every second packet late.
    let truth = 2.0 * delay.as_secs_f64() * 1e6 + jitter.as_secs_f64() * 1e6;
    assert_within(far.rtt_us, truth, 0.25, "the wire itself, by ss");
    assert_within(mean_us(&metrics, RTT, "unknown"), truth, 0.25, "round trip");
    // Half of them are 4 ms less than the mean and half 4 ms more, in each
    // direction; the deviation begins at half the first round trip.
    let spread = jitter.as_secs_f64() * 1e6;
    let seen = mean_us(&metrics, JITTER, "unknown");
    assert!((spread * 0.5..spread * 1.6).contains(&seen), "jitter {seen}, ss: {far:?}");
}
