//! Alarms for real: a fault on a wire, and the alert of the shipped rules at
//! the webhook of an Alertmanager; the same wire mended, and the alert goes.
//!
//! What belongs here: whole chains from a packet to a notice, and the numbers
//! of an edge against the wire's own.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tests::agent_process::Agent;
use tests::alertmanager::{self, Alertmanager, Notice};
use tests::netns::{Netns, Wire};
use tests::nft::{self, Loss, Rules};
use tests::prometheus::{Alarms, Prometheus};
use tests::puppet::Puppet;
use tests::require::has_tool;
use tests::{eventually, require, round_trips, rules, ss, sys};

use crate::expect::{VISIBLE, own_losses};

/// How long an alert may take: windows and waits are of seconds here.
const ALARM: Duration = Duration::from_secs(90);

/// Times by value: what is ten minutes in earnest is three seconds here.
const SHORT: &[(&str, &str)] =
    &[("window", "10s"), ("jitter_for", "3s"), ("jitter_samples", "30"), ("retransmit_for", "3s")];

/// What the network of a wire is called, and what that makes of its peers.
const NETWORK: &str = "10.77.0.0/24=lab";
const PEER: &[(&str, &str)] = &[("peer_workload", "lab"), ("scope", "external")];

fn missing() -> Option<&'static str> {
    if !sys::is_root() {
        return Some("root is needed");
    }
    let tools = ["ip", "nsenter", "ss", "python3", "prometheus", alertmanager::PROGRAM];
    if !tools.iter().all(|tool| has_tool(tool)) {
        return Some("iproute2, Python, Prometheus and Alertmanager are needed");
    }
    (!nft::is_usable()).then_some("nftables does not work here")
}

fn in_netns(netns: &Netns) -> Puppet {
    Puppet::start(|argv| netns.command(argv)).unwrap()
}

/// An agent that watches a process, a Prometheus with the shipped rules that
/// scrapes it, and an Alertmanager that is told.
struct Chain {
    agent: Agent,
    prometheus: Prometheus,
    alerts: Alertmanager,
    _rules: tempfile::NamedTempFile,
}

impl Chain {
    fn start(server: &Puppet) -> Self {
        let pid = server.pid().to_string();
        let agent = Agent::start(&["--pid", &pid, "--network-names", NETWORK]).unwrap();
        let alerts = Alertmanager::start().unwrap();
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(file.path(), rules::render(SHORT).unwrap()).unwrap();
        let alarms = Alarms { rules: file.path(), alertmanager: alerts.addr() };
        let prometheus = Prometheus::start_with(&[agent.addr()], Some(alarms)).unwrap();
        Self { agent, prometheus, alerts, _rules: file }
    }

    /// The notice of an alert about the peer of the wire, in time.
    #[track_caller]
    fn wait(&self, alert: &str, status: &str) -> Notice {
        let is_meant =
            |notice: &Notice| PEER.iter().all(|(name, value)| notice.label(name) == *value);
        let found = eventually::until(ALARM, || self.alerts.find(alert, status, is_meant));
        found.unwrap_or_else(|| {
            panic!(
                "no {alert} is {status}; told were {:?}\n{}\n{}",
                self.alerts.notices(),
                self.prometheus.log(),
                self.alerts.log()
            )
        })
    }

    /// The quantile of all that a histogram of the edge has, in microseconds.
    fn quantile_us(&self, quantile: &str, metric: &str) -> Option<f64> {
        let query =
            format!("histogram_quantile({quantile}, sum({metric}{{peer_workload=\"lab\"}}))");
        let value = self.prometheus.scalar(&query).unwrap()?;
        value.is_finite().then_some(value * 1e6)
    }
}

