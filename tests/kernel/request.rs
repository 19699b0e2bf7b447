//! Content of request records, and what makes none.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;

use agent::attribution::cgroup_tree;
use agent::event::request::Request;
use agent::probes::Lane;
use agent_common::conn::Protocol;
use agent_common::head::Method;
use agent_common::stats::Loss;
use tests::cgroup::Cgroup;
use tests::containers::Ids;
use tests::io_calls::{Receive, Send};
use tests::probe_run::{Books, Probes, Setup};
use tests::{require, sys};

use crate::exchange::{Exchange, RESPONSE_BYTES, Server, exchange};

const SERVICE: u16 = 7;

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Everything that the client and the server know of a request.
#[track_caller]
fn assert_told(
    request: &Request,
    server: &Server,
    at: SocketAddr,
    exchange: &Exchange,
    responded_ns: u64,
) {
    assert_eq!(request.protocol, Protocol::Http1);
    assert_eq!((request.method, request.status), (Method::Get, 200));
    assert_eq!((request.service, request.flags), (SERVICE, 0), "{request:?}");
    assert_eq!((request.tgid, request.tid), (server.pid(), server.tid));
    assert_eq!(request.goid, 0, "no goroutine where there is no Go");
    let bytes = (request.bytes_in, request.bytes_out);
    assert_eq!(bytes, (exchange.sent_bytes, RESPONSE_BYTES as u64));
    assert_eq!(request.local, (mapped(at.ip()), at.port()));
    assert_eq!(request.remote, (mapped(exchange.client.ip()), exchange.client.port()));
    let times =
        [exchange.before_ns, request.arrival_ns, request.read_ns, request.end_ns, responded_ns];
    assert!(times.is_sorted(), "{times:?}");
    assert!(request.read_ns < exchange.after_ns, "{request:?} {exchange:?}");
    assert_eq!((request.retransmits_during, request.retransmits_after), (0, 0));
    assert!(request.srtt_us > 0 && request.srtt_us < 100_000, "{} us", request.srtt_us);
}

#[test]
fn a_record_tells_what_client_and_server_know() {
    require!(sys::is_root(), "root is needed");
    for (listen, hosts) in [
        ("127.0.0.1:0", vec!["127.0.0.1"]),
        ("[::1]:0", vec!["::1"]),
        // v4-mapped, as every Go server is that listens on ":8080".
        ("[::]:0", vec!["127.0.0.1", "127.0.0.9", "::1"]),
    ] {
        let server = Server::start(listen, Receive::Read, Send::Write);
        let mut probes = Probes::start(Setup::default().lanes(&[Lane::Sockets])).unwrap();
        probes.watch(server.pid(), server.addr.port(), SERVICE).unwrap();
        for (turn, host) in hosts.into_iter().enumerate() {
            let at = SocketAddr::new(host.parse().unwrap(), server.addr.port());
            let mut stream = TcpStream::connect(at).unwrap();
            let request = "GET /a?secret=1 HTTP/1.1\r\nHost: x\r\nCookie: y\r\n\r\n";
            let exchanges = [exchange(&mut stream, request), exchange(&mut stream, request)];
            let requests = probes.settled_requests(turn * 2 + 2);
            assert_eq!(requests.len(), turn * 2 + 2, "{requests:#?}");
            let responded_ns = server.responded_ns();
            assert_eq!(responded_ns.len(), requests.len());
            let new = requests.iter().zip(responded_ns).skip(turn * 2);
            for ((request, responded_ns), exchange) in new.zip(&exchanges) {
                assert_told(request, &server, at, exchange, responded_ns);
                assert_eq!(request.path, None, "paths are not kept unless asked for");
            }
        }
        assert_eq!((probes.malformed, probes.all_losses()), (0, vec![]));
    }
}

