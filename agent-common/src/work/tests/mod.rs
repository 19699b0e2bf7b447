//! Histories: threads and goroutines with a true timeline, of which the engine
//! is told what the kernel programs would see.

mod claim;
mod replay;

use std::collections::HashMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::conn::{Conn, READING, ROLE_SERVER};
use crate::go::GoWait;
use crate::parts::{MEASURED, Split, UnitKind, close};

const THREADS: usize = 3;
/// The request's; others have higher numbers.
const OURS: usize = 0;
const GOROUTINES: usize = 5;
const US: u64 = 1_000;
const MS: u64 = 1_000_000;

#[derive(Default)]
struct Host {
    parked: HashMap<u64, Parked>,
    open: HashMap<u64, u64>,
    busy_ns: u64,
}

impl Goroutines for &mut Host {
    fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }
    fn parked(&mut self, goid: u64) -> Option<&mut Parked> {
        self.parked.get_mut(&goid)
    }
    fn room(&mut self, goid: u64, request_ns: u64) -> Option<&mut Parked> {
        let known = self.parked.entry(goid).or_default();
        if known.request_ns < request_ns {
            *known = Parked::new();
            known.request_ns = request_ns;
        }
        (known.request_ns == request_ns).then_some(known)
    }
    fn forget(&mut self, goid: u64) {
        self.parked.remove(&goid);
    }
    fn take_samples(&mut self, _goid: u64) -> u16 {
        0
    }
    fn open_request(&self, goid: u64) -> u64 {
        self.open.get(&goid).copied().unwrap_or(0)
    }
    fn busy_ns(&self, _now_ns: u64) -> u64 {
        self.busy_ns
    }
}

fn begins_here(worker: &mut Worker<'_, &mut Host>, conn: &mut Conn, now_ns: u64) {
    begins(worker, conn, now_ns);
}

fn answers_here(worker: &mut Worker<'_, &mut Host>, conn: &mut Conn, now_ns: u64) {
    answers(worker, conn, now_ns);
}

struct World {
    now_ns: u64,
    host: Host,
    lines: [Line; THREADS],
    /// Who runs on a thread; `None` is its scheduler.
    on: [Option<usize>; THREADS],
    /// Since when a thread is off the CPU, and whether it idles.
    off: [Option<(u64, bool)>; THREADS],
    last_left: [Option<usize>; THREADS],
    goroutines: [Goroutine; GOROUTINES],
    conn: Conn,
    ran_ns: u64,
    /// In schedulers that looked for work; nothing tells when they began to.
    searched_ns: u64,
}

impl World {
    /// Our goroutine has just read its request on thread 0.
    fn new() -> Self {
        let goroutines = std::array::from_fn(|i| Goroutine {
            id: i as u64 + 1,
            seq: 250,
            reason: GoWait::IoWait as u8,
            ..Goroutine::unknown(1)
        });
        let mut world = Self {
            now_ns: 1_000 * MS,
            host: Host::default(),
            lines: [Line::new(); THREADS],
            on: [None; THREADS],
            off: [None; THREADS],
            last_left: [None; THREADS],
            goroutines,
            conn: Conn::new(1, ROLE_SERVER),
            ran_ns: 0,
            searched_ns: 0,
        };
        world.on[0] = Some(OURS);
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.conn.arrival_ns = self.now_ns;
        self.conn.read_ns = self.now_ns;
        self.conn.phase = READING;
        self.conn.goid = self.goroutines[OURS].id;
        self.ran_ns = 0;
        self.own(begins_here);
    }

