//! A capture as a trace for Perfetto: what is drawn on which track.
//!
//! Separate from the format, and from how the times were found.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::events::{Events, Track};
use super::gather::Gathered;
use super::goroutines::Goroutine;
use super::lanes::lanes;
use super::state::{Call, State, Stretch, call_name, within};
use super::threads::Thread;
use crate::tap::captured::{Process, Window};
use crate::tap::traced::{Traced, part_name};

/// Everything that is drawn.
pub(super) struct Picture<'a> {
    /// Requests, processes, and when.
    pub(super) gathered: &'a Gathered,
    /// See there.
    pub(super) window: Window,
    /// What threads did.
    pub(super) threads: &'a [Thread],
    /// What goroutines did.
    pub(super) goroutines: &'a BTreeMap<(u32, u64), Goroutine>,
}

/// A request with where it is drawn.
struct Drawn<'a> {
    traced: &'a Traced<'static>,
    track: Track,
}

/// Writes the trace.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn write<W: Write>(picture: &Picture<'_>, out: W) -> io::Result<W> {
    let window = picture.window;
    let mut requests: Vec<&Traced<'static>> = requests(picture).collect();
    requests.sort_by_key(|request| request.arrival_ns);
    let origin_ns =
        requests.first().map_or(window.from_ns, |first| first.arrival_ns.min(window.from_ns));
    let mut events = Events::begin(out, origin_ns)?;
    let mut drawn = Vec::new();
    let mut of_goroutine = BTreeMap::new();
    for pid in pids(picture) {
        let name = name(pid, picture.gathered.processes.get(&pid), &requests);
        let of_process: Vec<_> = requests.iter().filter(|one| one.pid == pid).copied().collect();
        draw_requests(&mut events, picture, (&name, &of_process), &mut drawn)?;
        draw_goroutines(&mut events, picture, (&name, pid), &mut of_goroutine)?;
        draw_threads(&mut events, picture, (&name, pid))?;
    }
    draw_calls(&mut events, &drawn)?;
    for Drawn { traced, track } in &drawn {
        if let Some(to) = of_goroutine.get(&(traced.pid, traced.goid))
            && let Some(goroutine) = picture.goroutines.get(&(traced.pid, traced.goid))
            && within(&goroutine.stretches, traced.read_ns, traced.read_ns + 1)
                .any(|stretch| stretch.state != State::Unseen)
        {
            events.arrow("handled by", (*track, traced.read_ns), (*to, traced.read_ns))?;
        }
    }
    events.end(&About::new(picture, requests.len()))
}

/// Requests that ended within the window.
pub(super) fn requests<'a>(
    picture: &Picture<'a>,
) -> impl Iterator<Item = &'a Traced<'static>> + use<'a> {
    let window = picture.window;
    let all = picture.gathered.requests.iter();
    all.filter(move |one| (window.from_ns..=window.until_ns).contains(&one.end_ns))
}

