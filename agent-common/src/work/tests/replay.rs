//! Histories written out row by row, apart from the properties that hold of
//! any.

use super::*;

/// Thread, event, then how long until the next one, in microseconds.
type Row = (usize, Event, u64);

#[derive(Clone, Copy)]
enum Event {
    Starts(usize),
    Parks(GoWait),
    Loses,
    Seen,
    Idles,
    IdlesUnread,
    Wakes,
    Answers,
}

fn replay(rows: &[Row]) -> (Split, World) {
    let mut world = World::new();
    for &(t, event, us) in rows {
        match event {
            Event::Starts(g) => world.start(t, g),
            Event::Parks(reason) => world.stop(t, Some(reason)),
            Event::Loses => world.stop(t, None),
            Event::Seen => world.seen(t),
            Event::Idles => world.leave(t, true),
            Event::IdlesUnread => world.leave(t, false),
            Event::Wakes => world.enter(t),
            Event::Answers => world.own(answers_here),
        }
        world.pass(us * US);
    }
    (world.finish(), world)
}

#[test]
fn a_line_that_is_stale_books_nothing() {
    let (split, world) = replay(&[
        (0, Event::Seen, 1_000),
        // Unseen, it goes from thread 0 to thread 1, and answers there.
        (0, Event::Parks(GoWait::Mutex), 0),
        (0, Event::Starts(1), 0),
        (1, Event::Starts(OURS), 4_000),
        (1, Event::Answers, 2_000),
        // Only now does thread 0 show another.
        (0, Event::Seen, 1_000),
    ]);
    assert_eq!(split.overrun_ns, 0);
    assert_eq!(split.ns.iter().sum::<u64>(), 8 * MS);
    assert!(of(&split, &[Part::Cpu, Part::OsCpu]) <= world.ran_ns);
}

#[test]
fn a_preemption_is_the_schedulers() {
    let (split, _) = replay(&[
        (0, Event::Seen, 2_000),
        (0, Event::Loses, 0),
        (0, Event::Starts(1), 0),
        (0, Event::Seen, 5_000),
        (0, Event::Parks(GoWait::Select), 0),
        (0, Event::Starts(OURS), 0),
        (0, Event::Seen, 1_000),
    ]);
    // The other's run, up to its last point, cannot be told from its own.
    assert_eq!(of(&split, &[Part::Wait]), 0);
    assert_eq!(split.ns.iter().sum::<u64>(), 8 * MS);
    assert!(of(&split, &[Part::Sched]) <= 5 * MS);
}

#[test]
fn a_stop_whose_thread_idles_unread_keeps_its_reason() {
    let (split, _) = replay(&[
        (0, Event::Seen, 0),
        (0, Event::Parks(GoWait::ChanReceive), 10),
        (0, Event::IdlesUnread, 20_000),
        (0, Event::Wakes, 0),
        (0, Event::Starts(OURS), 500),
    ]);
    assert_eq!(of(&split, &[Part::Wait]), 20 * MS);
    assert_eq!(of(&split, &[Part::Unknown]), 0);
}

#[test]
fn a_stop_between_two_threads_is_told_to_the_nanosecond() {
    let (split, _) = replay(&[
        (0, Event::Seen, 1_000),
        (0, Event::Parks(GoWait::ChanReceive), 0),
        (0, Event::Idles, 0),
        (1, Event::Idles, 7_000),
        (1, Event::Wakes, 0),
        (1, Event::Starts(OURS), 3_000),
    ]);
    assert_eq!(of(&split, &[Part::Cpu, Part::OsCpu]), 4 * MS);
    assert_eq!(of(&split, &[Part::Wait]), 7 * MS);
}

#[test]
fn a_thread_that_turns_between_requests_is_a_loop_and_books_each_within_its_wall() {
    let (mut line, mut host, goroutine) = (Line::new(), Host::default(), Goroutine::NONE);
    let mut conns = [Conn::new(1, ROLE_SERVER), Conn::new(1, ROLE_SERVER)];
    let mut worker =
        Worker { line: &mut line, goroutine: &goroutine, process: &mut host, syscall_ns: 0 };
    let mut now_ns = 5 * MS;
    for (id, conn) in (1..).zip(&mut conns) {
        (conn.id, conn.arrival_ns, conn.read_ns, conn.phase) = (id, now_ns, now_ns, READING);
        begins(&mut worker, conn, now_ns);
        now_ns += 2 * MS;
    }
    for conn in conns.iter_mut().rev() {
        answers(&mut worker, conn, now_ns);
        let split = close(now_ns - conn.arrival_ns, &conn.parts);
        assert_eq!(split.overrun_ns, 0);
        assert_eq!(split.ns.iter().sum::<u64>(), now_ns - conn.arrival_ns);
        now_ns += MS;
    }
    assert_eq!(worker.line.is_loop, 1);
    assert_eq!(conns[1].parts.unit, UnitKind::Loop as u8);
    assert_eq!(conns[1].parts.ns[Part::Cpu as usize], 2 * MS);
    assert_ne!(conns[1].parts.estimated & Part::Cpu.bit(), 0);
}

