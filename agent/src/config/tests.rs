//! The laws that hold for every key, checked by looping over the table.
//!
//! Separate from the files that they check because they go through all of
//! them: table, file, environment, flags, documentation.

use std::collections::BTreeSet;
use std::path::Path;

use super::overlay::overlay;
use super::resolve::file_layer;
use super::{Config, Entry, Environment, Error, KEYS, Key, Layer, Loaded, Origin, Sources, diff};

/// A value of each key that is not its default; a key without one here fails
/// the test that asks for it.
fn other(key: &Key) -> Vec<&'static str> {
    match key.name {
        "listen" => vec!["[::1]:80"],
        "socket" | "proc_root" | "cgroup_root" | "kubernetes.kubeconfig" | "traces.certificate" => {
            vec!["/somewhere/else"]
        }
        "kubernetes.node_name" => vec!["node-1.eu"],
        "network.names" => vec!["10.0.0.0/8=corp", "fd00::/8=lab"],
        "network.peers" => vec!["http://strata-peers.strata.svc:9465"],
        "socket_group" => vec!["monitoring"],
        "watch.pids" | "watch.ports" => vec!["1", "8080"],
        "watch.comms" => vec!["node server", "nginx"],
        "watch.containers_in" | "watch.containers_out" => vec!["12e45678", "api-*"],
        "watch.namespaces_in" | "watch.namespaces_out" => vec!["shop", "team-?"],
        "watch.labels_in" | "watch.labels_out" => vec!["app=api,tier in (web,edge)", "!canary"],
        "traces.endpoint" => vec!["https://elsewhere:4318/v1/traces"],
        "traces.protocol" => vec!["grpc"],
        "traces.compression" => vec!["gzip"],
        "traces.timeout" => vec!["3s"],
        "traces.one_in" | "traces.per_second" => vec!["7"],
        "routes.patterns" => vec!["/users/{id}", "/static/*"],
        "paths.ignore" => vec!["/ping", "/a/b"],
        "governor.budget" => vec!["0.05"],
        "detail" => vec!["full"],
        "series.per_container" | "series.per_node" => vec!["400"],
        "ring.bytes" => vec!["8MiB"],
        "drain.interval" => vec!["25ms"],
        "log.level" => vec!["debug"],
        "log.format" => vec!["json"],
        _ if key.is_boolean() => {
            vec![if key.show(&Config::default()) == ["true"] { "false" } else { "true" }]
        }
        name => panic!("no value to test `{name}` with"),
    }
}

fn file(text: &str) -> Layer {
    file_layer(Path::new("strata.yaml"), text)
}

fn in_file(key: &Key, values: &[&str]) -> Layer {
    let quoted: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    let value = if key.is_list() { format!("[{}]", quoted.join(", ")) } else { quoted.concat() };
    file(&match key.name.split_once('.') {
        Some((section, name)) => format!("{section}:\n  {name}: {value}\n"),
        None => format!("{}: {value}\n", key.name),
    })
}

fn in_environment(key: &Key, values: &[&str]) -> Layer {
    let separator = key.separator().map(|c| format!("{c} ")).unwrap_or_default();
    Environment::new([(key.variable().into(), values.join(&separator).into())]).layer()
}

fn by_flag(key: &'static Key, values: &[&str]) -> Layer {
    let texts = values.iter().map(|value| (*value).to_owned()).collect();
    let origin = Origin::Flag { name: format!("--{}", key.flag()) };
    Layer { entries: vec![Entry { key, texts, origin }], problems: Vec::new() }
}

fn loaded(layers: impl IntoIterator<Item = Layer>) -> Loaded {
    overlay(layers).unwrap()
}

#[test]
fn the_defaults_are_what_the_table_takes() {
    let mut config = Config::default();
    config.listen.set_port(1);
    config.lanes.cpu = false;
    for key in KEYS {
        key.slot.set(&mut config, &key.show(&Config::default())).unwrap();
    }
    assert_eq!(config, Config::default());
    assert_eq!(loaded([]).config, Config::default());
}

#[test]
fn every_key_has_a_name_of_its_own_everywhere_and_a_help_of_sentences() {
    let unique = |names: Vec<String>| {
        let count = names.len();
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>().len(), count);
    };
    unique(KEYS.iter().map(|key| key.name.to_owned()).collect());
    unique(KEYS.iter().map(Key::variable).collect());
    let aliases = KEYS.iter().filter_map(|key| key.alias.map(str::to_owned));
    unique(KEYS.iter().map(Key::flag).chain(aliases).collect());
    for key in KEYS {
        assert!(key.help.ends_with('.') && !key.help.contains('|'), "{key:?}");
        assert!(key.name.split('.').count() <= 2, "{key:?}");
    }
}

