//! Debian's Alertmanager, and a webhook that keeps what it is told.
//!
//! Separate because it is where an alert has to arrive.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::agent_process::free_port;
use crate::process::Process;
use crate::{eventually, http};

/// The program, as Debian names it.
pub const PROGRAM: &str = "prometheus-alertmanager";

/// One alert of a notification.
#[derive(Clone, Debug)]
pub struct Notice {
    /// `firing` or `resolved`.
    pub status: String,
    /// Its labels.
    pub labels: Value,
    /// Its annotations.
    pub annotations: Value,
}

impl Notice {
    /// A label; empty if it has none.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or_default()
    }
}

/// A running Alertmanager with a webhook; both end with this value.
#[derive(Debug)]
pub struct Alertmanager {
    process: Process,
    addr: SocketAddr,
    notices: Arc<Mutex<Vec<Notice>>>,
    webhook: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Alertmanager {
    /// Starts one that tells of each alert at once, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not installed, or not ready within half a minute.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let webhook = listener.local_addr()?;
        let notices = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&notices);
        std::thread::spawn(move || serve(&listener, &kept));
        let dir = tempfile::Builder::new().prefix("strata-alertmanager").tempdir()?;
        let config = dir.path().join("alertmanager.yml");
        std::fs::write(&config, config_text(webhook))?;
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = Command::new(PROGRAM);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={addr}"))
            // One of its own: no gossip.
            .arg("--cluster.listen-address=");
        let mut process = Process::spawn(&mut command, dir.path(), "alertmanager")?;
        let is_ready = eventually::until(Duration::from_secs(30), || {
            if process.try_wait().is_some() {
                return Some(false);
            }
            http::get(addr, "/-/ready").is_ok_and(|response| response.status == 200).then_some(true)
        });
        anyhow::ensure!(is_ready == Some(true), "not ready: {}", process.stderr());
        Ok(Self { process, addr, notices, webhook, _dir: dir })
    }

    /// Where alerts are sent to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What the webhook was told so far.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first notice of an alert with this status that `is_meant`.
    #[must_use]
    pub fn find(
        &self,
        alert: &str,
        status: &str,
        is_meant: impl Fn(&Notice) -> bool,
    ) -> Option<Notice> {
        self.notices().into_iter().find(|notice| {
            notice.label("alertname") == alert && notice.status == status && is_meant(notice)
        })
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stderr()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // The thread ends with a connection that says nothing.
        drop(TcpStream::connect(self.webhook));
    }
}

fn config_text(webhook: SocketAddr) -> String {
    format!(
        "route:
  receiver: test
  group_by: ['...']
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: test
    webhook_configs:
      - url: http://{webhook}/
        send_resolved: true
"
    )
}

/// Takes one request after the other until one is empty.
fn serve(listener: &TcpListener, notices: &Mutex<Vec<Notice>>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        match take(stream) {
            Ok(Some(body)) => {
                let all = body["alerts"].as_array().cloned().unwrap_or_default();
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                notices.lock().unwrap_or_else(PoisonError::into_inner).extend(all.into_iter().map(
                    |alert| Notice {
                        status: text(&alert["status"]),
                        labels: alert["labels"].clone(),
                        annotations: alert["annotations"].clone(),
                    },
                ));
            }
            Ok(None) => return,
            // The sender tries again.
            Err(_) => {}
        }
    }
}

/// Reads one request with a body of JSON and answers it; `None` of nothing.
fn take(mut stream: TcpStream) -> anyhow::Result<Option<Value>> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut length, mut is_first) = (0, true);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return if is_first { Ok(None) } else { anyhow::bail!("half a request") };
        }
        is_first = false;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().context("its length")?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(Some(serde_json::from_slice(&body)?))
}