/// What an alert says of a server in a namespace of a wire.
#[track_caller]
fn check_labels(notice: &Notice) {
    for (name, value) in PEER.iter().chain(&[
        ("node", "node-1"),
        ("severity", "warning"),
        ("namespace", ""),
        ("peer_namespace", ""),
    ]) {
        assert_eq!(notice.label(name), *value, "{name} of {notice:?}");
    }
    assert!(notice.label("workload").starts_with("process/python"), "{notice:?}");
    let description = notice.annotations["description"].as_str().unwrap_or_default();
    assert!(
        description.contains(" lab (external)") && description.contains("`strata net`"),
        "{description}"
    );
    assert!(notice.annotations["runbook_url"].as_str().is_some_and(|url| url.ends_with(".md")));
}

#[test]
fn jitter_on_a_wire_is_told_with_its_size_and_resolves() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    require!(std::path::Path::new("/dev/net/tun").exists(), "TUN devices are needed");
    let (delay, jitter) = (Duration::from_millis(1), Duration::from_millis(80));
    let wire = Wire::create_logged(delay, jitter).unwrap();
    let (mut server, mut client) = (in_netns(&wire.server), in_netns(&wire.client));
    server.run("l = listen('', 80)").unwrap();
    let chain = Chain::start(&server);
    // One byte there, one back, as long as somebody asks.
    wire.toggle_jitter().unwrap();
    client.run(&format!("c = connect('{}', 80)", Wire::SERVER)).unwrap();
    server.run("s = accept(l)").unwrap();
    server.begin("while s.recv(9): s.sendall(b'b')").unwrap();
    let converse = |client: &mut Puppet, seconds: u32| {
        let end = format!("end = time.monotonic() + {seconds}");
        let step = "while time.monotonic() < end: c.sendall(b'a'); c.recv(9)";
        client.run(&format!("{end}\n{step}")).unwrap();
    };
    let told = |status| {
        chain.alerts.find("StrataEdgeJitter", status, |notice| {
            PEER.iter().all(|(name, value)| notice.label(name) == *value)
        })
    };
    // At least as long as the window, for the numbers below.
    converse(&mut client, 15);
    for _ in 0..30 {
        if told("firing").is_some() {
            break;
        }
        converse(&mut client, 2);
    }
    check_labels(&chain.wait("StrataEdgeJitter", "firing"));

    // What the kernel's estimator makes of the delays that the wire gave.
    let trips = round_trips::of_server(&wire.log().unwrap()).unwrap();
    let truth = round_trips::estimate(&trips);
    let settled = truth.get(8..).unwrap_or_default();
    assert!(settled.len() > 100, "{} round trips", trips.len());
    let median = |of: fn(&(u32, u32)) -> u32| {
        f64::from(round_trips::median(settled.iter().map(of).collect()))
    };
    let truths = [("rtt", median(|(rtt, _)| *rtt)), ("jitter", median(|(_, jitter)| *jitter))];
    for (name, truth) in truths {
        let metric = format!("strata_edge_{name}_seconds");
        let is_near =
            |seen: &Option<f64>| seen.is_some_and(|us| (us - truth).abs() <= truth * 0.25);
        let observe = || chain.quantile_us("0.5", &metric);
        let seen = eventually::settle(VISIBLE, observe, is_near);
        assert!(
            is_near(&seen),
            "{name}: {seen:?} us, by the wire {truth}\n{}",
            own_losses(&chain.agent)
        );
    }

    wire.toggle_jitter().unwrap();
    for _ in 0..30 {
        if told("resolved").is_some() {
            break;
        }
        converse(&mut client, 2);
    }
    check_labels(&chain.wait("StrataEdgeJitter", "resolved"));
    client.run("c.close()").unwrap();
    server.end().unwrap();
}

