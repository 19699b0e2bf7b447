//! `strata capture`: what goroutines did in a window, against what their
//! handlers wrote down, and that nothing of it stays.
//!
//! What belongs here: the verb as a user runs it, its file by the rules of its
//! format, its times beside those of the handlers and of the scheduler.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::expect::{OUTSIDE, assert_http_counts, client_counts};
use serde_json::Value;
use tests::agent_process::{Agent, run_once, strata};
use tests::journal::{self, Entry};
use tests::load::{Call, closed, sequential};
use tests::process::Process;
use tests::workload::{Kind, Server, Workload};
use tests::{eventually, require, sys};

/// Longer than anything here takes that ends by itself.
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any test needs: they end their captures themselves.
const LONG: &str = "60s";

/// A capture that runs.
struct Capture {
    process: Process,
    dir: tempfile::TempDir,
}

impl Capture {
    /// Starts one, into a table and a file, and waits until it says that it
    /// captures.
    #[track_caller]
    fn start(socket: &Path, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = strata();
        command
            .args(["capture", "--for", LONG, "-o", "table", "-o"])
            .arg(dir.path().join("t.json"));
        command.arg("--socket").arg(socket).args(args);
        let process = Process::spawn(&mut command, dir.path(), "capture").unwrap();
        let capture = Self { process, dir };
        let begins = || capture.process.stderr();
        let said = eventually::settle(LIMIT, begins, |said| said.contains("capturing "));
        assert!(said.contains("capturing "), "{said}");
        capture
    }

    /// Ends it as Ctrl-C does, and gives its events and its table.
    #[track_caller]
    fn interrupt(mut self) -> (Value, String) {
        sys::send_signal(self.process.pid(), libc::SIGINT).unwrap();
        let status = self.process.wait(LIMIT);
        let said = self.process.stderr();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{said}");
        let text = std::fs::read_to_string(self.dir.path().join("t.json")).unwrap();
        let left: Vec<_> = std::fs::read_dir(self.dir.path()).unwrap().collect();
        assert!(
            left.iter().flatten().all(|file| !file.file_name().to_string_lossy().contains(".part"))
        );
        (serde_json::from_str(&text).unwrap(), self.process.stdout())
    }
}

/// A track, by its process and thread.
type Track = (u64, u64);

/// A slice of the trace.
#[derive(Clone, Debug)]
struct Slice {
    track: Track,
    name: String,
    from_ns: u64,
    until_ns: u64,
    args: Value,
}

/// A trace that keeps the rules of its format.
struct Trace {
    slices: Vec<Slice>,
    /// Names of tracks, and of the groups that they are in.
    tracks: BTreeMap<Track, (String, String)>,
    /// Arrows by name, with the tracks where they begin and end.
    arrows: Vec<(String, Track, Track)>,
    about: Value,
}

#[track_caller]
fn ns(event: &Value, member: &str) -> u64 {
    let micros = event[member].as_f64().unwrap_or_else(|| panic!("{member}: {event}"));
    assert!((0.0..1e12).contains(&micros), "{member}: {event}");
    (micros * 1000.0).round() as u64
}

#[track_caller]
fn text(event: &Value, member: &str) -> String {
    event[member].as_str().unwrap_or_else(|| panic!("{member}: {event}")).to_owned()
}

