//! The workloads, the load client and the harness themselves, without an agent.
//!
//! Separate because a count test is worth what its two ends are: here they are
//! held against each other.

use std::net::SocketAddr;
use std::time::Duration;

use tests::containers::{Ids, containerd::Containerd, runc};
use tests::load::{Call, Tally, closed, open, pipelined, racing, redis, sequential, shapes};
use tests::netns::Wire;
use tests::nft::{self, Loss, Rules};
use tests::prometheus::Prometheus;
use tests::require::has_tool;
use tests::workload::{Kind, Server, Workload};
use tests::{cgroup, eventually, http, journal, require, sys};

const HTTP_SERVERS: [Kind; 4] = [Kind::Go, Kind::Python, Kind::Node, Kind::Nginx];

#[test]
fn every_http_server_answers_a_mixed_plan_with_its_statuses() {
    for kind in HTTP_SERVERS {
        require!(kind.is_available(), "{} is not installed", kind.tool());
        let server = Workload::start(kind).unwrap();
        let plan = [
            Call::get("/hello"),
            Call::new("HEAD", "/hello"),
            Call::post("/echo", b"four"),
            Call::get("/status/204"),
            Call::get("/status/304"),
            Call::get("/status/404"),
            Call::get("/status/503"),
        ];
        let tally = sequential::run(server.addr(), &plan, 70, true)
            .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let mut wanted = Tally::default();
        for call in plan.iter().cycle().take(70) {
            let last = call.path.rsplit('/').next().unwrap();
            wanted.add(&call.method, last.parse().unwrap_or(200));
        }
        assert_eq!(tally, wanted, "{kind:?}");
        let short = sequential::run(server.addr(), &plan[..1], 5, false).unwrap();
        assert_eq!(short.count("GET", 200), 5, "{kind:?} with short connections");
    }
}

#[test]
fn the_go_journal_agrees_with_the_client_on_ids_times_and_goroutines() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("journal");
    let server = Server::new(Kind::Go).arg("-log").arg(log.to_string_lossy()).start().unwrap();
    let schedule = open::Schedule {
        path_prefix: "/spin".to_owned(),
        query: "?us=50".to_owned(),
        rate: 1_000.0,
        time: Duration::from_millis(500),
        connections: 8,
    };
    let timings = open::run(server.addr(), &schedule).unwrap();
    let goids = racing::run(server.addr(), &Call::get("/goid"), 100, Duration::from_micros(50));
    let goids = goids.unwrap().goids;
    server.stop().unwrap();

    let entries = journal::read(&log).unwrap();
    assert_eq!((timings.len(), entries.len(), goids.len()), (500, 600, 100));
    for entry in entries.iter().filter(|entry| entry.path.starts_with("/spin/")) {
        let timing = timings[usize::try_from(entry.id.unwrap()).unwrap()];
        assert_eq!((timing.id, timing.status), (entry.id.unwrap(), entry.status));
        assert!(timing.scheduled_ns <= timing.sent_ns, "{timing:?}");
        assert!(
            timing.sent_ns < entry.start_ns && entry.end_ns < timing.received_ns,
            "{timing:?} {entry:?}"
        );
        assert!(entry.end_ns - entry.start_ns >= 50_000, "{entry:?}");
    }
    let by_handler: Vec<_> =
        entries.iter().filter(|entry| entry.path == "/goid").map(|entry| entry.goid).collect();
    assert_eq!(goids, by_handler);
    assert!(
        goids[0] > 0 && goids.iter().all(|goid| *goid == goids[0]),
        "one connection, one goroutine"
    );
}