#[test]
fn every_key_is_set_by_file_environment_and_flag_alike_and_alone() {
    for key in KEYS {
        let values = other(key);
        for layer in [in_file(key, &values), in_environment(key, &values), by_flag(key, &values)] {
            let loaded = loaded([layer.clone()]);
            assert_eq!(key.show(&loaded.config), values, "{key:?} by {layer:?}");
            let changed = diff(&Config::default(), &loaded.config);
            assert_eq!([changed.applied, changed.need_restart].concat(), [key.name]);
            assert_eq!(loaded.settings.len(), 1);
            assert_eq!(loaded.settings[0].key, key.name);
        }
    }
}

#[test]
fn flags_overrule_the_environment_and_that_the_file_and_that_the_defaults() {
    let key = Key::find("watch.ports").unwrap();
    let layers = [in_file(key, &["1"]), in_environment(key, &["2"]), by_flag(key, &["3"])];
    for (count, origin) in [(1, "strata.yaml:2"), (2, "STRATA_WATCH_PORTS"), (3, "--watch-ports")] {
        let loaded = loaded(layers[..count].to_vec());
        assert_eq!(loaded.config.watch.ports, [u16::try_from(count).unwrap()]);
        assert_eq!(loaded.settings[0].origin.to_string(), origin);
    }
}

#[test]
fn a_list_can_be_emptied_from_everywhere() {
    for key in KEYS.iter().filter(|key| key.is_list()) {
        for layer in [in_file(key, &[]), in_environment(key, &[]), by_flag(key, &[])] {
            assert_eq!(key.show(&loaded([layer]).config), [""; 0], "{key:?}");
        }
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let file = file("listen: here\nofff: true\n");
    let environment = Environment::new([("STRATA_RING_BYTES".into(), "4000000".into())]).layer();
    let key = Key::find("drain.interval").unwrap();
    let error = overlay([file, environment, by_flag(key, &["10"])]).unwrap_err();
    assert_eq!(
        error.messages(),
        [
            "strata.yaml:2: unknown key `offf`; the nearest valid one is `off`",
            "strata.yaml:1: `listen` `here` is not an IP address and a port such as 127.0.0.1:9464 or [::1]:9464",
            "STRATA_RING_BYTES: `ring.bytes` `4000000` has no unit; write one of B, KiB, MiB, GiB, as in 4MiB",
            "--drain-interval: `drain.interval` `10` has no unit; write one of ns, us, ms, s, m, h, as in 10ms",
        ]
    );
}

#[test]
fn a_value_that_is_overruled_must_be_valid_too() {
    let key = Key::find("ring.bytes").unwrap();
    assert!(overlay([in_file(key, &["3MiB"]), by_flag(key, &["8MiB"])]).is_err());
}

#[test]
fn a_list_beyond_its_bound_is_refused() {
    let key = Key::find("paths.ignore").unwrap();
    let paths: Vec<String> = (0..65).map(|n| format!("/{n}")).collect();
    let texts: Vec<&str> = paths.iter().map(String::as_str).collect();
    assert!(overlay([by_flag(key, &texts[..64])]).is_ok());
    let error = overlay([by_flag(key, &texts)]).unwrap_err();
    assert!(error.to_string().ends_with("65 items are more than the 64 that are allowed"));
}

#[test]
fn the_file_of_the_flag_goes_before_the_file_of_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (flag, variable) =
        (write("flag.yaml", "off: true\n"), write("variable.yaml", "off: false\n"));
    let environment = Environment::new([("STRATA_CONFIG".into(), variable.clone().into())]);
    let sources = Sources { file: None, environment, flags: Layer::default() };
    assert_eq!(sources.file(), Some(variable.as_path()));
    assert!(!sources.load().unwrap().config.off);
    let sources = Sources { file: Some(flag), ..sources };
    assert!(sources.load().unwrap().config.off);
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_none_is_read_without_end() {
    for path in ["/nowhere/strata.yaml", "/", "/dev/zero"] {
        let sources = Sources { file: Some(path.into()), ..Sources::default() };
        let error = sources.load().unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn the_sample_file_sets_nothing_as_it_is_and_every_default_when_uncommented() {
    let sample = super::sample_yaml();
    assert_eq!(file(&sample), Layer::default());
    let uncommented: Vec<String> = sample
        .lines()
        .map(|line| match line.split_once('#') {
            Some((indent, text)) if !text.starts_with(' ') => format!("{indent}{text}"),
            _ => line.to_owned(),
        })
        .collect();
    let loaded = loaded([file(&uncommented.join("\n"))]);
    assert_eq!(loaded.config, Config::default());
    let names: Vec<_> = loaded.settings.iter().map(|setting| setting.key).collect();
    assert_eq!(names, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
}

#[test]
fn the_committed_reference_and_sample_are_those_of_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = [
        ("docs/config.md", super::reference_markdown()),
        ("deploy/strata.yaml", super::sample_yaml()),
    ];
    for (name, written) in files {
        let path = root.join(name);
        if std::env::var_os("STRATA_BLESS").is_some_and(|bless| bless == "1") {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &written).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == written,
            "{name} is not what the table says: `cargo xtask tidy --bless` writes it anew"
        );
    }
}
