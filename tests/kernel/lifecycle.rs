//! What is left after the end: nothing.

use std::time::Duration;

use agent::probes::Lane;
use tests::io_calls::{Receive, Send};
use tests::kernel_objects::Held;
use tests::probe_run::{Probes, Setup};
use tests::{eventually, require, sys};

use crate::exchange::{Server, exchange};

#[test]
fn nothing_is_left_after_the_drop() {
    require!(sys::is_root(), "root is needed");
    require!(tests::require::has_tool("bpftool"), "bpftool is not installed");
    let before = Held::by(std::process::id()).unwrap();
    let server = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
    let mut probes = Probes::start(Setup::default().lanes(&Lane::ALL)).unwrap();
    probes.watch(server.pid(), server.addr.port(), 1).unwrap();
    let mut stream = std::net::TcpStream::connect(server.addr).unwrap();
    exchange(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(probes.settled_requests(1).len(), 1);
    let held = Held::by(std::process::id()).unwrap();
    let there = held.still_there().unwrap().len();
    assert!(there > 20, "the check sees what is there: {there} of {held:?}");

    // With the connection still open: its state goes as well.
    drop(probes);
    assert_eq!(Held::by(std::process::id()).unwrap(), before);
    let left =
        eventually::settle(Duration::from_secs(5), || held.still_there().unwrap(), Vec::is_empty);
    assert_eq!(left, Vec::<String>::new());
    exchange(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}

#[test]
fn two_at_a_time_do_not_disturb_each_other() {
    require!(sys::is_root(), "root is needed");
    let server = Server::start("127.0.0.1:0", Receive::Read, Send::Write);
    let mut both = [(); 2].map(|()| Probes::start(Setup::default()).unwrap());
    for probes in &mut both {
        probes.watch(server.pid(), server.addr.port(), 1).unwrap();
    }
    let mut stream = std::net::TcpStream::connect(server.addr).unwrap();
    for _ in 0..10 {
        exchange(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for probes in &mut both {
        assert_eq!(probes.settled_requests(10).len(), 10);
    }
}
