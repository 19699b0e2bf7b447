//! A goroutine that calls a downstream on a thread that it came to unseen.

use super::*;

const GOID: u64 = 7;
const OTHER: u64 = 9;

fn goroutine(id: u64, seq: u8, reason: GoWait) -> Goroutine {
    Goroutine { id, at: 1, seq, reason: reason as u8, is_waiting: 0, is_followed: 1, _pad: 0 }
}

/// Read at 1 ms on one thread; found on another at 21 ms, where it calls and
/// stops at 21.1 ms; answered there at 31.2 ms. The first thread is seen to have
/// lost it at `first_ns`, if it is.
fn history(first_ns: Option<u64>) -> Split {
    let (mut host, mut conn) = (Host::default(), Conn::new(1, ROLE_SERVER));
    let (mut first, mut second) = (Line::new(), Line::new());
    conn.phase = READING;
    conn.arrival_ns = MS;
    conn.read_ns = MS;
    conn.goid = GOID;
    let here = goroutine(GOID, 1, GoWait::IoWait);
    let mut worker =
        Worker { line: &mut first, goroutine: &here, process: &mut host, syscall_ns: 0 };
    begins_here(&mut worker, &mut conn, MS);
    host.open.insert(GOID, conn.read_ns);

    second.was_idle = 1;
    second.point_ns = 20 * MS;
    let there = goroutine(GOID, 2, GoWait::IoWait);
    point(&mut second, &mut &mut host, 21 * MS, &there, &Why::NONE);
    claim(&mut second, &mut &mut host, 21 * MS, &there);
    assert_eq!((second.open, second.owner), (1, GOID));
    if let Some(first_ns) = first_ns {
        leaves(&mut first, &mut &mut host, first_ns, Some((&there, 0)));
    }
    let other = goroutine(OTHER, 1, GoWait::IoWait);
    point(&mut second, &mut &mut host, 21 * MS + 100 * US, &other, &Why::NONE);
    if let Some(parked) = host.parked.get_mut(&GOID) {
        parked.calls_sent = 1;
        parked.call_sent(21 * MS + 100 * US);
        parked.calls_done = 1;
        parked.call_ready(31 * MS, 0);
    }
    // The thread was idle until the reply.
    second.owner = 0;
    second.was_idle = 1;
    second.point_ns = 31 * MS;
    let back = goroutine(GOID, 3, GoWait::Select);
    let mut worker =
        Worker { line: &mut second, goroutine: &back, process: &mut host, syscall_ns: 0 };
    answers_here(&mut worker, &mut conn, 31 * MS + 200 * US);
    close(31 * MS + 200 * US - MS, &conn.parts)
}

#[test]
fn its_call_is_waited_for_and_its_run_before_is_told_by_the_thread_that_lost_it() {
    let split = history(Some(21 * MS + 50 * US));
    assert_eq!(split.overrun_ns, 0);
    assert_eq!(split.ns[Part::Downstream as usize], 9_900 * US);
    assert!(split.ns[Part::Cpu as usize] >= 20 * MS, "{split:?}");
}

#[test]
fn without_that_thread_the_run_is_doubtful_and_the_call_is_not() {
    let split = history(None);
    assert_eq!(split.overrun_ns, 0);
    assert_eq!(split.ns[Part::Downstream as usize], 9_900 * US);
    assert!(split.ns[Part::Unknown as usize] >= 20 * MS, "{split:?}");
}

#[test]
fn a_goroutine_without_a_request_claims_none() {
    let (mut host, mut line) = (Host::default(), Line::new());
    let idle = goroutine(GOID, 1, GoWait::Select);
    point(&mut line, &mut &mut host, MS, &idle, &Why::NONE);
    claim(&mut line, &mut &mut host, MS, &idle);
    assert_eq!(line.open, 0);
    assert!(host.parked.is_empty());
}
