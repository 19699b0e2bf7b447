//! Where requests' time went, against what the handlers do.

use std::collections::BTreeMap;
use std::time::Duration;

use agent::event::request::Request;
use agent::probes::Lane;
use agent_common::parts::Part;
use tests::load::{Call, closed};
use tests::probe_run::{Probes, Setup};
use tests::workload::{Kind, Workload};
use tests::{require, sys};

fn table(requests: &[Request]) {
    let mut by_path: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    for request in requests {
        by_path.entry(request.path.as_deref().unwrap_or("-")).or_default().push(request);
    }
    for request in requests
        .iter()
        .filter(|r| r.parts.ns[17] * 2 > r.wall_ns() || r.parts.overrun_ns > 0)
        .take(12)
    {
        println!(
            "odd {:?} wall {} {:?} {:?}",
            request.path,
            request.wall_ns(),
            request.parts,
            request.work
        );
    }
    for (path, requests) in by_path {
        let count = requests.len() as u64;
        let mean = |part: Part| {
            requests.iter().map(|r| r.parts.ns[part as usize]).sum::<u64>() / count / 1000
        };
        let wall = requests.iter().map(|r| r.wall_ns()).sum::<u64>() / count / 1000;
        let overrun = requests.iter().filter(|r| r.parts.overrun_ns > 0).count();
        let worst = requests.iter().map(|r| r.parts.overrun_ns).max().unwrap();
        let zone = requests.iter().map(|r| r.work.zone_ns).sum::<u64>() / count / 1000;
        let mut unknown: Vec<f64> = requests
            .iter()
            .map(|r| r.parts.ns[Part::Unknown as usize] as f64 / r.wall_ns().max(1) as f64)
            .collect();
        unknown.sort_by(f64::total_cmp);
        let p = |q: f64| unknown[((unknown.len() - 1) as f64 * q) as usize] * 100.0;
        let parts: Vec<String> = Part::ALL
            .iter()
            .filter(|part| mean(**part) > 0)
            .map(|part| format!("{}.{} {}", part.layer().as_str(), part.as_str(), mean(*part)))
            .collect();
        println!(
            "{path:12} n {count:6} wall {wall} us: {} | zone {zone} unknown p50 {:.1}% p95 {:.1}% overrun {overrun} worst {worst} {:?} {:?} stops {}",
            parts.join(", "),
            p(0.5),
            p(0.95),
            requests[0].work.kind,
            requests[0].work.wait,
            requests[0].work.stops,
        );
    }
}

fn explore(kind: Kind, plan: &[Call], connections: usize) {
    let server = Workload::start(kind).unwrap();
    let addr = server.addr();
    let setup = Setup::default().lanes(&Lane::ALL).keep_paths();
    let mut probes = Probes::start(setup).unwrap();
    probes.watch(server.pid(), addr.port(), 1).unwrap();
    if kind == Kind::Go {
        hack(server.pid());
        probes.bump();
    }
    let outcome =
        probes.run(|| closed::run(addr, plan, connections, Duration::from_secs(3))).unwrap();
    let completed = usize::try_from(outcome.tally.completed()).unwrap();
    let requests = probes.settled_requests(completed);
    println!("{kind:?} {connections} connections: {} of {completed}", requests.len());
    table(&requests);
    println!("{:?}", probes.all_losses());
}

#[test]
fn explore_python() {
    require!(sys::is_root(), "root is needed");
    let plan: Vec<Call> = ["/hello", "/spin", "/sleep"].iter().map(|p| Call::get(p)).collect();
    explore(Kind::Python, &plan, 1);
    explore(Kind::Python, &plan, 4);
}

#[test]
fn explore_go() {
    require!(sys::is_root(), "root is needed");
    let paths = ["/hello", "/spin", "/sleep", "/chan", "/mutex", "/fanout", "/zig"];
    let plan: Vec<Call> = paths.iter().map(|p| Call::get(p)).collect();
    explore(Kind::Go, &plan, 1);
    explore(Kind::Go, &plan, 4);
    explore(Kind::Go, &[Call::get("/hello")], 16);
}

#[test]
fn explore_loops() {
    require!(sys::is_root(), "root is needed");
    explore(Kind::Node, &[Call::get("/hello")], 4);
    explore(Kind::Nginx, &[Call::get("/hello")], 4);
}

fn hack(pid: u32) {
    let out = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("go tool nm /proc/{pid}/exe | grep ' runtime.sched$'"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let at = u64::from_str_radix(text.split_whitespace().next().unwrap(), 16).unwrap() + 264;
    let mut bytes = Vec::new();
    bytes.extend(at.to_ne_bytes());
    bytes.extend((-8i32).to_ne_bytes());
    for v in [152u32, 176, 191, 280, 368, 56, 0] {
        bytes.extend(v.to_ne_bytes());
    }
    bytes.extend([0u8; 8]);
    let mut reasons = [12u8; 64];
    for (n, v) in [
        (0, 0),
        (1, 11),
        (2, 1),
        (7, 11),
        (13, 10),
        (14, 5),
        (18, 4),
        (19, 2),
        (20, 3),
        (21, 9),
        (22, 6),
        (23, 7),
        (24, 7),
        (25, 8),
        (27, 11),
        (30, 13),
        (32, 11),
        (33, 11),
        (34, 11),
    ] {
        reasons[n] = v;
    }
    bytes.extend(reasons);
    let run = |name: &str, key: &[u8], value: &[u8]| {
        let hex = |b: &[u8]| b.iter().map(|b| b.to_string()).collect::<Vec<_>>();
        let out = std::process::Command::new("bpftool")
            .args(["map", "update", "name", name, "key"])
            .args(hex(key))
            .arg("value")
            .args(hex(value))
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
    };
    run("GO_LAYOUTS", &0u32.to_ne_bytes(), &bytes);
    let policy = agent_common::policy::ProcessPolicy {
        service: 1,
        flags: 1,
        g_tls_offset: -8,
        goid_offset: 152,
        go_layout: 1,
    };
    run("PROCESSES", &pid.to_ne_bytes(), &policy.to_bytes());
    let _ = std::process::Command::new("true").status();
}
