//! `strata peers` and the agents that ask it, without a cluster: cut off from
//! each other and from the API server, behind, and among pods that come and go.
//! No name is ever another's, and what is kept has bounds.
//!
//! Truth: every pod and every connect is made by the test, one after another.
//! What a real cluster does is in `tests/cluster/peers.rs`.

mod churn;
mod lan;

use std::time::{Duration, Instant};

use tests::peers::{Api, Replica, Way};
use tests::{eventually, require};

use lan::{Lan, Watched, address, begin, connect, end, missing, of};

/// Until an answer has come, also after pauses that have grown, or counts went
/// without a name.
const TOLD: Duration = Duration::from_secs(60);
/// How long a replica that is not told of changes may go on: 18 s, and what a
/// busy machine takes.
const BEHIND: Duration = Duration::from_secs(25);
/// A look, so that a test does not ask without pause.
const LOOK: Duration = Duration::from_millis(500);

/// A replica that knows the cluster, by an API server at this end of a way.
fn replica(at: std::net::SocketAddr, dir: &std::path::Path) -> Replica {
    let replica = Replica::start(&Api::kubeconfig(at, dir).unwrap()).unwrap();
    wait_ready(&replica);
    replica
}

#[track_caller]
fn wait_ready(replica: &Replica) {
    let is_ready = eventually::until(TOLD, || replica.is_ready().then_some(()));
    assert!(is_ready.is_some(), "{}", replica.log());
}

#[test]
fn an_agent_that_is_cut_off_goes_on_without_names_and_has_them_back() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let dir = tempfile::tempdir().unwrap();
    let api = Api::start().unwrap();
    let (steady, handed_on) = (address(1), address(2));
    begin(&api, 1, "api", steady);
    begin(&api, 2, "db", handed_on);
    let replica = replica(api.addr(), dir.path());
    let way = Way::to(&[replica.addr()]).unwrap();
    let lan = Lan::create();
    let mut client = lan.client();
    let watched = Watched::start(&[&client], way.addr());
    connect(&mut client, &[steady; 5]);
    let shown = eventually::settle(TOLD, || watched.shown(), |shown| of(shown, "api") == 5);
    assert_eq!(of(&shown, "api"), 5, "{shown:?}\n{}", watched.agent.log());

    way.cut();
    let failed = eventually::settle(TOLD, || watched.asks("timeout"), |failed| *failed > 0);
    assert!(failed > 0, "packets that vanish are no refusal: {}", watched.agent.log());
    let memory = watched.agent.rss_kib().unwrap();
    end(&api, 2, "db", handed_on);
    begin(&api, 3, "cart", handed_on);
    connect(&mut client, &[steady; 7]);
    connect(&mut client, &[handed_on; 3]);
    let strangers: Vec<_> = (100..140).map(address).collect();
    connect(&mut client, &strangers);
    let mut scrapes: Vec<Duration> = Vec::new();
    let nameless = eventually::settle(
        TOLD,
        || {
            let begun = Instant::now();
            let shown = watched.shown();
            scrapes.push(begun.elapsed());
            std::thread::sleep(LOOK);
            of(&shown, "")
        },
        |nameless| *nameless == 50,
    );
    assert_eq!(nameless, 50, "{:?}", watched.shown());
    scrapes.sort();
    let median = scrapes[scrapes.len() / 2];
    assert!(median < Duration::from_secs(1), "a scrape waits for the answer: {median:?}");
    let grown = watched.agent.rss_kib().unwrap().saturating_sub(memory);
    assert!(grown < 8 << 10, "{grown} KiB more while cut off");
    println!("cut off: {} scrapes, median {median:?}; {grown} KiB more", scrapes.len());

    let answered = watched.asks("ok");
    way.mend();
    let now = eventually::settle(TOLD, || watched.asks("ok"), |now| *now > answered);
    assert!(now > answered, "{}", watched.agent.log());
    connect(&mut client, &[steady; 4]);
    connect(&mut client, &[handed_on; 2]);
    let is_all = |shown: &std::collections::BTreeMap<String, u64>| {
        of(shown, "api") == 9 && shown.values().sum::<u64>() == 61
    };
    let shown = eventually::settle(TOLD, || watched.shown(), is_all);
    assert!(is_all(&shown), "{shown:?}");
    assert_eq!(of(&shown, "db"), 0, "it never had a connect: {shown:?}");
    assert!(of(&shown, "cart") <= 2, "what it had while cut off is nobody's: {shown:?}");
}

