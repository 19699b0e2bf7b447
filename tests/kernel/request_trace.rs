//! `traceparent` of requests, where it is asked for and where not; and the
//! network namespace by which loopback connections are told apart.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use agent::event::request::Trace;
use agent::probes::Lane;
use agent_common::record::request::{FLAG_TRACE, FLAG_TRACE_REFUSED, FLAG_TRACE_UNSEEN};
use tests::io_calls::{Receive, Send};
use tests::probe_run::{Probes, Setup, netns};
use tests::{require, sys};

use crate::exchange::{Server, exchange};

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What a request with these headers should say.
fn cases() -> Vec<(String, u32, bool)> {
    let at = |value: &str| format!("traceparent: {value}\r\n");
    let unsampled = GOOD.replace("-01", "-00");
    let long = format!("Cookie: {}\r\n", "x".repeat(500));
    vec![
        (at(GOOD), FLAG_TRACE, true),
        (String::new(), 0, false),
        (format!("TraceParent:{unsampled}\r\n"), FLAG_TRACE, false),
        (at(GOOD) + &at(GOOD), FLAG_TRACE_REFUSED, false),
        (at("00-XYZ"), FLAG_TRACE_REFUSED, false),
        (format!("X-Many: {}\r\n", "y".repeat(300)) + &at(GOOD), FLAG_TRACE, true),
        (long + &at(GOOD), FLAG_TRACE_UNSEEN, false),
        (format!("a: b\r\n{}c: d\r\n", at(GOOD)), FLAG_TRACE, true),
    ]
}

#[test]
fn a_traceparent_is_in_the_record_as_it_was_sent() {
    require!(sys::is_root(), "root is needed");
    let wanted = Trace {
        trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        parent_id: 0xb7ad_6b71_6920_3331,
        is_sampled: true,
    };
    for (receive, keeps_path) in [(Receive::Read, false), (Receive::Readv, true)] {
        let server = Server::start("127.0.0.1:0", receive, Send::Write);
        let setup = Setup::default().lanes(&[Lane::Sockets]).reads_trace();
        let setup = if keeps_path { setup.keep_paths() } else { setup };
        let mut probes = Probes::start(setup).unwrap();
        probes.watch(server.pid(), server.addr.port(), 1).unwrap();
        let mut stream = TcpStream::connect(server.addr).unwrap();
        for (headers, _, _) in cases() {
            exchange(&mut stream, &format!("GET /a?b HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
        }
        let told = probes.settled_requests(cases().len());
        assert_eq!(told.len(), cases().len());
        for (request, (headers, flag, is_sampled)) in told.iter().zip(cases()) {
            assert_eq!(request.flags, flag, "{headers}");
            let wanted = (flag == FLAG_TRACE).then_some(Trace { is_sampled, ..wanted });
            assert_eq!(request.trace, wanted, "{headers}");
            assert_eq!(request.path.as_deref(), keeps_path.then_some("/a"), "{headers}");
            assert_eq!(request.netns, netns(server.pid()).unwrap());
        }
        assert_eq!((probes.malformed, probes.all_losses()), (0, vec![]));
    }
}

#[test]
fn nothing_is_read_of_a_trace_where_no_spans_are_made() {
    require!(sys::is_root(), "root is needed");
    let server = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
    let mut probes = Probes::start(Setup::default().lanes(&[Lane::Sockets])).unwrap();
    probes.watch(server.pid(), server.addr.port(), 1).unwrap();
    let mut stream = TcpStream::connect(server.addr).unwrap();
    for (headers, _, _) in cases() {
        exchange(&mut stream, &format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
    }
    let told = probes.settled_requests(cases().len());
    assert_eq!(told.len(), cases().len());
    assert!(told.iter().all(|request| (request.flags, request.trace) == (0, None)), "{told:#?}");
}

#[test]
fn a_head_that_comes_in_pieces_is_read_as_far_as_its_first_one_goes() {
    require!(sys::is_root(), "root is needed");
    let server = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
    let mut probes = Probes::start(Setup::default().lanes(&[Lane::Sockets]).reads_trace()).unwrap();
    probes.watch(server.pid(), server.addr.port(), 1).unwrap();
    let rest = format!(" HTTP/1.1\r\ntraceparent: {GOOD}\r\n\r\n");
    // Too short to be told for a request, and so kept until more of it is there;
    // and one that is known for a request at once.
    for (first, flags) in [("GET", FLAG_TRACE), ("GET /a", FLAG_TRACE_UNSEEN)] {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(first.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        exchange(&mut stream, &format!("{}{rest}", &"GET /a"[first.len()..]));
        let told = probes.settled_requests(1);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].flags, told[0].trace.is_some()), (flags, flags == FLAG_TRACE));
        probes.events.clear();
    }
}
