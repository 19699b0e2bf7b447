//! The servers that tests and the bench put load on, as processes.
//!
//! Separate from `containers`, which runs the same programs under runc and
//! containerd: both start from a [`Server`].

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::apps::GoBuild;
use crate::process::Process;
use crate::{agent_process, apps, eventually};

/// How long a server may take until it listens.
const LISTENS: Duration = Duration::from_secs(15);

/// Status codes that nginx answers `/status/N` with.
const NGINX_STATUSES: [u16; 8] = [200, 201, 204, 304, 400, 404, 500, 503];

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `goapi`: net/http.
    Go,
    /// `pyapi.py`: one thread per connection.
    Python,
    /// `capi`: one thread per connection, every call blocking.
    C,
    /// `nodeapi.js`: one event loop.
    Node,
    /// nginx with two workers and fixed answers.
    Nginx,
    /// redis-server without persistence.
    Redis,
}

impl Kind {
    /// The program it needs.
    #[must_use]
    pub fn tool(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Python => "python3",
            Self::C => "cc",
            Self::Node => "node",
            Self::Nginx => "nginx",
            Self::Redis => "redis-server",
        }
    }

    /// Whether that program is here.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Go => apps::has_go(),
            other => crate::require::has_tool(other.tool()),
        }
    }
}

/// A server's command line, before it is run.
#[derive(Clone, Debug)]
pub struct Server {
    /// Which server.
    pub kind: Kind,
    /// Address to listen on. Port 0 is replaced by a free one for nginx and
    /// redis, which cannot say which they took.
    pub listen: SocketAddr,
    /// Further arguments (`-log FILE`, `-downstream URL`).
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// How it is built, if it is Go.
    pub build: GoBuild,
}

impl Server {
    /// A server on a free port of 127.0.0.1.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { kind, listen, args: Vec::new(), env: Vec::new(), build: GoBuild::default() }
    }

    /// The same on another address.
    #[must_use]
    pub fn listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// The same with one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// The same, built in another way.
    #[must_use]
    pub fn built(mut self, build: GoBuild) -> Self {
        self.build = build;
        self
    }

    /// The same with one more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whom it asks for `/down`.
    fn downstream(&self) -> Option<&str> {
        let named = self.env.iter().find(|(name, _)| name == "DOWNSTREAM");
        named.map(|(_, downstream)| downstream.as_str())
    }

    /// Program and arguments; writes what configuration it needs into `dir`.
    /// Fixes the port where it has to be known beforehand.
    ///
    /// # Errors
    /// When the program cannot be built, or the configuration not written.
    pub fn argv(&mut self, dir: &Path) -> anyhow::Result<Vec<String>> {
        if self.listen.port() == 0 && matches!(self.kind, Kind::Nginx | Kind::Redis) {
            self.listen.set_port(agent_process::free_port()?);
        }
        let listen = self.listen.to_string();
        let source = |name| apps::source_dir().join(name).to_string_lossy().into_owned();
        let mut argv = match self.kind {
            Kind::Go => {
                vec![path_text(&apps::goapi_built(&self.build)?), "-listen".to_owned(), listen]
            }
            // Debian's own by its path: a version manager's shim would be a shell first.
            Kind::Python => vec![system_tool("python3"), source("pyapi.py"), listen],
            Kind::C => vec![path_text(&apps::capi()?), listen],
            Kind::Node => vec![system_tool("node"), source("nodeapi.js"), listen],
            Kind::Nginx => {
                let conf = dir.join("nginx.conf");
                std::fs::write(&conf, nginx_conf(self.listen, self.downstream(), dir))
                    .context("writing nginx.conf")?;
                std::fs::write(dir.join("file"), vec![b'x'; 1 << 20]).context("writing a file")?;
                // `-e` too: nginx opens its log before it reads its configuration.
                let log = path_text(&dir.join("nginx.log"));
                [&system_tool("nginx"), "-e", &log, "-c", &path_text(&conf)]
                    .map(str::to_owned)
                    .to_vec()
            }
            Kind::Redis => {
                let (ip, port) = (self.listen.ip().to_string(), self.listen.port().to_string());
                let tool = system_tool("redis-server");
                [&tool, "--bind", &ip, "--port", &port, "--save", "", "--appendonly", "no"]
                    .map(str::to_owned)
                    .to_vec()
            }
        };
        argv.extend(self.args.iter().cloned());
        Ok(argv)
    }

    /// Starts it as a child of the test.
    ///
    /// # Errors
    /// When it cannot be started, or does not listen in time.
    pub fn start(self) -> anyhow::Result<Workload> {
        self.start_with(|argv| {
            let mut command = Command::new(argv.first().map_or("", String::as_str));
            command.args(argv.iter().skip(1));
            command
        })
    }

    /// Starts it by a command made of its argv: into a cgroup, a network
    /// namespace, pinned, or under another user.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(
        mut self,
        wrap: impl FnOnce(&[String]) -> Command,
    ) -> anyhow::Result<Workload> {
        let dir = tempfile::Builder::new().prefix("strata-workload").tempdir()?;
        let argv = self.argv(dir.path())?;
        let mut command = wrap(&argv);
        // What it makes there goes with it, however it ends.
        command.env("TMPDIR", dir.path()).envs(self.env.iter().cloned());
        let mut process = Process::spawn(&mut command, dir.path(), "server")?;
        let is_quiet = matches!(self.kind, Kind::Nginx | Kind::Redis);
        let listen = self.listen;
        let addr = eventually::until(LISTENS, || {
            if process.try_wait().is_some() {
                return Some(None);
            }
            let announced = if is_quiet {
                is_open(process.pid(), listen)
            } else {
                announced(&process.stdout())
            };
            announced.map(Some)
        });
        let addr = addr.flatten().with_context(|| {
            format!("{argv:?} does not listen: {}{}", process.stdout(), process.stderr())
        })?;
        Ok(Workload { process, addr, _dir: dir })
    }
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The distribution's own program where there is one, else the name for `PATH`.
#[must_use]
pub fn system_tool(name: &str) -> String {
    ["/usr/bin", "/usr/sbin"]
        .map(|dir| format!("{dir}/{name}"))
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .unwrap_or_else(|| name.to_owned())
}