#[test]
fn every_shape_of_request_is_answered() {
    for kind in [Kind::Go, Kind::Python, Kind::Node] {
        require!(kind.is_available(), "{} is not installed", kind.tool());
        let server = Workload::start(kind).unwrap();
        let addr = server.addr();
        let response = shapes::http10(addr, "/hello").unwrap();
        assert_eq!((response.status, response.keeps_alive), (200, false), "{kind:?}");
        let chunks: [&[u8]; 3] = [b"one", b"two", b"three"];
        let echoed =
            shapes::chunked_upload(addr, "/echo", &chunks, Duration::from_millis(2)).unwrap();
        assert_eq!((echoed.status, echoed.body_bytes), (200, 11), "{kind:?}");
        let continued = shapes::expect_continue(addr, "/echo", b"body").unwrap();
        assert_eq!((continued.interim, continued.body_bytes), (1, 4), "{kind:?}");
        assert_eq!(shapes::half_close(addr, "/sleep?ms=5").unwrap().status, 200, "{kind:?}");
        let bytewise = shapes::bytewise(addr, "/hello", Duration::from_micros(100)).unwrap();
        assert_eq!(bytewise.status, 200, "{kind:?}");
        shapes::abort_before_response(addr, "/sleep?ms=50", Duration::from_millis(5)).unwrap();
        shapes::abort_mid_response(addr, "/big?bytes=50000000", 1_000).unwrap();
        let streamed = sequential::run(addr, &[Call::get("/stream?chunks=3")], 2, true).unwrap();
        assert_eq!(streamed.count("GET", 200), 2, "{kind:?}");
        let batch = pipelined::mixed_batch("/hello", 12);
        let tally = pipelined::run(addr, &batch, 5).unwrap();
        assert_eq!((tally.count("GET", 200), tally.count("HEAD", 200)), (40, 20), "{kind:?}");
        if kind != Kind::Python {
            assert_eq!(
                shapes::event_stream(addr, "/sse?events=50&ms=1", 5).unwrap(),
                200,
                "{kind:?}"
            );
            assert_eq!(shapes::upgrade(addr, "/upgrade", 5).unwrap(), 101, "{kind:?}");
        }
    }
}

#[test]
fn nginx_answers_the_shapes_it_is_asked_for() {
    require!(Kind::Nginx.is_available(), "nginx is not installed");
    let server = Workload::start(Kind::Nginx).unwrap();
    let addr = server.addr();
    assert_eq!(shapes::http10(addr, "/hello").unwrap().status, 200);
    let chunks: [&[u8]; 2] = [b"one", b"two"];
    let pause = Duration::from_millis(2);
    assert_eq!(shapes::chunked_upload(addr, "/echo", &chunks, pause).unwrap().status, 200);
    assert_eq!(shapes::bytewise(addr, "/hello", Duration::from_micros(100)).unwrap().status, 200);
    let mut bytes = 0;
    let file = [Call::get("/file")];
    sequential::run_each(addr, &file, 3, true, |_, response| bytes += response.body_bytes).unwrap();
    assert_eq!(bytes, 3 << 20);
}

#[test]
fn pipelined_posts_and_empty_responses_are_answered_in_order() {
    for kind in HTTP_SERVERS {
        require!(kind.is_available(), "{} is not installed", kind.tool());
        let server = Workload::start(kind).unwrap();
        let plan =
            [Call::get("/status/404"), Call::post("/echo", b"body"), Call::get("/status/204")];
        let tally = pipelined::run(server.addr(), &plan, 20)
            .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let counts = [("GET", 404), ("POST", 200), ("GET", 204)].map(|(m, s)| tally.count(m, s));
        assert_eq!(counts, [20; 3], "{kind:?}");
    }
}

#[test]
fn go_ends_connections_that_are_no_http_1_and_aborts_when_asked() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let mut connection = tests::load::Connection::open(server.addr()).unwrap();
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    connection.read_until_close().unwrap();
    assert!(sequential::run(server.addr(), &[Call::get("/abort")], 1, true).is_err());
}

#[test]
fn go_serves_both_families_on_one_listener_and_files_by_sendfile() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let any = SocketAddr::from(([0u16; 8], 0));
    let server = Server::new(Kind::Go).listen(any).start().unwrap();
    for host in ["127.0.0.1", "127.0.0.5", "::1", "::ffff:127.0.0.1"] {
        let addr = SocketAddr::new(host.parse().unwrap(), server.addr().port());
        let tally = sequential::run(addr, &[Call::get("/hello")], 3, true).unwrap();
        assert_eq!(tally.count("GET", 200), 3, "{host}");
    }
    let addr = SocketAddr::from(([127, 0, 0, 1], server.addr().port()));
    let mut sizes = Vec::new();
    let plan = [Call::get("/file?bytes=300000"), Call::get("/big?bytes=70000")];
    sequential::run_each(addr, &plan, 2, true, |_, response| sizes.push(response.body_bytes))
        .unwrap();
    assert_eq!(sizes, [300_000, 70_000]);
}