#[test]
fn a_path_is_kept_where_paths_are_on_and_cut_at_its_query() {
    require!(sys::is_root(), "root is needed");
    let server = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
    let mut probes = Probes::start(Setup::default().keep_paths()).unwrap();
    probes.watch(server.pid(), server.addr.port(), SERVICE).unwrap();
    let mut stream = TcpStream::connect(server.addr).unwrap();
    let long = format!("/{}", "y".repeat(200));
    let paths = [("/a/b", "/a/b"), ("/c?q=secret", "/c"), ("/", "/"), (&long, &long[..64])];
    for (path, _) in paths {
        exchange(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
    let requests = probes.settled_requests(paths.len());
    let kept: Vec<_> = requests.iter().map(|request| request.path.as_deref().unwrap()).collect();
    assert_eq!(kept, paths.map(|(_, kept)| kept));
}

#[test]
fn methods_and_the_older_version_are_told() {
    require!(sys::is_root(), "root is needed");
    let server = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
    let mut probes = Probes::start(Setup::default()).unwrap();
    probes.watch(server.pid(), server.addr.port(), SERVICE).unwrap();
    let mut stream = TcpStream::connect(server.addr).unwrap();
    let methods =
        [Method::Get, Method::Post, Method::Put, Method::Delete, Method::Patch, Method::Options];
    for method in methods {
        let name = method.as_str();
        for version in ["1.0", "1.1"] {
            exchange(&mut stream, &format!("{name} /x HTTP/{version}\r\nHost: x\r\n\r\n"));
        }
    }
    exchange(&mut stream, "PROPFIND /x HTTP/1.1\r\nHost: x\r\n\r\n");
    let told: Vec<_> = probes.settled_requests(13).iter().map(|request| request.method).collect();
    let twice = methods.into_iter().flat_map(|method| [method, method]);
    assert_eq!(told, twice.chain([Method::Other]).collect::<Vec<_>>());
}

#[test]
fn a_process_that_is_not_watched_makes_no_record() {
    require!(sys::is_root(), "root is needed");
    let watched = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
    let other = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
    let mut probes = Probes::start(Setup::default()).unwrap();
    probes.watch(watched.pid(), watched.addr.port(), SERVICE).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut streams = [&other, &watched].map(|server| TcpStream::connect(server.addr).unwrap());
    for _ in 0..20 {
        exchange(&mut streams[0], request);
    }
    exchange(&mut streams[1], request);
    let requests = probes.settled_requests(1);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].tgid, watched.pid());

    // Nor one that is looked away from, on the same connection.
    probes.ignore(watched.pid(), watched.addr.port()).unwrap();
    exchange(&mut streams[1], request);
    assert_eq!(probes.settled_requests(2).len(), 1);
    let books = Books { finished: 1, sampled: 0, filtered: 0, lost: 0 };
    assert_eq!(probes.books(SERVICE), books);
}

#[test]
fn a_connection_from_before_is_served_from_its_next_request_on() {
    require!(sys::is_root(), "root is needed");
    let server = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
    let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = TcpStream::connect(server.addr).unwrap();
    exchange(&mut stream, request);
    let mut probes = Probes::start(Setup::default()).unwrap();
    probes.watch(server.pid(), server.addr.port(), SERVICE).unwrap();
    let exchanges = [exchange(&mut stream, request), exchange(&mut stream, request)];
    let requests = probes.settled_requests(2);
    assert_eq!(requests.len(), 2);
    assert!(!requests[0].has_arrival(), "its socket was not known when its data came");
    assert_told(&requests[1], &server, server.addr, &exchanges[1], server.responded_ns()[2]);
}

/// As the agent reads its id.
fn id_of(cgroup: &Cgroup, probes: &Probes) -> u64 {
    let mut id = None;
    let mount = probes.hierarchy().mount().to_owned();
    cgroup_tree::walk(Path::new(&mount), 100_000, |found| {
        if found.path.trim_start_matches('/') == cgroup.path() {
            id = Some(found.id);
        }
    })
    .unwrap();
    id.unwrap()
}

/// An agent that starts notes cgroups before it notes who listens.
#[test]
fn a_connection_used_before_its_listener_was_noted_is_served_from_then_on() {
    require!(sys::is_root(), "root is needed");
    let cgroup = Cgroup::create(&Ids::unique().cgroup_path()).unwrap();
    let server =
        Server::start_by("127.0.0.1:0", Receive::Read, Send::Write, |argv| cgroup.command(argv));
    let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = TcpStream::connect(server.addr).unwrap();
    exchange(&mut stream, request);
    let mut probes = Probes::start(Setup::default()).unwrap();
    let id = id_of(&cgroup, &probes);
    probes.watch_cgroup(id, SERVICE);
    exchange(&mut stream, request);
    probes.watch(server.pid(), server.addr.port(), SERVICE).unwrap();
    for _ in 0..3 {
        exchange(&mut stream, request);
    }
    assert_eq!(probes.settled_requests(3).len(), 3);
}

#[test]
fn a_server_of_a_selected_cgroup_is_watched_from_its_first_request_on() {
    require!(sys::is_root(), "root is needed");
    let ids = Ids::unique();
    let cgroup = Cgroup::create(&ids.cgroup_path()).unwrap();
    let mut probes = Probes::start(Setup::default()).unwrap();
    let id = id_of(&cgroup, &probes);
    probes.watch_cgroup(id, SERVICE);
    let server =
        Server::start_by("127.0.0.1:0", Receive::Read, Send::Write, |argv| cgroup.command(argv));
    let mut stream = TcpStream::connect(server.addr).unwrap();
    let exchange = exchange(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let requests = probes.settled_requests(1);
    assert_eq!(requests.len(), 1);
    assert_told(&requests[0], &server, server.addr, &exchange, server.responded_ns()[0]);
    assert_eq!(requests[0].cgroup_id, id);
    assert!(probes.is_watched(server.pid()));
    assert_eq!(probes.losses(Loss::RingRequest), 0);
    server.stop();
}