/// Every process of which there is anything, ascending.
pub(super) fn pids(picture: &Picture<'_>) -> Vec<u32> {
    let of_requests = requests(picture).map(|request| request.pid);
    let mut pids: Vec<u32> =
        of_requests.chain(picture.threads.iter().map(|thread| thread.tgid)).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

fn name(pid: u32, process: Option<&Process>, requests: &[&Traced<'static>]) -> String {
    let known = process.map(|process| label(&process.namespace, &process.pod, &process.workload));
    let known = known.filter(|name| !name.is_empty()).or_else(|| {
        let request = requests.iter().find(|request| request.pid == pid)?;
        Some(label(&request.namespace, &request.pod, &request.workload))
    });
    format!("{} (pid {pid})", known.as_deref().unwrap_or("process"))
}

/// How a workload is called.
pub(super) fn label(namespace: &str, pod: &str, workload: &str) -> String {
    if pod.is_empty() { workload.to_owned() } else { format!("{namespace}/{pod}") }
}

fn draw_requests<'a>(
    events: &mut Events<impl Write>,
    picture: &Picture<'_>,
    (name, requests): (&str, &[&'a Traced<'static>]),
    drawn: &mut Vec<Drawn<'a>>,
) -> io::Result<()> {
    if requests.is_empty() {
        return Ok(());
    }
    let group = events.group(&format!("{name}: requests"))?;
    let mut tracks: Vec<Track> = Vec::new();
    let lanes = lanes(requests.iter().map(|one| (one.arrival_ns, one.end_ns)));
    for (traced, lane) in requests.iter().zip(lanes) {
        let track = match tracks.get(lane) {
            Some(track) => *track,
            None => {
                let track = events.track(group, &format!("request {}", lane + 1))?;
                tracks.push(track);
                track
            }
        };
        drawn.push(Drawn { traced, track });
        let title = title(traced);
        events.slice(track, &title, (traced.arrival_ns, traced.end_ns), &OfRequest::new(traced))?;
        draw_parts(events, picture, traced, track)?;
    }
    Ok(())
}

/// The method and the path, or the protocol.
fn title(traced: &Traced<'_>) -> String {
    match (&*traced.method, traced.path.as_deref()) {
        ("", _) => traced.protocol.to_string(),
        (method, None) => method.to_owned(),
        (method, Some(path)) => format!("{method} {path}"),
    }
}

/// The parts of a request in their order where the capture shows it; else each
/// with its length, one after the other.
fn draw_parts(
    events: &mut Events<impl Write>,
    picture: &Picture<'_>,
    traced: &Traced<'_>,
    track: Track,
) -> io::Result<()> {
    let (arrival_ns, read_ns, end_ns) = (traced.arrival_ns, traced.read_ns, traced.end_ns);
    let unit = (read_ns >= picture.window.from_ns).then(|| unit(picture, traced)).flatten();
    let Some(unit) = unit else {
        let mut at_ns = arrival_ns;
        for (part, ns) in traced.parts.iter() {
            let args = json!({"order": "unknown"});
            events.slice(track, part_name(part), (at_ns, (at_ns + ns).min(end_ns)), &args)?;
            at_ns = (at_ns + ns).min(end_ns);
        }
        return Ok(());
    };
    if arrival_ns < read_ns {
        events.slice(track, "unread", (arrival_ns, read_ns), &json!({}))?;
    }
    for stretch in within(unit, read_ns, end_ns) {
        let span = (stretch.from_ns, stretch.until_ns);
        events.slice(track, stretch.state.name(), span, &thread(&stretch))?;
    }
    Ok(())
}

/// What the goroutine or the thread did that served a request.
fn unit<'a>(picture: &Picture<'a>, traced: &Traced<'_>) -> Option<&'a [Stretch]> {
    if traced.goid != 0 {
        let goroutine = picture.goroutines.get(&(traced.pid, traced.goid))?;
        return Some(&goroutine.stretches);
    }
    if traced.unit != "thread" {
        return None;
    }
    let of_thread = |thread: &&Thread| (thread.tgid, thread.tid) == (traced.pid, traced.tid);
    picture.threads.iter().find(of_thread).map(|thread| thread.stretches.as_slice())
}

fn draw_goroutines(
    events: &mut Events<impl Write>,
    picture: &Picture<'_>,
    (name, pid): (&str, u32),
    tracks: &mut BTreeMap<(u32, u64), Track>,
) -> io::Result<()> {
    let mut group = None;
    for (id, goroutine) in picture.goroutines.range((pid, 0)..=(pid, u64::MAX)) {
        let group = match group {
            Some(group) => group,
            None => *group.insert(events.group(&format!("{name}: goroutines"))?),
        };
        let track = events.track(group, &format!("goroutine {}", id.1))?;
        tracks.insert(*id, track);
        draw_stretches(events, track, &goroutine.stretches, &goroutine.calls)?;
    }
    Ok(())
}

fn draw_threads(
    events: &mut Events<impl Write>,
    picture: &Picture<'_>,
    (name, pid): (&str, u32),
) -> io::Result<()> {
    let mut group = None;
    for thread in picture.threads.iter().filter(|thread| thread.tgid == pid) {
        let group = match group {
            Some(group) => group,
            None => *group.insert(events.group(&format!("{name}: threads"))?),
        };
        let track = events.track(group, &format!("thread {}", thread.tid))?;
        draw_stretches(events, track, &thread.stretches, &thread.calls)?;
    }
    Ok(())
}

/// Stretches, and within those that run the system calls that they made.
fn draw_stretches(
    events: &mut Events<impl Write>,
    track: Track,
    stretches: &[Stretch],
    calls: &[Call],
) -> io::Result<()> {
    let mut calls = calls.iter().peekable();
    for stretch in stretches.iter().filter(|stretch| stretch.state != State::Unseen) {
        let span = (stretch.from_ns, stretch.until_ns);
        events.slice(track, stretch.state.name(), span, &thread(stretch))?;
        if stretch.state != State::Running {
            continue;
        }
        let mut at_ns = stretch.from_ns;
        while let Some(call) = calls.peek() {
            if call.from_ns >= stretch.until_ns {
                break;
            }
            let (from_ns, until_ns) =
                (call.from_ns.max(at_ns), call.until_ns.min(stretch.until_ns));
            if from_ns < until_ns {
                let name = call_name(call.nr).unwrap_or("system call");
                events.slice(track, name, (from_ns, until_ns), &json!({}))?;
                at_ns = until_ns;
            }
            if call.until_ns > stretch.until_ns {
                // The rest of it is in a later stretch.
                break;
            }
            calls.next();
        }
    }
    Ok(())
}

fn thread(stretch: &Stretch) -> Value {
    if stretch.tid == 0 { json!({}) } else { json!({"tid": stretch.tid}) }
}

/// Calls to peers on tracks of their own, with arrows from who made them and to
/// who answered, where that is a request that was captured too.
fn draw_calls(events: &mut Events<impl Write>, drawn: &[Drawn<'_>]) -> io::Result<()> {
    let mut calls: Vec<_> = drawn
        .iter()
        .flat_map(|from| from.traced.calls.iter().map(move |call| (from, call)))
        .filter(|(_, call)| call.sent_ns > 0 && call.sent_ns <= call.end_ns)
        .collect();
    if calls.is_empty() {
        return Ok(());
    }
    calls.sort_by_key(|(_, call)| call.sent_ns);
    let answers: BTreeMap<(&str, u64), &Drawn<'_>> =
        drawn.iter().map(|one| ((&*one.traced.client, one.traced.arrival_ns), one)).collect();
    let group = events.group("calls to peers")?;
    let mut tracks: Vec<Track> = Vec::new();
    let lanes = lanes(calls.iter().map(|(_, call)| (call.sent_ns, call.end_ns)));
    for ((from, call), lane) in calls.iter().zip(lanes) {
        let track = match tracks.get(lane) {
            Some(track) => *track,
            None => {
                let track = events.track(group, &format!("call {}", lane + 1))?;
                tracks.push(track);
                track
            }
        };
        let what = if call.method.is_empty() { &call.protocol } else { &call.method };
        let args = json!({"status": call.status, "caller": call.caller, "pid": from.traced.pid});
        let title = format!("{what} {}", call.peer);
        events.slice(track, &title, (call.sent_ns, call.end_ns), &args)?;
        if (call.sent_ns..=call.end_ns).contains(&call.ready_ns) && call.ready_ns > call.sent_ns {
            events.slice(track, "waits", (call.sent_ns, call.ready_ns), &json!({}))?;
        }
        let starts = call.sent_ns.clamp(from.traced.arrival_ns, from.traced.end_ns);
        events.arrow("calls", (from.track, starts), (track, call.sent_ns))?;
        // The peer's request came on this connection, and while it was waited for.
        // Clocks of one node are one, but on loopback it may be told in either order.
        let first = (&*call.local, call.sent_ns.saturating_sub(100_000));
        let answer = answers.range(first..=(&*call.local, call.end_ns)).next();
        if let Some((_, answer)) = answer {
            let arrival_ns = answer.traced.arrival_ns;
            let sent_ns = arrival_ns.clamp(call.sent_ns, call.end_ns);
            events.arrow("answered by", (track, sent_ns), (answer.track, arrival_ns))?;
        }
    }
    Ok(())
}

/// What is said of a request beside its slice.
#[derive(Serialize)]
struct OfRequest<'a> {
    status: u16,
    client: &'a str,
    goid: u64,
    tid: u32,
    wall_us: u64,
    parts_us: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    wait: &'a str,
}

impl<'a> OfRequest<'a> {
    fn new(traced: &'a Traced<'_>) -> Self {
        Self {
            status: traced.status,
            client: &traced.client,
            goid: traced.goid,
            tid: traced.tid,
            wall_us: traced.wall_ns / 1000,
            parts_us: traced.parts.iter().map(|(part, ns)| (part_name(part), ns / 1000)).collect(),
            wait: &traced.wait,
        }
    }
}

/// What is said of the capture.
#[derive(Serialize)]
struct About {
    by: &'static str,
    seconds: f64,
    requests: usize,
    requests_missing: u64,
    points: u64,
    points_lost: u64,
    points_dropped: u64,
}

impl About {
    fn new(picture: &Picture<'_>, requests: usize) -> Self {
        let window = picture.window;
        Self {
            by: concat!("strata ", env!("CARGO_PKG_VERSION")),
            seconds: window.until_ns.saturating_sub(window.from_ns) as f64 / 1e9,
            requests,
            requests_missing: picture.gathered.missed_requests,
            points: window.points,
            points_lost: window.lost,
            points_dropped: window.dropped,
        }
    }
}
