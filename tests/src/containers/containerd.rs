//! A containerd of our own, with the static Go program in a container of it.
//!
//! Separate from runc: shims, snapshots and containerd's own container ids are
//! what nodes have.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::{Ids, image};
use crate::cgroup::Cgroup;
use crate::process::{self, Process};
use crate::{apps, eventually, workload};

/// Name of the image that is made and imported.
const IMAGE: &str = "docker.io/strata-tests/goapi:1";

/// A private containerd: its root, state and socket are in a temporary folder.
#[derive(Debug)]
pub struct Containerd {
    process: Process,
    dir: tempfile::TempDir,
}

impl Containerd {
    /// Starts it, and imports an image of the Go workload.
    ///
    /// # Errors
    /// When containerd is not installed, or does not come up in time.
    pub fn start() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("strata-containerd").tempdir()?;
        let config = dir.path().join("config.toml");
        std::fs::write(&config, config_text(dir.path()))?;
        let mut command = Command::new("containerd");
        let process =
            Process::spawn(command.arg("--config").arg(&config), dir.path(), "containerd")?;
        let mut containerd = Self { process, dir };
        let is_up = eventually::until(Duration::from_secs(20), || {
            if containerd.process.try_wait().is_some() {
                return Some(false);
            }
            process::run(containerd.ctr().arg("version")).is_ok().then_some(true)
        });
        anyhow::ensure!(is_up == Some(true), "containerd: {}", containerd.process.stderr());
        let archive = containerd.dir.path().join("image.tar");
        image::write(&archive, IMAGE, &apps::goapi()?)?;
        process::run(containerd.ctr().args(["image", "import"]).arg(&archive))?;
        Ok(containerd)
    }

    /// Runs the Go workload in a container with these ids, on a free port of
    /// the host's 127.0.0.1, and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be run or does not listen in time.
    pub fn run(&self, ids: Ids) -> anyhow::Result<Container<'_>> {
        self.run_with(ids, &[])
    }

    /// The same with further arguments (`-downstream URL`).
    ///
    /// # Errors
    /// As [`Containerd::run`].
    pub fn run_with(&self, ids: Ids, args: &[String]) -> anyhow::Result<Container<'_>> {
        let pod = Cgroup::create(&ids.pod_cgroup_path())?;
        let out = self.dir.path().join(format!("{}.out", ids.short()));
        process::run(
            self.ctr()
                .args(["run", "--detach", "--net-host", "--log-uri"])
                .arg(format!("file://{}", out.display()))
                .args(["--cgroup", &format!("/{}", ids.cgroup_path()), IMAGE, &ids.container])
                // Given arguments replace the image's command line as a whole.
                .args((!args.is_empty()).then_some(image::PROGRAM))
                .args(args),
        )?;
        let mut container = Container {
            containerd: self,
            ids,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            out,
            _pod: pod,
        };
        let addr =
            eventually::until(Duration::from_secs(15), || workload::announced(&container.output()));
        container.addr =
            addr.with_context(|| format!("the container does not listen: {}", container.output()))?;
        Ok(container)
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(socket_in(self.dir.path())).args(["--namespace", "k8s.io"]);
        command
    }
}

fn socket_in(dir: &Path) -> PathBuf {
    dir.join("containerd.sock")
}

fn config_text(dir: &Path) -> String {
    let socket = socket_in(dir);
    let (dir, socket) = (dir.display(), socket.display());
    format!(
        "version = 2
root = \"{dir}/root\"
state = \"{dir}/state\"
disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]
[grpc]
address = \"{socket}\"
[ttrpc]
address = \"{socket}.ttrpc\"
"
    )
}

/// A running container of it; it ends with this value.
#[derive(Debug)]
pub struct Container<'a> {
    containerd: &'a Containerd,
    ids: Ids,
    addr: SocketAddr,
    out: PathBuf,
    // Last: the pod's cgroup outlives the container's own.
    _pod: Cgroup,
}

impl Container<'_> {
    /// Its ids.
    #[must_use]
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Where its server listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has written.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let id = self.ids.container.as_str();
        let ctr = |args: &[&str]| process::run(self.containerd.ctr().args(args));
        // Deleting with --force kills first and waits for the end.
        let _ = ctr(&["task", "delete", "--force", id]);
        let _ = ctr(&["container", "delete", id]);
    }
}