/// The address from a line `listening ADDR`.
#[must_use]
pub fn announced(stdout: &str) -> Option<SocketAddr> {
    let mut whole_lines = stdout.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole_lines.find_map(|line| line.strip_prefix("listening ")?.parse().ok())
}

/// `addr` if a TCP socket listens on its port in the process's network
/// namespace. No connection is made: the workload shall see only those of the test.
#[must_use]
pub fn is_open(pid: u32, addr: SocketAddr) -> Option<SocketAddr> {
    let port = format!(":{:04X}", addr.port());
    let is_listening = ["tcp", "tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        table.lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().unwrap_or_default();
            let state = fields.nth(1).unwrap_or_default();
            local.ends_with(&port) && state == "0A"
        })
    });
    is_listening.then_some(addr)
}

fn nginx_conf(listen: SocketAddr, downstream: Option<&str>, dir: &Path) -> String {
    let dir = dir.display();
    let mut statuses = String::new();
    for status in NGINX_STATUSES {
        let _ = writeln!(statuses, "    location /status/{status} {{ return {status}; }}");
    }
    let mut proxy = String::new();
    if let Some(downstream) = downstream {
        let _ = writeln!(proxy, "    location /down {{ proxy_pass http://{downstream}/sleep; }}");
    }
    format!(
        "daemon off;
user root;
worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  default_type text/plain;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  server {{
    listen {listen} backlog=1024;
    location /hello {{ return 200 \"hello\\n\"; }}
    location /echo {{ return 200 \"read\\n\"; }}
    location = /file {{ root {dir}; }}
{statuses}{proxy}  }}
}}
"
    )
}

/// A server that listens; it ends with this value.
#[derive(Debug)]
pub struct Workload {
    process: Process,
    addr: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Workload {
    /// Starts a server with its defaults.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start(kind: Kind) -> anyhow::Result<Self> {
        Server::new(kind).start()
    }

    /// Where it listens, as it said so itself.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Base name of its executable, as in the label `workload="process/..."`.
    ///
    /// # Errors
    /// When `/proc` does not say.
    pub fn executable(&self) -> anyhow::Result<String> {
        let path: PathBuf = std::fs::read_link(format!("/proc/{}/exe", self.pid()))?;
        Ok(path.file_name().context("an executable without a name")?.to_string_lossy().into_owned())
    }

    /// Ends it by SIGTERM, so that a journal is flushed.
    ///
    /// # Errors
    /// When it goes on for more than five seconds.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.process.terminate(Duration::from_secs(5)).context("the workload ignores SIGTERM")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_announces_an_address() {
        assert_eq!(announced("listening 127.0.0.1:80"), None);
        assert_eq!(announced("x\nlistening [::]:8080\n"), "[::]:8080".parse().ok());
    }
}
