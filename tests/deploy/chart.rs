//! The chart alone: that Helm takes it, refuses what it should, and renders
//! what is committed.

use std::path::Path;

use agent::config::{KEYS, Sources};
use serde_json::Value;
use tests::require;

use crate::rendered::{
    HELM, SETS, chart, deploy, lint, objects, only, succeed, template, tool, values,
    without_dashboards,
};

#[test]
fn helm_finds_nothing_to_complain_of_in_any_set_of_values() {
    require!(tool(HELM).is_some(), "no Helm");
    for set in SETS {
        let output = lint(&deploy("chart"), &values(set));
        assert!(output.status.success(), "{set}: {}", String::from_utf8_lossy(&output.stdout));
    }
    // The lint itself can fail: a directory that is no chart.
    assert!(!lint(&deploy("kubernetes"), &values("default")).status.success());
}

#[test]
fn the_schema_refuses_what_the_chart_does_not_know() {
    require!(tool(HELM).is_some(), "no Helm");
    for (wrong, complaint) in [
        ("imagePullPolicy=Always", "additional properties 'imagePullPolicy' not allowed"),
        ("image.version=1", "additional properties 'version' not allowed"),
        ("image.digest=0123", "/image/digest"),
        ("rbac.create=perhaps", "/rbac/create"),
        ("tolerations=all", "/tolerations"),
        ("extraCapabilities={sys admin}", "/extraCapabilities/0"),
        ("securityContext.privilegd=true", "additional properties 'privilegd' not allowed"),
        ("updateStrategy.type=Recreate", "/updateStrategy/type"),
        ("podMonitor.interval=often", "/podMonitor/interval"),
        ("config.listen=0.0.0.0", "/config/listen"),
        ("config.lanes.disk=true", "additional properties 'disk' not allowed"),
        ("config.governor.budget=2", "/config/governor/budget"),
    ] {
        let output = template(&["--set", wrong]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{wrong} is taken");
        assert!(error.contains(complaint), "{wrong}: {error}");
    }
}

#[test]
fn golden_renders_are_what_helm_makes_of_the_chart() {
    require!(tool(HELM).is_some(), "no Helm");
    for set in SETS {
        let rendered = without_dashboards(&chart(&values(set)));
        let path = values(set).with_file_name("rendered.yaml");
        if std::env::var_os("STRATA_BLESS").is_some_and(|bless| bless == "1") {
            std::fs::write(&path, &rendered).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            rendered == committed,
            "{set}: `cargo xtask tidy --bless` writes it anew; now it is\n{rendered}"
        );
    }
}

#[test]
fn the_agent_takes_the_configuration_of_every_set() {
    require!(tool(HELM).is_some(), "no Helm");
    for set in SETS {
        check_config(set, &config(&chart(&values(set))));
    }
}

#[test]
fn the_kill_switch_works_however_it_is_written() {
    require!(tool(HELM).is_some(), "no Helm");
    // Without quotes the key is a boolean to Helm, which reads YAML 1.1.
    for key in ["off", "'off'", "\"off\""] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("config:\n  {key}: true\n")).unwrap();
        let text = config(&chart(file.path()));
        check_config(key, &text);
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read["off"], true, "{key}: {text}");
    }
}

#[test]
fn the_chart_brings_the_dashboards_of_the_folder_or_says_that_it_has_none() {
    require!(tool(HELM).is_some(), "no Helm");
    let output = template(&["--set", "dashboards.enabled=true"]);
    let Ok(folder) = std::fs::read_dir(deploy("grafana")) else {
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("no dashboards in this chart"), "{error}");
        return;
    };
    let yaml = succeed(output);
    let maps = objects(&yaml).into_iter().filter(|object| object["kind"] == "ConfigMap");
    let mut maps = maps.filter(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1");
    let brought = maps.next().unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    assert_eq!(brought["data"].as_object().unwrap().len(), files.len());
    // An object may have 1 MiB.
    let size = brought.to_string().len();
    assert!(size < 900 << 10, "{size} bytes of dashboards are too many for a ConfigMap");
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let data = brought["data"][format!("strata-{name}")].as_str().unwrap();
        assert_eq!(data.trim_end(), text.trim_end(), "{name}");
    }
}

#[test]
fn the_rules_of_the_chart_are_those_of_the_folder_with_its_values() {
    require!(tool(HELM).is_some(), "no Helm");
    let spec = |more: &[&str]| {
        let arguments = [&["--set", "prometheusRule.enabled=true"], more].concat();
        only(&succeed(template(&arguments)), "PrometheusRule")["spec"].clone()
    };
    let rendered = |values: &[(&str, &str)]| -> Value {
        serde_saphyr::from_str(&tests::rules::render(values).unwrap()).unwrap()
    };
    assert_eq!(spec(&[]), rendered(&[]));
    let mine = ["--set", "prometheusRule.values.jitter_for=3s,prometheusRule.values.losses=0.5"];
    let wanted = rendered(&[("jitter_for", "3s"), ("losses", "0.5")]);
    assert_eq!(spec(&mine), wanted);
    assert_ne!(wanted, rendered(&[]));
    let wrong = ["prometheusRule.enabled=true", "prometheusRule.values.jiter_for=3s"].join(",");
    let output = template(&["--set", &wrong]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("jiter_for: the rules have no such value"), "{error}");
}

#[test]
fn the_port_of_the_configuration_is_the_containers() {
    require!(tool(HELM).is_some(), "no Helm");
    for (set, port) in [("default", 9464), ("platform", 9500)] {
        let daemon_set = only(&chart(&values(set)), "DaemonSet");
        let container = &daemon_set["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["ports"][0]["containerPort"], port, "{set}");
    }
}

#[test]
fn the_schema_knows_the_keys_of_the_configuration_and_no_others() {
    let text = std::fs::read_to_string(deploy("chart/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let mut known = Vec::new();
    for (name, key) in schema["properties"]["config"]["properties"].as_object().unwrap() {
        match key["properties"].as_object() {
            None => known.push(name.clone()),
            Some(group) => known.extend(group.keys().map(|key| format!("{name}.{key}"))),
        }
    }
    // Helm's own reading of `off`: see the test of the kill switch.
    known.retain(|name| name != "false");
    let mut keys: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    known.sort();
    keys.sort_unstable();
    assert_eq!(known, keys);
}

/// The agent's configuration in a render.
fn config(yaml: &str) -> String {
    let maps = objects(yaml).into_iter().filter(|object| object["kind"] == "ConfigMap");
    let mut maps: Vec<_> = maps.filter(|map| !map["data"]["strata.yaml"].is_null()).collect();
    let (Some(map), true) = (maps.pop(), maps.is_empty()) else { panic!("not one in\n{yaml}") };
    map["data"]["strata.yaml"].as_str().unwrap().to_owned()
}

/// Fails unless the agent takes this configuration.
fn check_config(name: &str, text: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let load = |path: &Path| Sources { file: Some(path.to_owned()), ..Sources::default() }.load();
    let loaded = load(file.path());
    assert!(loaded.is_ok(), "{name}: {:?}\n{text}", loaded.err());
    // What it checks is the file.
    std::fs::write(file.path(), format!("{text}\nunheard_of: 1\n")).unwrap();
    assert!(load(file.path()).is_err());
}