/// Parked and back on thread 0, which answers: it has a `Parked` from here on.
const BACK: [Row; 5] = [
    (0, Event::Parks(GoWait::Mutex), 0),
    (0, Event::Idles, 1_000),
    (0, Event::Wakes, 0),
    (0, Event::Starts(OURS), 0),
    (0, Event::Answers, 1_000),
];

#[test]
fn a_run_before_an_idle_time_that_was_not_read_is_no_wait() {
    let (split, world) = replay(&[
        (0, Event::Parks(GoWait::ChanReceive), 0),
        (0, Event::Idles, 0),
        (0, Event::Wakes, 0),
        (0, Event::Starts(OURS), 2_000),
        (0, Event::Parks(GoWait::ChanReceive), 0),
        (0, Event::IdlesUnread, 0),
        (0, Event::Wakes, 0),
        (0, Event::Idles, 0),
    ]);
    assert_eq!(world.ran_ns, 2 * MS);
    assert_eq!(of(&split, &[Part::Wait, Part::Sched]), 0);
}

#[test]
fn what_was_booked_on_another_thread_is_not_booked_on_return() {
    let mut rows = BACK.to_vec();
    rows.extend([
        (0, Event::Parks(GoWait::Select), 0),
        (1, Event::Starts(OURS), 0),
        (1, Event::Seen, 3_000),
        (1, Event::Answers, 0),
        (1, Event::Parks(GoWait::Mutex), 0),
    ]);
    let (split, _) = replay(&rows);
    assert_eq!(split.overrun_ns, 0);
}

#[test]
fn what_was_booked_on_return_is_not_booked_where_it_had_been() {
    let mut rows = BACK.to_vec();
    rows.extend([
        (0, Event::Parks(GoWait::Select), 0),
        (1, Event::Starts(OURS), 0),
        (1, Event::Seen, 50),
        (1, Event::Parks(GoWait::Mutex), 0),
        (0, Event::Starts(OURS), 3_000),
        (0, Event::Answers, 0),
        // Only now does thread 1 show another.
        (1, Event::Starts(1), 0),
        (1, Event::Seen, 0),
    ]);
    let (split, world) = replay(&rows);
    assert_eq!(split.overrun_ns, 0);
    let told_ns = of(&split, &[Part::Cpu, Part::OsCpu]) + world.conn.parts.zone_ns;
    assert!(told_ns <= world.ran_ns + 2 * TIGHT_NS, "{told_ns} of {}", world.ran_ns);
}

#[test]
fn a_return_to_a_thread_that_nobody_saw_is_no_run_since_the_last_booking() {
    let (split, world) = replay(&[
        (0, Event::Parks(GoWait::Mutex), 200),
        (1, Event::Starts(OURS), 0),
        (1, Event::Answers, 0),
        (1, Event::Parks(GoWait::Select), 5_000),
    ]);
    assert_eq!(world.ran_ns, 0);
    assert!(of(&split, &[Part::Cpu, Part::OsCpu]) <= TIGHT_NS, "{split:?}");
}

#[test]
fn what_was_booked_on_a_second_return_is_not_booked_where_it_had_been() {
    let (split, _) = replay(&[
        (0, Event::Parks(GoWait::Mutex), 0),
        (1, Event::Starts(OURS), 1),
        (1, Event::Answers, 1),
        (1, Event::Parks(GoWait::Mutex), 0),
        (0, Event::Starts(OURS), 1),
        // Thread 0 has counted as its place all along; so does thread 1 now.
        (0, Event::Answers, 5_000),
        (1, Event::Idles, 1),
        (0, Event::Answers, 1),
        (0, Event::Parks(GoWait::Mutex), 1),
    ]);
    assert_eq!(split.overrun_ns, 0);
}