#[test]
fn a_replica_that_is_cut_off_from_the_api_server_soon_tells_nobody_anything() {
    let dir = tempfile::tempdir().unwrap();
    let api = Api::start().unwrap();
    let (steady, handed_on) = (address(1), address(2));
    begin(&api, 1, "api", steady);
    begin(&api, 2, "db", handed_on);
    let way = Way::to(&[api.addr()]).unwrap();
    let replica = replica(way.addr(), dir.path());
    let names = || replica.names(&[steady, handed_on]).unwrap();
    let before = names().unwrap();
    assert_eq!(before[&handed_on], "deployment/db");

    // Nothing of this is told: for so long it may go on as if nothing were.
    way.cut();
    let cut = Instant::now();
    end(&api, 2, "db", handed_on);
    begin(&api, 3, "cart", handed_on);
    let silent = eventually::until(TOLD, || {
        let asked = cut.elapsed();
        let Some(told) = names() else { return Some(asked) };
        assert_eq!(told, before, "of what it cannot know");
        assert!(asked < BEHIND, "it goes on after {asked:?}");
        std::thread::sleep(LOOK);
        None
    });
    assert!(silent.is_some(), "{}", replica.log());
    println!("it tells nobody anything {silent:?} after it was cut off");
    assert!(!replica.is_ready());

    way.mend();
    wait_ready(&replica);
    // Half a minute after it was told, the next one's name is certain.
    let name = || names().and_then(|names| names.get(&handed_on).cloned());
    let told = eventually::settle(TOLD, name, |name| {
        assert_ne!(name.as_deref(), Some("deployment/db"), "after it was told");
        name.is_some()
    });
    assert_eq!(told.as_deref(), Some("deployment/cart"), "{}", replica.log());
    assert_eq!(names().unwrap()[&steady], "deployment/api");
}

#[test]
fn an_address_that_is_used_again_has_no_wrong_name_while_one_of_two_replicas_is_behind() {
    require!(missing().is_none(), "{}", missing().unwrap_or_default());
    let dir = tempfile::tempdir().unwrap();
    let api = Api::start().unwrap();
    let (steady, handed_on) = (address(1), address(2));
    begin(&api, 1, "api", steady);
    begin(&api, 2, "db", handed_on);
    let api_way = Way::to(&[api.addr()]).unwrap();
    let (fresh, behind) = (replica(api.addr(), dir.path()), replica(api_way.addr(), dir.path()));
    let service = Way::to(&[fresh.addr(), behind.addr()]).unwrap();
    let lan = Lan::create();
    let mut client = lan.client();
    let watched = Watched::start(&[&client], service.addr());
    connect(&mut client, &[steady, handed_on]);
    let questions = |of: &Replica| {
        watched.shown();
        of.scrape().unwrap().sum("strata_peers_questions_total", &[("result", "ok")]) as u64
    };
    let both = eventually::settle(
        TOLD,
        || (of(&watched.shown(), "db"), questions(&fresh) > 1 && questions(&behind) > 1),
        |both| *both == (1, true),
    );
    assert_eq!(both, (1, true), "{:?}", watched.shown());

    // The watches of one are dead, though the API server answers it.
    api_way.forget_connections();
    let cut = Instant::now();
    end(&api, 2, "db", handed_on);
    let name = |of: &Replica| of.names(&[handed_on]).unwrap()?.get(&handed_on).cloned();
    let left = eventually::settle(TOLD, || name(&fresh), Option::is_none);
    assert_eq!(left, None);
    println!("one knows that it has gone, the other says {:?}", name(&behind));
    // The agent has heard of it from the one, and has asked the other since.
    let (of_fresh, of_behind) = (questions(&fresh), questions(&behind));
    let heard = eventually::settle(
        TOLD,
        || questions(&fresh) > of_fresh + 1,
        |heard| *heard || questions(&behind) > of_behind + 9,
    );
    assert!(heard, "{}", watched.agent.log());

    // Another has the address at once, and is asked all the time.
    begin(&api, 3, "cart", handed_on);
    let mut to_cart = 0;
    while cut.elapsed() < Duration::from_secs(40) {
        connect(&mut client, &[handed_on]);
        to_cart += 1;
        let shown = watched.shown();
        assert_eq!(of(&shown, "db"), 1, "after {:?}: {shown:?}", cut.elapsed());
        let asked = cut.elapsed();
        let told = name(&behind);
        assert!(asked < BEHIND || told.as_deref() != Some("deployment/db"), "after {asked:?}");
        std::thread::sleep(LOOK);
    }
    // It has found a way that is not dead, sooner or later.
    wait_ready(&behind);
    let shown = eventually::settle(
        TOLD,
        || {
            connect(&mut client, &[handed_on]);
            to_cart += 1;
            std::thread::sleep(LOOK);
            watched.shown()
        },
        |shown| of(shown, "cart") > 0,
    );
    assert!((1..=to_cart).contains(&of(&shown, "cart")), "{shown:?} of {to_cart}");
    assert_eq!((of(&shown, "db"), of(&shown, "api")), (1, 1), "{shown:?}");
}