#[test]
fn a_downstream_is_called_once_per_request() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("journal");
    let back = Server::new(Kind::Go).arg("-log").arg(log.to_string_lossy()).start().unwrap();
    let url = format!("http://{}/status/418", back.addr());
    let front = Server::new(Kind::Go).arg("-downstream").arg(url).start().unwrap();
    let tally = sequential::run(front.addr(), &[Call::get("/down")], 20, true).unwrap();
    assert_eq!(tally.count("GET", 418), 20);
    assert_eq!(http::get(back.addr(), "/flush").unwrap().text().trim(), "20");
    assert_eq!(journal::read(&log).unwrap().len(), 20);
}

#[test]
fn a_closed_loop_completes_everything_that_its_server_counts() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("journal");
    let server = Server::new(Kind::Go).arg("-log").arg(log.to_string_lossy()).start().unwrap();
    let plan = [Call::get("/hello"), Call::post("/echo", b"x")];
    let outcome = closed::run(server.addr(), &plan, 8, Duration::from_millis(500)).unwrap();
    let short = closed::short_connections(&[server.addr()], &plan[0], 200, 4).unwrap();
    server.stop().unwrap();
    assert_eq!((outcome.tally.failed, short.completed(), short.failed), (0, 200, 0));
    let served = journal::read(&log).unwrap().len() as u64;
    assert_eq!(served, outcome.tally.completed() + 200);
}

#[test]
fn redis_answers_an_exact_number_of_commands() {
    require!(Kind::Redis.is_available(), "redis-server is not installed");
    let server = Workload::start(Kind::Redis).unwrap();
    assert_eq!(redis::run(server.addr(), 500).unwrap(), 500);
    assert_eq!(server.executable().unwrap().split('-').next(), Some("redis"));
}

#[test]
fn runc_puts_each_server_into_its_pods_cgroup_and_removes_it() {
    require!(has_tool("runc"), "runc is not installed");
    for kind in [Kind::Go, Kind::Python, Kind::Node, Kind::Nginx, Kind::Redis] {
        require!(kind.is_available(), "{} is not installed", kind.tool());
        let ids = Ids::unique();
        let container = runc::Container::start(Server::new(kind), ids.clone(), None).unwrap();
        let cgroups = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
        for line in cgroups.lines() {
            assert!(line.ends_with(&ids.cgroup_path()), "{kind:?}: {line}");
        }
        if kind == Kind::Redis {
            assert_eq!(redis::run(container.addr(), 10).unwrap(), 10);
        } else {
            let tally =
                sequential::run(container.addr(), &[Call::get("/hello")], 10, true).unwrap();
            assert_eq!(tally.count("GET", 200), 10, "{kind:?}");
        }
        drop(container);
        assert_eq!(left_of(&ids), Vec::<String>::new(), "{kind:?}");
    }
}

