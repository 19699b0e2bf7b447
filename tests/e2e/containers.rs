//! Identity of containers by their cgroup paths.
//!
//! What belongs here: which workload a request is counted for, with real
//! containers and with the paths of every runtime and cgroup driver.

use std::time::Duration;

use tests::agent_process::Agent;
use tests::cgroup::Cgroup;
use tests::containers::{Ids, containerd::Containerd, runc};
use tests::load::{Call, redis, sequential};
use tests::require::has_tool;
use tests::workload::{Kind, Server, Workload};
use tests::{eventually, require, sys};

use crate::expect::{HTTP, OUTSIDE, TURNS, assert_sum, own_losses};

/// A new pod's series may wait 30 s for its name.
const NAMED: Duration = Duration::from_secs(45);

/// Waits until the sum under these labels is `wanted`, then asserts it.
#[track_caller]
fn assert_named(agent: &Agent, name: &str, labels: &[(&str, &str)], wanted: u64) {
    let observe = || agent.scrape().unwrap().sum(name, labels);
    let seen = eventually::settle(NAMED, observe, |seen| *seen == wanted as f64);
    let others = agent.scrape().unwrap();
    let others: Vec<_> = others.select(name, &[]).map(|s| (&s.labels, s.value)).collect();
    assert_eq!(seen, wanted as f64, "{labels:?}; there is {others:?}\n{}", own_losses(agent));
}

/// The label of requests that were answered well.
const OK: (&str, &str) = ("http_response_status_code", "200");

/// Labels of a container in a pod whose metadata nobody has.
fn pod_labels<'a>(ids: &'a Ids, workload: &'a str) -> [(&'static str, &'a str); 4] {
    [("namespace", ""), ("pod", ""), ("container", ids.short()), ("workload", workload)]
}

fn pod_workload(ids: &Ids) -> String {
    format!("pod/{}", ids.pod_uid)
}

#[test]
fn requests_to_every_server_in_runc_containers_are_counted_for_their_pods() {
    require!(has_tool("runc"), "runc is not installed");
    let kinds = [Kind::Go, Kind::Python, Kind::Node, Kind::Nginx];
    for kind in kinds {
        require!(kind.is_available(), "{} is not installed", kind.tool());
    }
    // Half of them are there before the agent, half come after it.
    let start = |kind| runc::Container::start(Server::new(kind), Ids::unique(), None).unwrap();
    let mut containers: Vec<_> = kinds[..2].iter().map(|kind| start(*kind)).collect();
    let agent = Agent::start(&[]).unwrap();
    containers.extend(kinds[2..].iter().map(|kind| start(*kind)));

    // Each gets another number of requests, so that no two can be mixed up.
    for (container, count) in containers.iter().zip([100, 200, 300, 400]) {
        sequential::run(container.addr(), &[Call::get("/hello")], count, true).unwrap();
    }
    for (container, count) in containers.iter().zip([100, 200, 300, 400]) {
        let workload = pod_workload(container.ids());
        assert_named(&agent, HTTP, &pod_labels(container.ids(), &workload), count);
        assert_named(&agent, HTTP, &[("container", container.ids().short()), OK], count);
    }
}

#[test]
fn redis_in_a_container_is_counted_for_its_pod() {
    require!(has_tool("runc"), "runc is not installed");
    require!(Kind::Redis.is_available(), "redis-server is not installed");
    let agent = Agent::start(&[]).unwrap();
    let container = runc::Container::start(Server::new(Kind::Redis), Ids::unique(), None).unwrap();
    let count = redis::run(container.addr(), 500).unwrap();
    let workload = pod_workload(container.ids());
    assert_named(&agent, TURNS, &pod_labels(container.ids(), &workload), count);
}

#[test]
fn containers_of_containerd_carry_their_ids_and_runtime() {
    require!(has_tool("containerd") && has_tool("ctr"), "containerd is not installed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let containerd = Containerd::start().unwrap();
    let one = containerd.run(Ids::unique()).unwrap();
    let agent = Agent::start(&[]).unwrap();
    let two = containerd.run(Ids::unique()).unwrap();
    for (container, count) in [(&one, 150), (&two, 250)] {
        sequential::run(container.addr(), &[Call::get("/hello")], count, true).unwrap();
    }
    for (container, count) in [(&one, 150), (&two, 250)] {
        let workload = pod_workload(container.ids());
        assert_named(&agent, HTTP, &pod_labels(container.ids(), &workload), count);
        let info = [
            ("container", container.ids().short()),
            ("container_id", container.ids().container.as_str()),
            ("pod_uid", container.ids().pod_uid.as_str()),
        ];
        assert_named(&agent, "strata_container_info", &info, 1);
    }
}

#[test]
fn a_server_outside_of_containers_is_not_watched_unless_selected() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start(&[]).unwrap();
    sequential::run(server.addr(), &[Call::get("/hello")], 100, true).unwrap();
    assert_sum(&agent, HTTP, OUTSIDE, 0);
}

/// Runs the Go server in a cgroup of this path and expects its requests under
/// these container and workload labels.
fn check_path(path: &str, container: &str, workload: &str) {
    let cgroup = Cgroup::create(path).unwrap();
    let server = Server::new(Kind::Go).start_with(|argv| cgroup.command(argv)).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    sequential::run(server.addr(), &[Call::get("/hello")], 50, true).unwrap();
    let labels = [("namespace", ""), ("pod", ""), ("container", container), ("workload", workload)];
    assert_named(&agent, HTTP, &labels, 50);
    assert_named(&agent, HTTP, &[("container", container), OK], 50);
}

#[test]
fn cgroup_paths_of_every_runtime_and_driver_are_understood() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let ids = Ids::unique();
    let (uid, id, short) = (&ids.pod_uid, &ids.container, ids.short());
    let workload = pod_workload(&ids);
    let sliced = uid.replace('-', "_");
    let slice =
        format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{sliced}.slice");
    check_path(&format!("{slice}/cri-containerd-{id}.scope"), short, &workload);
    check_path(&format!("{slice}/crio-{id}.scope"), short, &workload);
    check_path(&format!("kubepods/besteffort/pod{uid}/{id}"), short, &workload);
    check_path(&format!("kubepods/pod{uid}/{id}"), short, &workload);
    check_path(&format!("node2/kubepods/burstable/pod{uid}/{id}"), short, &workload);
    check_path(&format!("kubepods/burstable/pod{uid}/{id}/nested"), short, &workload);
    check_path(&format!("docker/{id}"), short, "process/goapi");
    check_path(&format!("system.slice/docker-{id}.scope"), short, "process/goapi");
    check_path("system.slice/strata-tests.service", "", "systemd/strata-tests.service");
}

#[test]
fn a_container_in_its_own_network_namespace_is_counted() {
    require!(has_tool("runc") && has_tool("ip"), "runc and iproute2 are needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let wire = tests::netns::Wire::create().unwrap();
    let agent = Agent::start(&[]).unwrap();
    let listen = std::net::SocketAddr::new(tests::netns::Wire::SERVER, 8080);
    let server = Server::new(Kind::Go).listen(listen);
    let container = runc::Container::start(server, Ids::unique(), Some(&wire.server)).unwrap();
    let load = env!("CARGO_BIN_EXE_strata-load");
    let target = listen.to_string();
    let argv = [load, "sequential", "--target", &target, "--count", "300"].map(str::to_owned);
    let output = wire.client.command(&argv).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let workload = pod_workload(container.ids());
    assert_named(&agent, HTTP, &pod_labels(container.ids(), &workload), 300);
    assert_named(&agent, HTTP, &[("container", container.ids().short()), OK], 300);
}