impl Trace {
    /// Reads it by the rules of the trace event format: an object with a list of
    /// events, each with its phase, process, thread and time; slices of a thread
    /// lie within each other or apart; an arrow has two ends, each in a slice.
    #[track_caller]
    fn read(value: &Value) -> Self {
        let (mut groups, mut names) = (BTreeMap::new(), BTreeMap::new());
        let (mut slices, mut ends) = (Vec::new(), BTreeMap::<u64, Vec<Value>>::new());
        assert!(matches!(value["displayTimeUnit"].as_str(), Some("ns" | "ms")));
        for event in value["traceEvents"].as_array().unwrap() {
            let number = |member: &str| event[member].as_u64().unwrap_or_else(|| panic!("{event}"));
            let track = (number("pid"), number("tid"));
            match event["ph"].as_str() {
                Some("M") => {
                    let name = event["args"]["name"].as_str().map(str::to_owned);
                    match (event["name"].as_str(), name) {
                        (Some("process_name"), Some(name)) => drop(groups.insert(track.0, name)),
                        (Some("thread_name"), Some(name)) => drop(names.insert(track, name)),
                        (Some("process_sort_index" | "thread_sort_index"), None) => {
                            assert!(event["args"]["sort_index"].is_u64(), "{event}");
                        }
                        _ => panic!("{event}"),
                    }
                }
                Some("X") => {
                    let from_ns = ns(event, "ts");
                    slices.push(Slice {
                        track,
                        name: text(event, "name"),
                        from_ns,
                        until_ns: from_ns + ns(event, "dur"),
                        args: event["args"].clone(),
                    });
                }
                Some("s" | "f") => ends.entry(number("id")).or_default().push(event.clone()),
                _ => panic!("{event}"),
            }
        }
        let mut tracks = BTreeMap::new();
        for (track, name) in names {
            tracks.insert(track, (groups[&track.0].clone(), name));
        }
        let mut trace =
            Self { slices, tracks, arrows: Vec::new(), about: value["otherData"].clone() };
        let outer = trace.assert_nests();
        for ends in ends.into_values() {
            trace.take_arrow(&ends, &outer);
        }
        trace
    }

    /// Gives the slices that lie in no other, by track, in order.
    #[track_caller]
    fn assert_nests(&self) -> BTreeMap<Track, Vec<(u64, u64)>> {
        let mut outer = BTreeMap::<Track, Vec<(u64, u64)>>::new();
        let mut open: BTreeMap<Track, Vec<&Slice>> = BTreeMap::new();
        for slice in &self.slices {
            assert!(self.tracks.contains_key(&slice.track), "no such track: {slice:?}");
            let stack = open.entry(slice.track).or_default();
            while stack.last().is_some_and(|last| last.until_ns <= slice.from_ns) {
                stack.pop();
            }
            if let Some(last) = stack.last() {
                let is_within = last.from_ns <= slice.from_ns && slice.until_ns <= last.until_ns;
                assert!(is_within, "{slice:?} in {last:?}");
            } else {
                outer.entry(slice.track).or_default().push((slice.from_ns, slice.until_ns));
            }
            stack.push(slice);
        }
        outer
    }

    #[track_caller]
    fn take_arrow(&mut self, ends: &[Value], outer: &BTreeMap<Track, Vec<(u64, u64)>>) {
        let [from, to] = ends else { panic!("{ends:?}") };
        assert_eq!((&from["ph"], &to["ph"], &to["bp"]), (&"s".into(), &"f".into(), &"e".into()));
        let place = |end: &Value| {
            let track = (end["pid"].as_u64().unwrap(), end["tid"].as_u64().unwrap());
            let at_ns = ns(end, "ts");
            let slices = &outer[&track];
            let after = slices.partition_point(|(from_ns, _)| *from_ns <= at_ns);
            assert!(after > 0 && at_ns <= slices[after - 1].1, "in no slice: {end}");
            track
        };
        let arrow = (text(from, "name"), place(from), place(to));
        assert_eq!(arrow.0, text(to, "name"));
        self.arrows.push(arrow);
    }

    /// Slices of tracks whose group ends so.
    fn of(&self, group: &str) -> impl Iterator<Item = &Slice> {
        self.slices.iter().filter(move |slice| self.tracks[&slice.track].0.ends_with(group))
    }

    /// Outer slices of requests, in order.
    fn requests(&self) -> Vec<&Slice> {
        let mut requests: Vec<_> =
            self.of(": requests").filter(|slice| slice.args["client"].is_string()).collect();
        requests.sort_by_key(|slice| slice.from_ns);
        requests
    }

    /// Time in slices of this name within another.
    fn within(&self, outer: &Slice, name: &str) -> u64 {
        let inner = self.slices.iter().filter(|slice| {
            slice.track == outer.track
                && slice.name == name
                && outer.from_ns <= slice.from_ns
                && slice.until_ns <= outer.until_ns
        });
        inner.map(|slice| slice.until_ns - slice.from_ns).sum()
    }
}

