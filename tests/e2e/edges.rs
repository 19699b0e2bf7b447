//! Edges: who the peers of a workload are, by metrics and by `strata net`.
//!
//! What belongs here: names and bounds of edges. What faults on a wire do to
//! their numbers is in `alarms`.

use std::time::Duration;

use serde_json::Value;
use tests::agent_process::{Agent, run_once};
use tests::netns::{Netns, Wire};
use tests::puppet::Puppet;
use tests::require::has_tool;
use tests::{eventually, require, sys};

use crate::expect::VISIBLE;

const SEGMENTS: &str = "strata_edge_segments_sent_total";
const CONNECTS: &str = "strata_edge_connects_total";
/// Longer than anything here takes that ends by itself.
const LIMIT: Duration = Duration::from_secs(60);

fn missing() -> Option<&'static str> {
    if !sys::is_root() {
        return Some("root is needed");
    }
    let has_all = ["ip", "nsenter", "python3"].iter().all(|tool| has_tool(tool));
    (!has_all).then_some("iproute2, util-linux and Python are needed")
}

fn in_netns(netns: &Netns) -> Puppet {
    Puppet::start(|argv| netns.command(argv)).unwrap()
}

/// A configuration that watches a process and names the network of wires.
fn config(pid: u32, network: &str) -> String {
    format!(
        "watch:\n  pids: [{pid}]\nnetwork:\n  names: ['10.77.0.0/24={network}']\n\
         governor:\n  enabled: false\n"
    )
}

#[test]
fn an_edge_has_the_name_that_the_configuration_gives_now_and_net_shows_it() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let wire = Wire::create().unwrap();
    let (mut server, mut client) = (in_netns(&wire.server), in_netns(&wire.client));
    server.run("l = listen('', 80)").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("strata.yaml");
    std::fs::write(&file, config(server.pid(), "lab")).unwrap();
    let agent = Agent::start(&["--config", &file.display().to_string()]).unwrap();
    client.run(&format!("c = connect('{}', 80)", Wire::SERVER)).unwrap();
    server.run("s = accept(l)").unwrap();
    server.begin("while s.recv(9): s.sendall(b'b')").unwrap();
    let converse = "while time.monotonic() < end: c.sendall(b'a'); c.recv(9); time.sleep(0.001)";

    // While they talk, for longer than a look takes.
    client.begin(&format!("end = time.monotonic() + 20\n{converse}")).unwrap();
    let socket = agent.socket().display().to_string();
    let net = |more: &[&str]| {
        let args = ["net", "--once", "-o", "json", "--interval", "2s", "--socket", &socket];
        let output = run_once(&[], &[args.as_slice(), more].concat(), LIMIT).unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let is_there = |rows: &Vec<Value>| rows.iter().any(|row| row["peer_workload"] == "lab");
    let rows = eventually::settle(VISIBLE, || net(&["--scope", "external"]), is_there);
    let row = rows.iter().find(|row| row["peer_workload"] == "lab");
    let row = row.unwrap_or_else(|| panic!("{rows:?}"));
    let number = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}"));
    assert!(number("segments_per_second") > 1.0, "{row}");
    assert!(number("rtt_p50_seconds") > 0.0 && number("jitter_p90_seconds") > 0.0, "{row}");
    assert!(row["workload"].as_str().unwrap().starts_with("process/"), "{row}");
    assert!(net(&["--peer", "nobody"]).is_empty());
    client.end().unwrap();

    // Another name: what was counted until then stays under the old one.
    let of = |name: &str| agent.scrape().unwrap().sum(SEGMENTS, &[("peer_workload", name)]);
    let before = of("lab");
    std::fs::write(&file, config(server.pid(), "office")).unwrap();
    let step = format!("end = time.monotonic() + 1\n{converse}");
    let talk = |client: &mut Puppet| client.run(&step).map(|_| of("office"));
    let mut office = 0.0;
    for _ in 0..20 {
        office = talk(&mut client).unwrap();
        if office > 0.0 {
            break;
        }
    }
    assert!(office > 0.0, "{}", agent.log());
    assert!(of("lab") >= before);
    client.run("c.close()").unwrap();
    server.end().unwrap();
}

#[test]
fn peers_of_a_client_are_counted_by_how_connects_end() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let wire = Wire::create().unwrap();
    let (mut server, mut client) = (in_netns(&wire.server), in_netns(&wire.client));
    server.run("l = listen('', 80)").unwrap();
    let names = "10.77.0.0/24=lab";
    let pid = client.pid().to_string();
    let agent = Agent::start(&["--pid", &pid, "--network-names", names]).unwrap();
    let host = Wire::SERVER;
    client.run(&format!("good = [connect('{host}', 80) for _ in range(3)]")).unwrap();
    client.run(&format!("[error_of(connect, '{host}', 81) for _ in range(5)]")).unwrap();
    let lab = [("peer_workload", "lab"), ("scope", "external")];
    let sum =
        |result: &str| agent.scrape().unwrap().sum(CONNECTS, &[lab[0], lab[1], ("result", result)]);
    let seen = eventually::settle(VISIBLE, || sum("refused"), |seen| *seen == 5.0);
    assert_eq!(seen, 5.0);
    assert_eq!(sum("ok"), 3.0);
    assert_eq!(sum("timeout") + sum("aborted"), 0.0);
    let resets = [lab[0], ("direction", "received")];
    let received = agent.scrape().unwrap().sum("strata_edge_resets_total", &resets);
    assert_eq!(received, 5.0, "each that was refused");
    let took = agent.scrape().unwrap().sum("strata_edge_connect_seconds_total", &lab);
    assert!(took > 0.0 && took < 1.0, "{took}");
    // Whatever address of it: the host itself is one peer, and has no name.
    client.run("m = listen('', 82)").unwrap();
    client.run("own = [connect(f'127.1.0.{n}', 82) for n in range(2, 12)]").unwrap();
    let loopback = || agent.scrape().unwrap().sum(CONNECTS, &[("scope", "loopback")]);
    assert_eq!(eventually::settle(VISIBLE, loopback, |seen| *seen == 10.0), 10.0);
    let all = agent.scrape().unwrap().sum(CONNECTS, &[]);
    assert_eq!(all, agent.scrape().unwrap().sum("strata_tcp_connects_total", &[]));
}
