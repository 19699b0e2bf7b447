//! Orders of events, as real servers and clients make them.

use super::*;
use crate::head::Method;
use crate::record::request::{FLAG_NO_ARRIVAL, FLAG_PIPELINED, FLAG_STREAM};
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec::Vec;

const G: u64 = 7;
const BACKGROUND: u64 = 8;

/// What was emitted of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Emitted {
    method: u8,
    status: u16,
    flags: u32,
    arrival_ns: u64,
    read_ns: u64,
    end_ns: u64,
    goid: u64,
}

/// Plays the part of the kernel programs.
struct Player {
    conn: Conn,
    emitted: Vec<Emitted>,
    now_ns: u64,
    late: u32,
}

impl Player {
    fn new() -> Self {
        Self { conn: Conn::new(1, ROLE_SERVER), emitted: Vec::new(), now_ns: 1_000, late: 0 }
    }

    fn tick(&mut self) -> u64 {
        self.now_ns += 100;
        self.now_ns
    }

    fn emit(&mut self) {
        let c = &self.conn;
        self.emitted.push(Emitted {
            method: c.method,
            status: c.status,
            flags: c.flags,
            arrival_ns: c.arrival_ns,
            read_ns: c.read_ns,
            end_ns: c.end_ns,
            goid: c.goid,
        });
        self.conn.close_request();
    }

    fn ready(&mut self) -> &mut Self {
        let now = self.tick();
        self.conn.on_ready(now);
        self
    }

    fn recv_by(&mut self, goid: u64, text: &str) -> &mut Self {
        let now = self.tick();
        let who = Who { tgid: 1, tid: 2, goid, cgroup_id: 3 };
        let mut bytes: Vec<u8> = Vec::new();
        if self.conn.stash_len > 0 {
            bytes.extend(&self.conn.stash[..usize::from(self.conn.stash_len)]);
        }
        bytes.extend(text.as_bytes());
        let len = text.len() as u64;
        let action = self.conn.on_recv(&bytes[..], len, &who);
        if action & END != 0 {
            self.emit();
        }
        if action & BEGIN != 0 {
            self.conn.begin(&bytes[..], len, &who, now, 0);
        }
        self.conn.ready_ns = 0;
        self
    }

    fn recv(&mut self, text: &str) -> &mut Self {
        self.ready().recv_by(G, text)
    }

    fn again_by(&mut self, goid: u64) -> &mut Self {
        self.tick();
        if self.conn.on_recv_again(&Who { goid, ..Who::default() }) & END != 0 {
            self.emit();
        }
        self
    }

    fn send(&mut self, text: &str) -> &mut Self {
        let now = self.tick();
        let len = text.len() as u64;
        let has_bytes = self.conn.wants_sent();
        let bytes = text.as_bytes();
        let action = self.conn.on_send(bytes, has_bytes, len, now, 0);
        if action & END != 0 {
            self.emit();
        }
        if action & BEGIN_PIPELINED != 0 {
            self.conn.begin_pipelined(bytes, len, now, 0);
        }
        if action & END_AFTER != 0 {
            self.emit();
            self.conn.after_cut();
        }
        self.late += u32::from(action & LATE != 0);
        self
    }

    fn close(&mut self) -> &mut Self {
        let now = self.tick();
        if self.conn.on_close(now) & END != 0 {
            self.emit();
        }
        self
    }

    fn statuses(&self) -> Vec<u16> {
        self.emitted.iter().map(|e| e.status).collect()
    }

