//! The variables named `STRATA_*`.
//!
//! Separate because the environment is shared: what Kubernetes puts there on
//! its own must be told from a misspelt variable of ours.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::nearest::nearest;
use super::overlay::{Entry, Layer, Origin};
use super::{Headers, KEYS, Problem};

/// The variable that names the configuration file, where no flag does.
pub const CONFIG_VARIABLE: &str = "STRATA_CONFIG";

/// The variable that names the `kubectl` of `kubectl strata`: no key, but ours,
/// and who has set it runs the other verbs in the same shell.
pub const KUBECTL_VARIABLE: &str = "STRATA_KUBECTL";

/// What all of our variables begin with.
const PREFIX: &str = "STRATA_";

/// The variables of a process that begin with `STRATA_`, and those by which
/// exporters of spans are configured.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Vec<(String, OsString)>,
    /// `OTEL_EXPORTER_OTLP_*`. One of them holds secrets.
    otel: Vec<(String, String)>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("variables", &self.variables).finish_non_exhaustive()
    }
}

impl Environment {
    /// Picks our variables out of an environment, such as `std::env::vars_os()`.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut otel = Vec::new();
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with(super::otel::PREFIX) {
                otel.push((name, value.to_string_lossy().into_owned()));
                return None;
            }
            (name.starts_with(PREFIX) && !is_service_link(&name, &value)).then_some((name, value))
        });
        let mut variables: Vec<_> = ours.collect();
        // An environment has no order; messages should.
        variables.sort();
        Self { variables, otel }
    }

    /// Headers for the endpoint of spans. What is wrong with them is a problem of
    /// the layer.
    #[must_use]
    pub fn otlp_headers(&self) -> Headers {
        super::otel::headers(&self.otel).unwrap_or_default()
    }

    /// The file that [`CONFIG_VARIABLE`] names.
    #[must_use]
    pub fn config_file(&self) -> Option<&Path> {
        let found = self.variables.iter().find(|(name, _)| name == CONFIG_VARIABLE);
        found.map(|(_, value)| Path::new(value)).filter(|path| !path.as_os_str().is_empty())
    }

    /// The keys that are set here.
    #[must_use]
    pub fn layer(&self) -> Layer {
        // What is ours overrules what is everybody's.
        let mut layer = super::otel::layer(&self.otel);
        for (name, value) in &self.variables {
            if [CONFIG_VARIABLE, KUBECTL_VARIABLE].contains(&name.as_str()) {
                continue;
            }
            match (KEYS.iter().find(|key| key.variable() == *name), value.to_str()) {
                (None, _) => layer.problems.push(Problem::UnknownVariable {
                    name: name.clone(),
                    nearest: nearest_variable(name),
                }),
                (Some(_), None) => layer.problems.push(Problem::NotText { name: name.clone() }),
                (Some(key), Some(text)) => layer.entries.push(Entry {
                    key,
                    texts: key.split(text),
                    origin: Origin::Variable { name: name.clone() },
                }),
            }
        }
        layer
    }
}

fn nearest_variable(name: &str) -> String {
    let mut names: Vec<String> = KEYS.iter().map(super::Key::variable).collect();
    names.push(CONFIG_VARIABLE.to_owned());
    nearest(name, names.iter().map(String::as_str)).unwrap_or_default().to_owned()
}

/// Whether Kubernetes made this variable for a Service whose name begins with
/// `strata`: without `enableServiceLinks: false` the kubelet gives every
/// container `STRATA_SERVICE_HOST`, `STRATA_PORT_9464_TCP_ADDR` and more.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let value = value.to_str().unwrap_or_default();
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if name.ends_with("_SERVICE_HOST") {
        return value.parse::<std::net::IpAddr>().is_ok();
    }
    if name.contains("_SERVICE_PORT") {
        return is_number(value);
    }
    (name.ends_with("_PORT") && is_url) || has_port_and_protocol(name)
}

/// Whether a name is of the form `<name>_PORT_<number>_<protocol>...`.
fn has_port_and_protocol(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    words.windows(3).any(|words| match words {
        [port, number, protocol] => {
            *port == "PORT"
                && number.parse::<u16>().is_ok()
                && ["TCP", "UDP", "SCTP"].contains(protocol)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn service_links_of_kubernetes_are_not_taken_for_ours() {
        let links = environment(&[
            ("STRATA_SERVICE_HOST", "10.0.0.1"),
            ("STRATA_SERVICE_PORT", "9464"),
            ("STRATA_SERVICE_PORT_METRICS", "9464"),
            ("STRATA_PORT", "tcp://10.0.0.1:9464"),
            ("STRATA_PORT_9464_TCP", "tcp://10.0.0.1:9464"),
            ("STRATA_PORT_9464_TCP_PROTO", "tcp"),
            ("STRATA_PORT_9464_TCP_PORT", "9464"),
            ("STRATA_PORT_9464_TCP_ADDR", "10.0.0.1"),
            ("STRATA_METRICS_SERVICE_HOST", "fd00::1"),
            ("STRATA_METRICS_PORT", "tcp://[fd00::1]:9464"),
        ]);
        assert_eq!(links.layer(), Layer::default());
    }

    #[test]
    fn what_only_looks_like_a_service_link_is_an_unknown_variable() {
        for (name, value) in [("STRATA_PORT", "8080"), ("STRATA_SERVICE_HOST", "true")] {
            let layer = environment(&[(name, value)]).layer();
            assert_eq!(layer.problems.len(), 1, "{name}");
        }
    }

    #[test]
    fn no_key_is_hidden_by_a_service_link() {
        for key in KEYS {
            for value in ["10.0.0.1", "8080", "tcp://10.0.0.1:80", "true"] {
                assert!(!is_service_link(&key.variable(), value.as_ref()), "{key:?}");
            }
        }
    }

    #[test]
    fn the_plugins_variable_is_no_unknown_key() {
        let environment = Environment::new([(KUBECTL_VARIABLE.into(), "/bin/kubectl".into())]);
        assert!(environment.layer().problems.is_empty());
    }

    #[test]
    fn an_unknown_variable_is_named_with_its_nearest() {
        let layer = environment(&[("STRATA_WATCH_HOSTS", "true"), ("PATH", "/bin")]).layer();
        let messages: Vec<_> = layer.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "unknown variable STRATA_WATCH_HOSTS in the environment; the nearest valid one is STRATA_WATCH_HOST"
            ]
        );
    }

    #[test]
    fn a_value_that_is_not_text_is_a_problem_and_not_a_guess() {
        let value = OsString::from_vec(vec![0xff]);
        let layer = Environment::new([(OsString::from("STRATA_SOCKET"), value)]).layer();
        assert_eq!(layer.problems, [Problem::NotText { name: "STRATA_SOCKET".to_owned() }]);
    }
}