#[test]
fn containerd_runs_an_image_made_by_hand_in_a_pods_cgroup() {
    require!(has_tool("containerd") && has_tool("ctr"), "containerd is not installed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let containerd = Containerd::start().unwrap();
    let ids = Ids::unique();
    let container = containerd.run(ids.clone()).unwrap();
    assert_ne!(left_of(&ids), Vec::<String>::new());
    let tally = sequential::run(container.addr(), &[Call::get("/hello")], 10, true).unwrap();
    assert_eq!(tally.count("GET", 200), 10);
    drop(container);
    assert_eq!(left_of(&ids), Vec::<String>::new());
}

/// Directories of the pod in any hierarchy.
fn left_of(ids: &Ids) -> Vec<String> {
    let dirs = cgroup::hierarchies().unwrap();
    let dirs = dirs.iter().map(|hierarchy| hierarchy.mount.join(ids.pod_cgroup_path()));
    dirs.filter(|dir| dir.exists()).map(|dir| dir.display().to_string()).collect()
}

#[test]
fn a_cpu_quota_throttles_the_cgroup_it_is_set_on() {
    require!(sys::is_root(), "root is needed");
    let ids = Ids::unique();
    let group = cgroup::Cgroup::create(&ids.cgroup_path()).unwrap();
    group.set_cpu_quota(Duration::from_millis(5), Duration::from_millis(50)).unwrap();
    let spin = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done".to_owned();
    let argv = ["/bin/sh".to_owned(), "-c".to_owned(), spin];
    let status = group.command(&argv).status().unwrap();
    assert!(status.success());
    assert!(group.throttled().unwrap() > Duration::from_millis(50), "{:?}", group.throttled());
    let path = group.path().to_owned();
    drop(group);
    for hierarchy in cgroup::hierarchies().unwrap() {
        assert!(!hierarchy.mount.join(&path).exists(), "{}", hierarchy.mount.display());
    }
}

#[test]
fn a_wire_loses_what_its_rules_say_and_counts_it() {
    require!(
        sys::is_root() && has_tool("ip") && has_tool("nsenter"),
        "root and iproute2 are needed"
    );
    require!(nft::is_usable(), "nftables does not work here");
    require!(Kind::Go.is_available(), "Go is not installed");
    let wire = Wire::create().unwrap();
    let listen = SocketAddr::new(Wire::SERVER, 8080);
    let server =
        Server::new(Kind::Go).listen(listen).start_with(|argv| wire.server.command(argv)).unwrap();
    // Seen and lost at the client: what the server sent.
    let rules =
        Rules::install(&wire.client, &[Loss::RandomData { per_ten_thousand: 200 }]).unwrap();
    let json = load_in(
        &wire,
        server.addr(),
        &["sequential", "--count", "5", "--path", "/big?bytes=3000000"],
    );
    assert_eq!(json["completed"], 5, "{json}");
    let (seen, lost) = (rules.seen().unwrap(), rules.lost().unwrap());
    assert!(seen > 200 && lost > 0 && lost < seen / 10, "{lost} of {seen}");
    drop(rules);
    let rules = Rules::install(&wire.server, &[Loss::FirstSyn]).unwrap();
    let json = load_in(&wire, server.addr(), &["sequential", "--count", "1"]);
    assert_eq!((json["completed"].as_u64(), rules.lost().unwrap()), (Some(1), 1));
}

/// Runs the load program in the client's namespace.
fn load_in(wire: &Wire, target: SocketAddr, args: &[&str]) -> serde_json::Value {
    let mut argv = vec![env!("CARGO_BIN_EXE_strata-load").to_owned(), args[0].to_owned()];
    argv.extend(["--target".to_owned(), target.to_string()]);
    argv.extend(args[1..].iter().map(|arg| (*arg).to_owned()));
    let output = wire.client.command(&argv).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn prometheus_scrapes_a_target_of_ours() {
    require!(has_tool("prometheus"), "prometheus is not installed");
    // Prometheus scrapes itself here: a target that is certainly well-formed.
    let target = SocketAddr::from(([127, 0, 0, 1], tests::agent_process::free_port().unwrap()));
    let other = Prometheus::start(target).unwrap();
    let reader = Prometheus::start(other.addr()).unwrap();
    let up = eventually::settle(
        Duration::from_secs(15),
        || reader.scalar("up{job=\"strata\"}").unwrap(),
        |up| *up == Some(1.0),
    );
    assert_eq!(up, Some(1.0), "{:?}", reader.target_health());
    let down = eventually::settle(
        Duration::from_secs(15),
        || other.target_health().unwrap().0,
        |health| health == "down",
    );
    assert_eq!(down, "down", "nobody serves {target}");
}

#[test]
fn racing_requests_are_all_answered_by_one_goroutine() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let call = Call::get("/goid");
    let outcome = racing::run(server.addr(), &call, 5_000, Duration::from_micros(50)).unwrap();
    assert_eq!((outcome.tally.count("GET", 200), outcome.goids.len()), (5_000, 5_000));
}
