//! Clients that connect to pods elsewhere, an agent that counts them, and what
//! it shows.
//!
//! Separate from the tests: here is who connected to whom, exactly, since each
//! step is made by the test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tests::agent_process::Agent;
use tests::netns::Wire;
use tests::peers::{Api, Kind, pod};
use tests::process;
use tests::puppet::Puppet;
use tests::require::has_tool;
use tests::sys;

/// Why none of this can be had.
pub(super) fn missing() -> Option<&'static str> {
    if !sys::is_root() {
        return Some("root is needed");
    }
    let has_all = ["ip", "nsenter", "python3"].iter().all(|tool| has_tool(tool));
    (!has_all).then_some("iproute2, util-linux and Python are needed")
}

/// Addresses 10.88.0.0/16, all of one server, as pods of another node.
pub(super) struct Lan {
    wire: Wire,
    _server: Puppet,
}

impl Lan {
    pub(super) fn create() -> Self {
        let wire = Wire::create().unwrap();
        let ip = |netns: &tests::netns::Netns, args: &str| {
            let argv: Vec<_> =
                format!("ip route add {args}").split(' ').map(str::to_owned).collect();
            process::run(&mut netns.command(&argv)).unwrap();
        };
        ip(&wire.server, "local 10.88.0.0/16 dev lo");
        ip(&wire.client, &format!("10.88.0.0/16 via {}", Wire::SERVER));
        let mut server = Puppet::start(|argv| wire.server.command(argv)).unwrap();
        server.run("l = listen('', 80, 128)").unwrap();
        server.run("def serve():\n while True: accept(l).close()").unwrap();
        server.run("threading.Thread(target=serve, daemon=True).start()").unwrap();
        Self { wire, _server: server }
    }

    pub(super) fn client(&self) -> Puppet {
        Puppet::start(|argv| self.wire.client.command(argv)).unwrap()
    }
}

/// A pod's address.
pub(super) fn address(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 88, high, low)
}

/// Connects to each once.
pub(super) fn connect(client: &mut Puppet, to: &[Ipv4Addr]) {
    let all: Vec<String> = to.iter().map(|address| format!("'{address}'")).collect();
    client.run(&format!("[connect(a, 80).close() for a in [{}]]", all.join(", "))).unwrap();
}

/// An agent that counts these clients, and asks here who their peers are.
pub(super) struct Watched {
    pub(super) agent: Agent,
    _dir: tempfile::TempDir,
}

impl Watched {
    pub(super) fn start(clients: &[&Puppet], peers: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file: PathBuf = dir.path().join("strata.yaml");
        let pids: Vec<String> = clients.iter().map(|client| client.pid().to_string()).collect();
        let pids = pids.join(", ");
        let text = format!(
            "watch:\n  pids: [{pids}]\nnetwork:\n  peers: http://{peers}\n\
             governor:\n  enabled: false\n"
        );
        std::fs::write(&file, text).unwrap();
        let agent = Agent::start(&["--config", &file.display().to_string()]).unwrap();
        Self { agent, _dir: dir }
    }

    /// Connects that it shows, by the name of the peer without its kind; empty
    /// for those without.
    pub(super) fn shown(&self) -> BTreeMap<String, u64> {
        let metrics = self.agent.scrape().unwrap();
        let by = metrics.sum_by("strata_edge_connects_total", &[("result", "ok")], "peer_workload");
        let name = |workload: String| workload.trim_start_matches("deployment/").to_owned();
        by.into_iter().map(|(workload, count)| (name(workload), count as u64)).collect()
    }

    /// Rounds of its questions that came to this.
    pub(super) fn asks(&self, result: &str) -> u64 {
        let metrics = self.agent.scrape().unwrap();
        metrics.sum("strata_agent_peer_asks_total", &[("result", result)]) as u64
    }
}

/// How many of these are shown.
pub(super) fn of(shown: &BTreeMap<String, u64>, name: &str) -> u64 {
    shown.get(name).copied().unwrap_or_default()
}

/// The API server is told of a pod that runs.
pub(super) fn begin(api: &Api, number: u32, of: &str, address: Ipv4Addr) {
    api.put(Kind::Pod, pod(number, of, address, false).1);
}

/// It is told that the pod is ending, then that it is gone.
pub(super) fn end(api: &Api, number: u32, of: &str, address: Ipv4Addr) {
    let (uid, ending) = pod(number, of, address, true);
    api.put(Kind::Pod, ending);
    api.remove(Kind::Pod, &uid);
}
