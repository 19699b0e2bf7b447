//! A server in a runc container, with programs of the host's own `/usr`.
//!
//! Separate from containerd: nginx, redis, Python and Node need libraries, and
//! the host's, bound read-only, are there without any image.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::Ids;
use crate::cgroup::Cgroup;
use crate::netns::Netns;
use crate::workload::{self, Kind, Server};
use crate::{apps, eventually, process};

/// A running container; it ends with this value.
#[derive(Debug)]
pub struct Container {
    ids: Ids,
    addr: SocketAddr,
    pid: u32,
    dir: tempfile::TempDir,
    // After the container's own: runc leaves the parents that it makes.
    _pod: Cgroup,
}

impl Container {
    /// Starts `server` in a container with these ids, in the host's network
    /// namespace or in `netns`, and waits until it listens.
    ///
    /// # Errors
    /// When runc refuses, or the server does not listen in time.
    pub fn start(mut server: Server, ids: Ids, netns: Option<&Netns>) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("strata-runc").tempdir()?;
        let files = dir.path().join("files");
        std::fs::create_dir(&files)?;
        let argv = server.argv(&files)?;
        make_rootfs(&dir.path().join("rootfs"))?;
        let config = config(&server, &argv, &ids, &files, netns);
        std::fs::write(dir.path().join("config.json"), serde_json::to_vec_pretty(&config)?)?;

        let pod = Cgroup::create(&ids.pod_cgroup_path())?;
        let pid_file = dir.path().join("pid");
        let out = std::fs::File::create(dir.path().join("out"))?;
        // Its streams are the container's; files, so that nothing waits for their end.
        let status = runc(dir.path())
            .args(["run", "--detach", "--bundle"])
            .arg(dir.path())
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&ids.container)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .status()
            .context("starting runc; is it installed?")?;
        let output = || std::fs::read_to_string(dir.path().join("out")).unwrap_or_default();
        anyhow::ensure!(status.success(), "runc failed: {}", output());
        let pid = std::fs::read_to_string(&pid_file)?.trim().parse().context("runc's pid file")?;
        let listen = server.listen;
        let is_quiet = matches!(server.kind, Kind::Nginx | Kind::Redis);
        let mut container = Self { ids, addr: listen, pid, dir, _pod: pod };
        let addr = eventually::until(Duration::from_secs(15), || {
            if is_quiet {
                workload::is_open(pid, listen)
            } else {
                workload::announced(&container.output())
            }
        });
        container.addr =
            addr.with_context(|| format!("{argv:?} does not listen: {}", container.output()))?;
        Ok(container)
    }

    /// What it has written.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default()
    }

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

    /// Process id of its first process, seen from the host.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ =
            process::run(runc(self.dir.path()).args(["delete", "--force", &self.ids.container]));
    }
}

fn runc(dir: &Path) -> Command {
    let mut command = Command::new("runc");
    command.arg("--root").arg(dir.join("state"));
    command
}

/// An empty root with the links that a merged `/usr` needs.
fn make_rootfs(rootfs: &Path) -> anyhow::Result<()> {
    for dir in ["proc", "sys", "dev", "tmp", "run", "usr", "etc"] {
        std::fs::create_dir_all(rootfs.join(dir))?;
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), rootfs.join(link))?;
    }
    Ok(())
}

fn config(
    server: &Server,
    argv: &[String],
    ids: &Ids,
    files: &Path,
    netns: Option<&Netns>,
) -> serde_json::Value {
    let bind = |path: &Path, mode: &str| json!({"destination": path, "type": "bind", "source": path, "options": ["rbind", mode]});
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"]}),
        bind(Path::new("/usr"), "ro"),
        bind(Path::new("/etc"), "ro"),
        bind(files, "rw"),
    ];
    // The same paths inside as outside, so that one argv fits both.
    mounts.extend([apps::source_dir(), apps::build_dir()].iter().filter_map(|dir| {
        let dir: PathBuf = dir.canonicalize().ok()?;
        Some(bind(&dir, "ro"))
    }));
    let mut namespaces = vec![
        json!({"type": "pid"}),
        json!({"type": "mount"}),
        json!({"type": "ipc"}),
        json!({"type": "uts"}),
    ];
    if let Some(netns) = netns {
        namespaces.push(json!({"type": "network", "path": netns.file()}));
    }
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
    let env: Vec<_> =
        std::iter::once(path).chain(server.env.iter().map(|(k, v)| format!("{k}={v}"))).collect();
    let capabilities = ["CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_DAC_OVERRIDE"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": argv, "env": env, "cwd": "/", "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": "rootfs", "readonly": true},
        "mounts": mounts,
        "linux": {"cgroupsPath": format!("/{}", ids.cgroup_path()), "namespaces": namespaces},
    })
}