    fn own(&mut self, act: impl Fn(&mut Worker<'_, &mut Host>, &mut Conn, u64)) {
        let Some(t) = self.on.iter().position(|on| *on == Some(OURS)) else { return };
        if self.off[t].is_some() {
            return;
        }
        let mut worker = Worker {
            line: &mut self.lines[t],
            goroutine: &self.goroutines[OURS],
            process: &mut self.host,
            syscall_ns: self.now_ns,
        };
        act(&mut worker, &mut self.conn, self.now_ns);
    }

    fn pass(&mut self, ns: u64) {
        self.now_ns += ns;
        for t in 0..THREADS {
            if self.off[t].is_none() {
                self.host.busy_ns += ns;
                self.ran_ns += if self.on[t] == Some(OURS) { ns } else { 0 };
                self.searched_ns += if self.on[t].is_none() { ns } else { 0 };
            }
        }
    }

    /// Silent, as all that the runtime does: only its memory tells.
    fn stop(&mut self, t: usize, reason: Option<GoWait>) {
        if self.off[t].is_none()
            && let Some(g) = self.on[t].take()
        {
            let goroutine = &mut self.goroutines[g];
            goroutine.seq = goroutine.seq.wrapping_add(1);
            goroutine.is_waiting = u8::from(reason.is_some());
            goroutine.reason = reason.map_or(goroutine.reason, |reason| reason as u8);
            self.last_left[t] = Some(g);
        }
    }

    fn start(&mut self, t: usize, g: usize) {
        if self.off[t].is_none() && self.on[t].is_none() && !self.on.contains(&Some(g)) {
            self.on[t] = Some(g);
            self.goroutines[g].is_waiting = 0;
        }
    }

    fn seen(&mut self, t: usize) {
        let is_asked = self.lines[t].open != 0 || !self.host.parked.is_empty();
        if self.off[t].is_none()
            && is_asked
            && let Some(g) = self.on[t]
        {
            let goroutine = self.goroutines[g];
            point(&mut self.lines[t], &mut &mut self.host, self.now_ns, &goroutine, &Why::NONE);
        }
    }

    /// A switch-out: idle if the scheduler has the thread, else preempted.
    fn leave(&mut self, t: usize, is_readable: bool) {
        if self.off[t].is_some() {
            return;
        }
        self.seen(t);
        let is_idle = self.on[t].is_none();
        self.off[t] = Some((self.now_ns, is_idle));
        let (line, mut host) = (&mut self.lines[t], &mut self.host);
        if is_idle && (line.open != 0 || !host.parked.is_empty()) {
            let left = self.last_left[t].filter(|_| is_readable).map(|g| self.goroutines[g]);
            let left = left.unwrap_or(Goroutine::unknown(1));
            if line.open != 0 && left.id == line.owner && left.seq != line.seq {
                leaves(line, &mut host, self.now_ns, Some((&left, 0)));
            } else {
                if line.open != 0 {
                    leaves(line, &mut host, self.now_ns, None);
                }
                if left.id != 0 {
                    left_last(line, &mut host, self.now_ns, &left, 0);
                }
            }
            line.left = left.id;
            line.owner = 0;
            line.open = 0;
            line.has_parked = 0;
            line.was_idle = 1;
        }
        line.point_ns = self.now_ns;
    }

    fn enter(&mut self, t: usize) {
        if let Some((since_ns, _)) = self.off[t].take() {
            let line = &mut self.lines[t];
            line.in_ns = self.now_ns;
            line.ready_ns = since_ns;
            line.point_ns = self.now_ns;
            if line.open != 0 {
                line.known_ns = self.now_ns;
                line.off(0, self.now_ns - since_ns);
            }
        }
    }

    /// Our goroutine gets a thread, if it has none, and answers.
    fn finish(&mut self) -> Split {
        let t = self.on.iter().position(|on| *on == Some(OURS)).unwrap_or(0);
        self.enter(t);
        if self.on[t] != Some(OURS) {
            self.stop(t, Some(GoWait::Select));
            self.start(t, OURS);
        }
        self.own(answers_here);
        let split = close(self.now_ns - self.conn.arrival_ns, &self.conn.parts);
        self.own(|worker, conn, _| ends(worker, conn));
        split
    }

    fn act(&mut self, &(what, t, g, ns): &Step) {
        let reasons = [GoWait::ChanReceive, GoWait::Select, GoWait::Mutex, GoWait::Sleep];
        match what {
            0 | 1 => self.stop(t, Some(reasons[g % 4])),
            2 => self.stop(t, None),
            3 | 4 => self.start(t, g),
            5 => self.seen(t),
            6 => self.leave(t, g != 0),
            7 | 8 => self.enter(t),
            _ => self.own(answers_here),
        }
        self.pass(ns);
    }
}

type Step = (u8, usize, usize, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ns = prop_oneof![1..20 * US, 50 * US..400 * US, MS..30 * MS];
    proptest::collection::vec((0u8..10, 0..THREADS, 0..GOROUTINES, ns), 0..80)
}

fn of(split: &Split, parts: &[Part]) -> u64 {
    parts.iter().map(|part| split.ns[*part as usize]).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn no_history_measures_more_than_the_wall(first in steps(), second in steps()) {
        let mut world = World::new();
        for steps in [first, second] {
            steps.iter().for_each(|step| world.act(step));
            let wall_ns = world.now_ns - world.conn.arrival_ns;
            let split = world.finish();
            prop_assert_eq!(split.overrun_ns, 0, "{:?} of {}", world.conn.parts, wall_ns);
            prop_assert_eq!(split.ns.iter().sum::<u64>(), wall_ns);
            prop_assert!(world.conn.parts.ns[..MEASURED].iter().all(|ns| *ns <= wall_ns));
            world.begin();
        }
    }

    #[test]
    fn a_run_that_nobody_saw_is_no_wait(run_ns in MS..50 * MS, wait_ns in MS..50 * MS) {
        let mut world = World::new();
        world.stop(0, Some(GoWait::ChanReceive));
        world.start(0, 1);
        world.seen(0);
        world.pass(wait_ns);
        world.start(1, OURS);
        world.pass(run_ns);
        world.stop(1, Some(GoWait::Select));
        world.start(1, 2);
        world.seen(1);
        world.pass(wait_ns);
        world.stop(0, Some(GoWait::Mutex));
        let split = world.finish();
        let waited_ns = of(&split, &[Part::Wait, Part::Sched]);
        prop_assert!(waited_ns <= 2 * wait_ns + TIGHT_NS, "{:?}", split);
    }

    #[test]
    fn one_stop_between_idle_threads_is_all_told(
        run_ns in 1..50 * MS, wait_ns in 1..50 * MS, after_ns in 1..50 * MS,
    ) {
        let mut world = World::new();
        world.pass(run_ns);
        world.stop(0, Some(GoWait::ChanReceive));
        world.leave(0, true);
        // An idle time is noted only while something is parked.
        world.leave(1, true);
        world.pass(wait_ns);
        world.enter(1);
        world.start(1, OURS);
        world.pass(after_ns);
        let split = world.finish();
        prop_assert_eq!(of(&split, &[Part::Wait]), wait_ns);
        prop_assert_eq!(of(&split, &[Part::Cpu, Part::OsCpu]), run_ns + after_ns);
        prop_assert_eq!(of(&split, &[Part::Unknown]), 0);
    }

    #[test]
    fn a_goroutine_that_never_stops_is_split_exactly(
        pieces in proptest::collection::vec((1..9 * MS, 1..9 * MS), 1..20),
    ) {
        let mut world = World::new();
        for (run_ns, off_ns) in &pieces {
            world.pass(*run_ns);
            world.leave(0, true);
            world.pass(*off_ns);
            world.enter(0);
        }
        let split = world.finish();
        let run_ns: u64 = pieces.iter().map(|(run_ns, _)| run_ns).sum();
        prop_assert_eq!(of(&split, &[Part::Cpu, Part::OsCpu]), run_ns);
        prop_assert_eq!(of(&split, &[Part::Runqueue]), pieces.iter().map(|p| p.1).sum::<u64>());
        prop_assert_eq!(of(&split, &[Part::Unknown]), 0);
        prop_assert_eq!(world.conn.parts.estimated, 0);
        prop_assert_eq!(world.conn.parts.unit, UnitKind::Goroutine as u8);
    }

    #[test]
    fn what_is_exact_was_run(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.act(step));
        let ran_ns = world.ran_ns;
        let split = world.finish();
        if world.conn.parts.estimated & Part::Cpu.bit() == 0 {
            let told_ns = of(&split, &[Part::Cpu, Part::OsCpu]);
            let bound_ns = ran_ns + world.searched_ns + TIGHT_NS * steps.len() as u64;
            prop_assert!(told_ns <= bound_ns, "{} of {}", told_ns, ran_ns);
        }
    }