#[test]
fn loss_on_a_wire_is_told_and_counted_as_the_socket_counts_it_and_resolves() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let wire = Wire::create().unwrap();
    wire.send_single_segments().unwrap();
    let (mut server, mut client) = (in_netns(&wire.server), in_netns(&wire.client));
    server.run("l = listen('', 8080)").unwrap();
    // The same on a wire without loss, from the same process.
    let mut near = in_netns(&wire.server);
    let chain = Chain::start(&server);
    client.run(&format!("c = connect('{}', 8080)", Wire::SERVER)).unwrap();
    server.run("s = accept(l)").unwrap();
    near.run("n = connect('127.0.0.1', 8080)").unwrap();
    server.run("t = accept(l)").unwrap();
    let ask = r"c.sendall(b'GET / HTTP/1.1\r\nHost: a\r\n\r\n')";
    let transfer = |server: &mut Puppet, client: &mut Puppet, bytes: u32| {
        server.begin(&format!("(s.recv(99), s.sendall(bytes({bytes})))[1]")).unwrap();
        client.run(&format!("{ask}; assert receive(c, {bytes}) == {bytes}")).unwrap();
        server.end().unwrap();
    };
    for _ in 0..50 {
        near.run(r"n.sendall(b'GET / HTTP/1.1\r\nHost: a\r\n\r\n')").unwrap();
        server.run("(t.recv(99), t.sendall(bytes(1000)))[1]").unwrap();
        near.run("receive(n, 1000)").unwrap();
    }
    let lossy = [Loss::RandomData { per_ten_thousand: 200 }];
    let faults = Rules::install(&wire.client, &lossy).unwrap();
    let told = |status| {
        chain
            .alerts
            .find("StrataEdgeRetransmits", status, |notice| notice.label("scope") == "external")
    };
    // Over twenty thousand segments, and until it is told.
    for round in 0..120 {
        transfer(&mut server, &mut client, 2 << 20);
        if round >= 15 && told("firing").is_some() {
            break;
        }
    }
    check_labels(&chain.wait("StrataEdgeRetransmits", "firing"));
    assert!(faults.lost().unwrap() > 200);

    // Two connections have this port: the far one is asked for by its peer.
    let truth = ss::established_to(&wire.server, 8080, Wire::CLIENT).unwrap();
    assert!(truth.data_segments_out > 20_000, "{truth:?}");
    let edge =
        |name: &str, labels: &[(&str, &str)]| chain.agent.scrape().unwrap().sum(name, labels);
    let far = |name: &str| edge(name, PEER);
    let sent = truth.data_segments_out as f64;
    let segments = "strata_edge_segments_sent_total";
    let seen = eventually::settle(VISIBLE, || far(segments), |seen| *seen >= sent);
    assert!((seen - sent).abs() <= sent * 0.05, "{seen} segments, ss says {truth:?}");
    let again = far("strata_edge_retransmits_total");
    let wanted = truth.retransmits as f64;
    assert!((again - wanted).abs() <= wanted * 0.05, "{again} again, ss says {truth:?}");
    // The other edge of the same process has what its own socket has: a busy
    // machine makes TCP's tail-loss probe fire now and then.
    let near = ss::established_to(&wire.server, 8080, IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    assert!(near.retransmits < 20, "loopback lost some: {near:?}");
    let loopback = [("scope", "loopback")];
    let counts = || {
        ["strata_edge_segments_sent_total", "strata_edge_retransmits_total"]
            .map(|name| edge(name, &loopback))
    };
    let wanted = [near.data_segments_out as f64, near.retransmits as f64];
    assert_eq!(eventually::settle(VISIBLE, counts, |seen| *seen == wanted), wanted);

    drop(faults);
    for _ in 0..120 {
        if told("resolved").is_some() {
            break;
        }
        transfer(&mut server, &mut client, 1 << 20);
        std::thread::sleep(Duration::from_millis(200));
    }
    check_labels(&chain.wait("StrataEdgeRetransmits", "resolved"));
}

/// Tests of the rules themselves, without a network.
#[test]
fn promtool_agrees_with_the_rules_and_their_tests() {
    require!(has_tool("promtool"), "promtool is not installed");
    let tests = ["test", "rules", "tests/rules.test.yaml", "tests/slow.test.yaml"];
    for arguments in [["check", "rules", "rules.yaml"].as_slice(), &tests] {
        let mut command = std::process::Command::new("promtool");
        let output = command.args(arguments).current_dir(rules::path("")).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }
}
