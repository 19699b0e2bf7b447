//! Debian's Prometheus, scraping an agent every second.
//!
//! Separate because it is the reader that the exposition is written for.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use crate::agent_process::free_port;
use crate::process::Process;
use crate::recorded::{STEP_SECONDS, Series};
use crate::{eventually, http};

/// A running Prometheus; it ends with this value, and its data with it.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    addr: SocketAddr,
    _dir: tempfile::TempDir,
}

/// Rules that a Prometheus evaluates every second, and who is told.
#[derive(Debug)]
pub struct Alarms<'a> {
    /// The file of rules.
    pub rules: &'a Path,
    /// The Alertmanager.
    pub alertmanager: SocketAddr,
}

impl Alarms<'_> {
    fn config_text(&self) -> String {
        format!(
            "rule_files: ['{}']
alerting:
  alertmanagers:
    - static_configs:
        - targets: ['{}']
",
            self.rules.display(),
            self.alertmanager
        )
    }
}

impl Prometheus {
    /// Starts one that scrapes `target` every second as job `strata`, and
    /// waits until it is ready.
    ///
    /// # Errors
    /// When it is not installed, or not ready within half a minute.
    pub fn start(target: SocketAddr) -> anyhow::Result<Self> {
        Self::start_with(&[target], None)
    }

    /// The same of several targets.
    ///
    /// # Errors
    /// As [`Prometheus::start`].
    pub fn start_all(targets: &[SocketAddr]) -> anyhow::Result<Self> {
        Self::start_with(targets, None)
    }

    /// The same with rules and somebody who is told of alerts; then it takes
    /// native histograms too.
    ///
    /// # Errors
    /// As [`Prometheus::start`].
    pub fn start_with(targets: &[SocketAddr], alarms: Option<Alarms<'_>>) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("strata-prometheus").tempdir()?;
        let config = dir.path().join("prometheus.yml");
        let mut text = config_text(targets);
        if let Some(alarms) = &alarms {
            text.push_str(&alarms.config_text());
        }
        std::fs::write(&config, text)?;
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut command = Command::new("prometheus");
        command
            .arg(flag("config.file", &config))
            .arg(flag("storage.tsdb.path", &dir.path().join("data")))
            .arg(format!("--web.listen-address={addr}"));
        if alarms.is_some() {
            command.arg("--enable-feature=native-histograms");
        }
        let mut process = Process::spawn(&mut command, dir.path(), "prometheus")?;
        let is_ready = eventually::until(Duration::from_secs(30), || {
            if process.try_wait().is_some() {
                return Some(false);
            }
            http::get(addr, "/-/ready").is_ok_and(|response| response.status == 200).then_some(true)
        });
        anyhow::ensure!(is_ready == Some(true), "Prometheus is not ready: {}", process.stderr());
        Ok(Self { process, addr, _dir: dir })
    }

    /// Where it serves its API.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Evaluates a query now: each series' labels with its value.
    ///
    /// # Errors
    /// When the query is refused or the answer is not what the API documents.
    pub fn query(&self, query: &str) -> anyhow::Result<Vec<(serde_json::Value, f64)>> {
        let response =
            http::get(self.addr, &format!("/api/v1/query?query={}", http::percent_encode(query)))?;
        let json: serde_json::Value = serde_json::from_slice(&response.body)?;
        anyhow::ensure!(json["status"] == "success", "query {query}: {json}");
        let result = json["data"]["result"].as_array().context("no result")?;
        result
            .iter()
            .map(|series| {
                let value = series["value"][1].as_str().and_then(|value| value.parse().ok());
                Ok((series["metric"].clone(), value.context("no value")?))
            })
            .collect()
    }

    /// Evaluates a query at each step of a recording, from `start` to `end` in
    /// seconds of the epoch: its series by name.
    ///
    /// # Errors
    /// As [`Prometheus::query`].
    pub fn range(&self, query: &str, start: u64, end: u64) -> anyhow::Result<Vec<Series>> {
        let path = format!(
            "/api/v1/query_range?start={start}&end={end}&step={STEP_SECONDS}&query={}",
            http::percent_encode(query)
        );
        let json: serde_json::Value = serde_json::from_slice(&http::get(self.addr, &path)?.body)?;
        anyhow::ensure!(json["status"] == "success", "query {query}: {json}");
        let steps = (end.saturating_sub(start) / STEP_SECONDS + 1) as usize;
        let result = json["data"]["result"].as_array().context("no result")?;
        let mut series = result
            .iter()
            .map(|element| Series::parse(element, start, steps))
            .collect::<anyhow::Result<Vec<_>>>()?;
        series.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(series)
    }

    /// The value of a query that gives one series; `None` if it gives none.
    ///
    /// # Errors
    /// As [`Prometheus::query`], or when it gives several.
    pub fn scalar(&self, query: &str) -> anyhow::Result<Option<f64>> {
        let series = self.query(query)?;
        anyhow::ensure!(series.len() <= 1, "{query} gives {} series", series.len());
        Ok(series.first().map(|(_, value)| *value))
    }

    /// Health and last error of the scrape, as its targets page tells.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn target_health(&self) -> anyhow::Result<(String, String)> {
        let response = http::get(self.addr, "/api/v1/targets?state=active")?;
        let json: serde_json::Value = serde_json::from_slice(&response.body)?;
        let target = &json["data"]["activeTargets"][0];
        let text = |key: &str| target[key].as_str().unwrap_or_default().to_owned();
        Ok((text("health"), text("lastError")))
    }
}

fn config_text(targets: &[SocketAddr]) -> String {
    let targets: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
    let targets = targets.join(", ");
    format!(
        "global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
scrape_configs:
  - job_name: strata
    honor_labels: true
    static_configs:
      - targets: [{targets}]
        # As a PodMonitor's relabelling gives it.
        labels:
          node: node-1
"
    )
}

/// Gives an exposition to `promtool check metrics`; its complaints, or an
/// empty string if it has none.
///
/// # Errors
/// When promtool cannot be run.
pub fn promtool_check(exposition: &str) -> anyhow::Result<String> {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting promtool")?;
    let mut stdin = child.stdin.take().context("promtool without stdin")?;
    std::io::Write::write_all(&mut stdin, exposition.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let complaints = [output.stdout, output.stderr].concat();
    let mut text = String::from_utf8_lossy(&complaints).into_owned();
    if text.is_empty() && !output.status.success() {
        text = output.status.to_string();
    }
    Ok(text)
}