    #[test]
    fn a_thread_that_serves_alone_is_told_exactly(
        pieces in proptest::collection::vec((0..9 * MS, 0..9 * MS, 0u8..6), 0..20),
    ) {
        let (mut line, mut conn) = (Line::new(), Conn::new(1, ROLE_SERVER));
        let (mut host, goroutine) = (Host::default(), Goroutine::NONE);
        let begin_ns = 5 * MS;
        let mut now_ns = begin_ns;
        conn.id = 77;
        (conn.arrival_ns, conn.read_ns, conn.phase) = (now_ns, now_ns, READING);
        let mut worker = Worker {
            line: &mut line, goroutine: &goroutine, process: &mut host, syscall_ns: 0,
        };
        begins(&mut worker, &mut conn, now_ns);
        let (mut run_ns, mut offs_ns) = (0, [0; 6]);
        for (on_ns, off_ns, reason) in pieces {
            now_ns += on_ns + off_ns;
            worker.line.off(reason, off_ns);
            run_ns += on_ns;
            offs_ns[usize::from(reason)] += off_ns;
        }
        answers(&mut worker, &mut conn, now_ns);
        let split = close(now_ns - begin_ns, &conn.parts);
        prop_assert_eq!(of(&split, &[Part::Cpu, Part::OsCpu]), run_ns);
        let order = [
            Part::Runqueue, Part::Throttled, Part::Lock, Part::Disk, Part::Memory, Part::Sleep,
        ];
        prop_assert_eq!(order.map(|part| of(&split, &[part])), offs_ns);
        prop_assert_eq!(of(&split, &[Part::Unknown]) + split.overrun_ns, 0);
        prop_assert_eq!(conn.parts.unit, UnitKind::Thread as u8);
    }

    #[test]
    fn an_earlier_request_leaves_nothing_to_a_later_one(steps in steps(), run_ns in 0..9 * MS) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.act(step));
        world.finish();
        world.pass(3 * MS);
        world.begin();
        world.pass(run_ns);
        let split = world.finish();
        prop_assert_eq!(of(&split, &[Part::Cpu, Part::OsCpu]), run_ns);
        prop_assert_eq!(split.ns.iter().sum::<u64>(), run_ns);
    }

    #[test]
    fn no_run_hides_in_a_wait(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.act(step));
        let (ran_ns, wall_ns) = (world.ran_ns, world.now_ns - world.conn.arrival_ns);
        let split = world.finish();
        let waited_ns = of(&split, &[Part::Wait, Part::Sched, Part::Gc, Part::Runqueue]);
        let bound_ns = wall_ns - ran_ns + TIGHT_NS * steps.len() as u64;
        prop_assert!(waited_ns <= bound_ns, "{} of {}, {:?}", waited_ns, wall_ns - ran_ns, split);
    }
}
