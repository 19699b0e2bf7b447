//! Requests by every system call that reads or writes a socket, without a hook
//! on any of them.

use std::net::TcpStream;

use agent::probes::Lane;
use agent_common::head::Method;
use tests::io_calls::{Receive, Send};
use tests::probe_run::{Probes, Setup};
use tests::{require, sys};

use crate::exchange::{RESPONSE_BYTES, Server, exchange};

/// Three requests by these calls: each is told with method, status and bytes.
#[track_caller]
fn check(receive: Receive, send: Send) {
    let server = Server::start("127.0.0.1:0", receive, send);
    let mut probes = Probes::start(Setup::default().lanes(&[Lane::Sockets]).keep_paths()).unwrap();
    probes.watch(server.pid(), server.addr.port(), 1).unwrap();
    let mut stream = TcpStream::connect(server.addr).unwrap();
    let request = "DELETE /things/42 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
    let count = 3;
    for _ in 0..count {
        exchange(&mut stream, request);
    }
    let requests = probes.settled_requests(count);
    assert_eq!(requests.len(), count, "{receive:?} {send:?}");
    for told in &requests {
        let what = (told.method, told.status, told.path.as_deref(), told.flags);
        assert_eq!(what, (Method::Delete, 200, Some("/things/42"), 0), "{receive:?} {send:?}");
        let bytes = (told.bytes_in, told.bytes_out);
        assert_eq!(bytes, (request.len() as u64, RESPONSE_BYTES as u64), "{receive:?} {send:?}");
    }
    assert_eq!(probes.all_losses(), [], "{receive:?} {send:?}");
}

#[test]
fn every_way_to_read_is_understood() {
    require!(sys::is_root(), "root is needed");
    for receive in Receive::ALL {
        check(receive, Send::Write);
    }
}

#[test]
fn every_way_to_write_is_understood() {
    require!(sys::is_root(), "root is needed");
    for send in Send::ALL {
        check(Receive::Read, send);
    }
}