/// What the scheduler says that a process has run, nanoseconds.
fn ran_ns(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

fn capturing(agent: &Agent) -> f64 {
    agent.scrape().unwrap().sum("strata_agent_capturing", &[])
}

#[test]
fn a_handler_that_computes_and_sleeps_is_drawn_as_it_was() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("journal");
    let server = Server::new(Kind::Go).arg("-log").arg(log.to_str().unwrap()).start().unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    // Who is there already is known by then.
    sequential::run(server.addr(), &[Call::get("/hello")], 5, true).unwrap();
    let capture = Capture::start(&agent.socket(), &[]);
    let before_ns = ran_ns(server.pid());
    // Three times 5 ms of work and 5 ms of sleep.
    sequential::run(server.addr(), &[Call::get("/zig?us=5000")], 40, true).unwrap();
    let took_ns = ran_ns(server.pid()) - before_ns;
    let (value, table) = capture.interrupt();
    let trace = Trace::read(&value);

    sequential::run(server.addr(), &[Call::get("/flush")], 1, true).unwrap();
    let entries = journal::read(&log).unwrap();
    let entries: Vec<&Entry> = entries.iter().filter(|entry| entry.path == "/zig").collect();
    let requests = trace.requests();
    assert_eq!((entries.len(), requests.len()), (40, 40), "{table}");
    assert_eq!(trace.about["requests_missing"], 0);
    assert_eq!(trace.about["points_lost"], 0, "the ring was hardly used: {}", trace.about);

    // Request by request: as the handler says, within what a busy machine does.
    let of = |name: &str| median(requests.iter().map(|one| trace.within(one, name)).collect());
    let noted = |what: &str| median(entries.iter().map(|entry| entry.noted_ns(what)).collect());
    let (spun_ns, slept_ns) = (noted("spin"), noted("sleep"));
    let (running_ns, sleep_ns) = (of("running"), of("sleep"));
    let around = |value: u64, truth: u64| (truth * 6 / 10..=truth * 13 / 10).contains(&value);
    assert!(around(running_ns, spun_ns), "ran {running_ns} of {spun_ns}");
    assert!(around(sleep_ns, slept_ns), "slept {sleep_ns} of {slept_ns}");
    for (request, entry) in requests.iter().zip(&entries) {
        assert_eq!(request.args["goid"], entry.goid, "{request:?}");
    }

    // The goroutine's own track says the same, and an arrow leads there.
    let goid = entries[0].goid;
    let name = format!("goroutine {goid}");
    let track = trace.tracks.iter().find(|(_, (_, track))| *track == name).unwrap().0;
    let slept: Vec<_> =
        trace.slices.iter().filter(|s| s.track == *track && s.name == "sleep").collect();
    assert!(slept.len() >= 60, "three a request: {}", slept.len());
    let arrows = trace.arrows.iter().filter(|(name, _, to)| name == "handled by" && to == track);
    assert!(arrows.count() >= 20);
    assert!(table.contains(&name) && table.contains("sleep"), "{table}");

    // Threads ran for as long as the scheduler says.
    let threads = trace.of(": threads").filter(|slice| slice.name == "running");
    let ran_ns: u64 = threads.map(|slice| slice.until_ns - slice.from_ns).sum();
    let slack_ns = took_ns / 5 + 20_000_000;
    assert!(ran_ns.abs_diff(took_ns) <= slack_ns, "{ran_ns} against {took_ns}:\n{table}");
}

