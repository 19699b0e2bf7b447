//! Go programs that are built in other ways: by a newer release, stripped,
//! position independent. Their goroutines have to be followed all the same.

use std::process::Command;
use std::time::Duration;

use agent::event::request::Request;
use agent::probes::Lane;
use agent_common::parts::{Part, UnitKind};
use tests::apps::{self, GoBuild};
use tests::load::{Call, closed};
use tests::probe_run::{Probes, Setup};
use tests::workload::{Kind, Server};
use tests::{process, require, sys};

use crate::parts::{assert_fits, mean_ns, means};

/// The newest release, where the machine's is older.
const NEWEST: &str = "go1.27.3";
/// How long a handler sleeps.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a load lasts.
const TIME: Duration = Duration::from_secs(1);

/// All builds that can be had; one of them, another with every commit, where
/// not everything is tested.
fn builds(has_newest: bool) -> Vec<GoBuild> {
    let mut builds = Vec::new();
    for toolchain in [None, Some(NEWEST)].into_iter().take(1 + usize::from(has_newest)) {
        for (is_stripped, is_pie) in [(false, false), (true, false), (false, true), (true, true)] {
            builds.push(GoBuild { toolchain, is_stripped, is_pie });
        }
    }
    if require::is_full() {
        return builds;
    }
    let hash = process::run(Command::new("git").args(["rev-parse", "--short=7", "HEAD"]));
    let hash = hash.ok().and_then(|hash| usize::from_str_radix(hash.trim(), 16).ok());
    vec![builds[hash.unwrap_or(0) % builds.len()]]
}

fn check(build: GoBuild) {
    let server = Server::new(Kind::Go).built(build).start().unwrap();
    let addr = server.addr();
    let mut probes = Probes::start(Setup::default().lanes(&Lane::ALL)).unwrap();
    probes.watch(server.pid(), addr.port(), 1).unwrap();
    let plan = [Call::get("/sleep?ms=10")];
    let outcome = probes.run(|| closed::run(addr, &plan, 4, TIME)).unwrap();
    let completed = usize::try_from(outcome.tally.completed()).unwrap();
    let requests = probes.settled_requests(completed);
    assert_eq!(requests.len(), completed, "{build:?}");
    assert_fits(&requests);
    let all: Vec<&Request> = requests.iter().collect();
    println!("{build:?}: {}", means(&all));
    assert!(all.iter().all(|request| request.work.kind == UnitKind::Goroutine), "{build:?}");
    let waited_ns = mean_ns(&all, Part::Wait);
    let pause_ns = u64::try_from(PAUSE.as_nanos()).unwrap();
    assert!(waited_ns >= pause_ns * 9 / 10, "{build:?}: {waited_ns}");
}

#[test]
fn goroutines_are_followed_however_a_program_is_built() {
    require!(sys::is_root(), "root is needed");
    require!(Kind::Go.is_available(), "Go is not installed");
    let has_newest = apps::has_go_toolchain(NEWEST);
    for build in builds(has_newest) {
        check(build);
    }
    require!(has_newest, "{NEWEST} cannot be fetched: only the machine's Go was tried");
}