    fn methods(&self) -> Vec<u8> {
        self.emitted.iter().map(|e| e.method).collect()
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_request_ends_with_the_handlers_own_eagain() {
    let mut p = Player::new();
    p.recv(GET).again_by(BACKGROUND).send(OK);
    assert!(p.emitted.is_empty());
    p.again_by(BACKGROUND);
    assert!(p.emitted.is_empty(), "the background reader's EAGAIN is no end");
    p.again_by(G);
    assert_eq!(p.statuses(), [200]);
    let e = &p.emitted[0];
    assert!(e.arrival_ns < e.read_ns && e.read_ns < e.end_ns);
    assert_eq!((e.goid, e.flags), (G, 0));
}

#[test]
fn a_request_ends_with_the_next_ones_first_read() {
    let mut p = Player::new();
    p.recv(GET).send(OK).recv(GET).send(OK).close();
    assert_eq!(p.statuses(), [200, 200]);
    assert!(p.emitted[0].end_ns < p.emitted[1].arrival_ns);
}

#[test]
fn the_background_readers_byte_belongs_to_the_next_request() {
    let mut p = Player::new();
    p.recv(GET)
        .ready()
        .recv_by(BACKGROUND, "P")
        .send(OK)
        .recv_by(G, "UT /b HTTP/1.1\r\n\r\n")
        .send(OK)
        .close();
    assert_eq!(p.methods(), [Method::Get as u8, Method::Put as u8]);
    assert_eq!(p.emitted[1].goid, G);
    assert_eq!(p.emitted[1].flags & FLAG_PIPELINED, FLAG_PIPELINED);
    assert_eq!(p.emitted[1].arrival_ns, p.emitted[0].end_ns);
}

#[test]
fn the_end_is_the_last_of_several_sends() {
    let mut p = Player::new();
    p.recv(GET).send(OK).send("body").send("more").again_by(G);
    assert_eq!(p.emitted.len(), 1);
    assert_eq!(p.emitted[0].end_ns, p.now_ns - 100);
}

#[test]
fn continue_is_not_the_response() {
    let mut p = Player::new();
    p.recv("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    p.send("HTTP/1.1 100 Continue\r\n\r\n")
        .recv("body")
        .send("HTTP/1.1 201 Created\r\n\r\n")
        .again_by(G);
    assert_eq!((p.statuses(), p.methods()), ([201].to_vec(), [Method::Post as u8].to_vec()));
}

#[test]
fn a_body_is_not_a_request_even_if_it_looks_like_one() {
    let mut p = Player::new();
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", GET.len());
    p.recv(&head).send(OK).recv(GET).again_by(G);
    assert_eq!(p.methods(), [Method::Post as u8], "answered early, body read later");
    let mut p = Player::new();
    p.recv("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        .send(OK)
        .recv("1c\r\nGET")
        .close();
    assert_eq!(p.emitted.len(), 1);
}

#[test]
fn pipelined_requests_are_told_apart_by_their_responses() {
    let mut p = Player::new();
    p.recv(&format!("{GET}HEAD /b HTTP/1.1\r\n\r\nDELETE /c HTTP/1.1\r\n\r\n"));
    p.send(OK).send("HTTP/1.1 404 Not Found\r\n\r\n").send("HTTP/1.1 204 No\r\n\r\n").again_by(G);
    assert_eq!(p.statuses(), [200, 404, 204]);
    assert_eq!(p.methods(), [Method::Get as u8, Method::Head as u8, Method::Delete as u8]);
    assert_eq!(p.emitted[1].arrival_ns, p.emitted[0].end_ns);
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let mut p = Player::new();
    for byte in GET.chars() {
        p.recv(&String::from(byte));
    }
    p.send(OK).close();
    assert_eq!((p.statuses(), p.methods()), ([200].to_vec(), [Method::Get as u8].to_vec()));
}

#[test]
fn a_client_that_leaves_before_the_response_is_an_aborted_request() {
    let mut p = Player::new();
    p.recv(GET).close();
    assert_eq!((p.emitted[0].status, p.emitted[0].flags), (0, FLAG_ABORTED));
}

#[test]
fn half_closed_clients_still_get_their_response_counted() {
    let mut p = Player::new();
    p.recv(GET);
    assert_eq!(p.conn.on_recv_eof(&Who { goid: G, ..Who::default() }), NOTHING);
    p.send(OK).close();
    assert_eq!((p.statuses(), p.emitted[0].flags & FLAG_ABORTED), ([200].to_vec(), 0));
}

#[test]
fn upgrades_and_event_streams_are_cut_off() {
    let mut p = Player::new();
    p.recv(GET).send("HTTP/1.1 101 Switching Protocols\r\n\r\n").recv(GET).send("frame").close();
    assert_eq!((p.statuses(), p.emitted[0].flags), ([101].to_vec(), FLAG_STREAM));
    let mut p = Player::new();
    p.recv("GET /s HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n")
        .send(OK)
        .send("data: 1\n\n")
        .send("data: 2\n\n");
    assert_eq!((p.statuses(), p.late), ([200].to_vec(), 0));
    p.recv(GET).send(OK).close();
    assert_eq!(p.statuses(), [200, 200]);
}

#[test]
fn opaque_protocols_take_turns() {
    let mut p = Player::new();
    p.recv("*1\r\n$4\r\nPING\r\n")
        .send("+PONG\r\n")
        .recv("*1\r\n$4\r\nPING\r\n")
        .send("+PO")
        .send("NG\r\n")
        .close();
    assert_eq!(p.emitted.len(), 2);
    assert_eq!(p.conn.protocol, Protocol::Opaque as u8);
    let mut p = Player::new();
    p.recv("PING\r\n").send("+PONG\r\n").recv("PING\r\n").send("+PONG\r\n").close();
    assert_eq!((p.emitted.len(), p.conn.protocol), (2, Protocol::Opaque as u8));
}

#[test]
fn http2_has_no_turns() {
    let mut p = Player::new();
    p.recv("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").send("frames").recv("frames").close();
    assert!(p.emitted.is_empty());
}

#[test]
fn tls_handshakes_are_no_turns() {
    let mut p = Player::new();
    let data = "\u{17}\u{3}\u{3}\0\u{10}0123456789";
    p.recv("\u{16}\u{3}\u{1}\u{2}\0\u{1}client hello").send("server hello");
    p.recv("\u{14}\u{3}\u{3}\0\u{1}\u{1}").recv(data).send("tickets");
    assert_eq!(p.conn.phase, IDLE, "TLS 1.3: Finished is no request");
    p.recv(data).send("response").recv(data).send("response").close();
    assert_eq!(p.emitted.len(), 2);
}

#[test]
fn a_missing_arrival_is_said_so() {
    let mut p = Player::new();
    p.recv_by(G, GET).send(OK).close();
    assert_eq!(p.emitted[0].flags & FLAG_NO_ARRIVAL, FLAG_NO_ARRIVAL);
    assert_eq!(p.emitted[0].arrival_ns, p.emitted[0].read_ns);
}

#[test]
fn the_sweep_ends_only_what_is_idle() {
    let mut p = Player::new();
    p.recv(GET);
    assert_eq!(p.conn.on_sweep(u64::MAX, 0), NOTHING);
    p.send(OK);
    let end_ns = p.conn.end_ns;
    assert_eq!(p.conn.on_sweep(end_ns + 5, 10), NOTHING);
    assert_eq!(p.conn.on_sweep(end_ns + 11, 10), END);
}

proptest! {
    /// Whatever happens on a connection, a request's times are in order and
    /// no more requests come out than responses went in.
    #[test]
    fn times_are_ordered_whatever_happens(events in proptest::collection::vec((0u8..8, any::<bool>()), 0..80)) {
        let mut p = Player::new();
        let mut sends = 0;
        for (event, by_g) in events {
            let goid = if by_g { G } else { BACKGROUND };
            match event {
                0 => { p.recv(GET); }
                1 => { p.recv_by(goid, "G"); }
                2 => { p.send(OK); sends += 1; }
                3 => { p.send("body"); sends += 1; }
                4 => { p.again_by(goid); }
                5 => { p.ready(); }
                6 => { p.recv("rest of a body"); }
                _ => { p.recv(&format!("{GET}{GET}")); }
            }
        }
        p.close();
        let aborted = p.emitted.iter().filter(|e| e.flags & FLAG_ABORTED != 0).count();
        prop_assert!(p.emitted.len() <= sends + aborted);
        for e in &p.emitted {
            prop_assert!(e.arrival_ns <= e.read_ns && e.read_ns <= e.end_ns, "{:?}", e);
        }
        for pair in p.emitted.windows(2) {
            prop_assert!(pair[0].end_ns <= pair[1].arrival_ns, "{:?}", pair);
        }
    }

    /// A keep-alive connection: as many requests out as in, with their
    /// statuses, whoever reads the first byte and however the ends are seen.
    #[test]
    fn every_request_is_found(requests in proptest::collection::vec((200u16..600, any::<bool>(), any::<bool>()), 1..30)) {
        let mut p = Player::new();
        for (status, split, again) in &requests {
            if *split && p.conn.phase != IDLE {
                p.ready().recv_by(BACKGROUND, "G").recv_by(G, &GET[1..]);
            } else {
                p.recv(GET);
            }
            p.again_by(BACKGROUND).send(&format!("HTTP/1.1 {status} X\r\n\r\n"));
            if *again {
                p.again_by(G);
            }
        }
        p.close();
        let expected: Vec<u16> = requests.iter().map(|r| r.0).collect();
        prop_assert_eq!(p.statuses(), expected);
    }
}

#[test]
fn nothing_of_a_stashed_head_is_kept_once_it_is_read() {
    let mut p = Player::new();
    p.recv("GET /?s").recv("ecret HTTP/1.1\r\n\r\n");
    assert_eq!(p.conn.stash, [0; STASH_BYTES]);
    let mut p = Player::new();
    p.recv("PING secret").send("+PONG\r\n");
    assert_eq!(p.conn.stash, [0; STASH_BYTES]);
}