#[test]
fn a_call_leads_from_who_makes_it_to_who_answers() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let back = Workload::start(Kind::Go).unwrap();
    let url = format!("http://{}/hello", back.addr());
    let front = Server::new(Kind::Go).arg("-downstream").arg(url).start().unwrap();
    let ports = format!("{},{}", front.addr().port(), back.addr().port());
    let agent = Agent::start(&["--port", &ports]).unwrap();
    sequential::run(front.addr(), &[Call::get("/down")], 5, true).unwrap();
    let capture = Capture::start(&agent.socket(), &[]);
    sequential::run(front.addr(), &[Call::get("/down")], 30, true).unwrap();
    let (value, table) = capture.interrupt();
    let trace = Trace::read(&value);
    assert_eq!(trace.requests().len(), 60, "{table}");
    let count = |name: &str| trace.arrows.iter().filter(|arrow| arrow.0 == name).count();
    assert!(count("calls") >= 25, "{}", count("calls"));
    assert!(count("answered by") >= 25, "{}", count("answered by"));
    let of = |server: &Workload| format!("(pid {}): requests", server.pid());
    let (from, to) = (of(&front), of(&back));
    for (name, begin, end) in &trace.arrows {
        let group = |track: &Track| &trace.tracks[track].0;
        assert!(name != "calls" || group(begin).ends_with(&from), "{name} {begin:?}");
        assert!(name != "answered by" || group(end).ends_with(&to), "{name} {end:?}");
    }
}

#[test]
fn no_request_is_lost_for_a_capture_of_a_busy_server() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let capture = Capture::start(&agent.socket(), &[]);
    let plan = [Call::get("/hello")];
    let sent = closed::run(server.addr(), &plan, 16, Duration::from_secs(2)).unwrap();
    let (value, _) = capture.interrupt();
    let trace = Trace::read(&value);
    assert!(trace.about["points"].as_u64().unwrap() > 1_000, "{}", trace.about);
    assert_http_counts(&agent, OUTSIDE, &client_counts(&sent.tally));
    let metrics = agent.scrape().unwrap();
    for outcome in ["lost", "dropped", "sampled"] {
        let requests = metrics.sum("strata_requests_total", &[("outcome", outcome)]);
        assert_eq!(requests, 0.0, "{outcome}");
    }
}

#[test]
fn one_captures_at_a_time_and_nothing_is_left_of_it() {
    require!(Kind::Go.is_available(), "Go is not installed");
    let server = Workload::start(Kind::Go).unwrap();
    let agent = Agent::start_on_port(server.addr().port()).unwrap();
    let socket = agent.socket();
    sequential::run(server.addr(), &[Call::get("/hello")], 5, true).unwrap();
    assert_eq!(capturing(&agent), 0.0);
    let mut first = Capture::start(&socket, &[]);
    let on = eventually::settle(LIMIT, || capturing(&agent), |value| *value == 1.0);
    assert_eq!(on, 1.0);

    let args = ["capture", "--for", "1s", "--socket", socket.to_str().unwrap()];
    let second = run_once(&[], &args, LIMIT).unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("only one can at a time"), "{said}");

    first.process.kill().unwrap();
    let off = eventually::settle(LIMIT, || capturing(&agent), |value| *value == 0.0);
    assert_eq!(off, 0.0, "it goes with who wanted it");

    // By its time, and without anybody's help. (The place is free when the last
    // points of the first have come, a moment after its end.)
    let capture = || run_once(&[], &args, LIMIT).unwrap();
    let third = eventually::settle(LIMIT, capture, |output| output.status.success());
    assert_eq!(third.status.code(), Some(0), "{third:?}");
    let off = eventually::settle(LIMIT, || capturing(&agent), |value| *value == 0.0);
    assert_eq!(off, 0.0);
}

#[test]
fn a_target_that_is_nobody_is_4_and_a_file_that_cannot_be_is_1() {
    let agent = Agent::start(&[]).unwrap();
    let socket = agent.socket().display().to_string();
    for (args, code, words) in [
        (["--comm", "no-such-name"], 4, "--comm no-such-name"),
        (["--for", "2m"], 2, "1m"),
        (["-o", "json"], 2, "trace.json"),
        (["-o", "/nonexistent/t.json"], 1, "/nonexistent/t.json"),
    ] {
        let args = [&["capture", "--socket", &socket][..], &args].concat();
        let output = run_once(&[], &args, LIMIT).unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{output:?}");
        assert_eq!(output.stdout, b"");
    }
}
