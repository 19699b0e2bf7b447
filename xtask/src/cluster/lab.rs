//! A Kubernetes cluster of two nodes on this machine, from scripts beside the
//! repository: built, brought up, taken down.
//!
//! Separate because the tests do not care where their cluster comes from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::janitor::Janitor;
use crate::{place, process};

/// Names another place for the scripts.
const VARIABLE: &str = "STRATA_LAB";
/// The network namespace with the control plane in it. Nothing of the cluster
/// is to be had outside of its own namespaces.
const NAMESPACE: &str = "/run/netns/lab-cp";
/// The Go module of KEDA.
const KEDA: &str = "github.com/kedacore/keda/v2";
/// The node whose kubelet takes static pods.
const STATIC_NODE: &str = "node1";
/// How long that kubelet may take to end.
const KUBELET_ENDS: Duration = Duration::from_secs(20);

/// The scripts, and where they keep what they make.
pub(crate) struct Lab {
    scripts: PathBuf,
    directory: PathBuf,
}

impl Lab {
    /// The scripts, where there are any.
    pub(super) fn find() -> Option<Self> {
        let named = std::env::var_os(VARIABLE).map(PathBuf::from);
        let scripts = named.unwrap_or_else(|| place::repository().join("../shared/lab/k8s"));
        let scripts = scripts.canonicalize().ok().filter(|path| path.join("up.sh").is_file())?;
        // As the scripts themselves choose it.
        let directory = std::env::var_os("LAB_DIR").map(PathBuf::from);
        let directory = directory.unwrap_or_else(|| std::env::temp_dir().join("k8s-lab"));
        Some(Self { scripts, directory })
    }

    /// Builds KEDA, and gives the directory of its custom resources.
    pub(super) fn build_keda(&self) -> Result<PathBuf> {
        Self::run(self.script("build-hpa.sh").arg("keda"))?;
        let module = ["list", "-m", "-f", "{{.Dir}}", KEDA];
        let mut go = Command::new(place::command("go").context("no go, which built KEDA")?);
        go.args(module).env("GOFLAGS", "-mod=mod").current_dir(self.directory.join("src/keda"));
        Ok(Path::new(process::output(&mut go)?.trim()).join("config/crd/bases"))
    }

    /// Builds what is missing, brings two nodes up that have these images, and
    /// has the janitor take them down.
    pub(super) fn start(&self, janitor: &mut Janitor, images: &[PathBuf]) -> Result<()> {
        for script in ["setup.sh", "build.sh", "images.sh"] {
            Self::run(&mut self.script(script))?;
        }
        if Path::new(NAMESPACE).exists() {
            // Of a run that was cut off, for there is room for one cluster only.
            Self::run(&mut self.script("down.sh"))?;
        }
        let kept = self.directory.join("images");
        for image in images {
            let name = image.file_name().context("an image without a name")?;
            std::fs::copy(image, kept.join(name))
                .with_context(|| format!("copying {} to {}", image.display(), kept.display()))?;
        }
        janitor.run_at_end(&self.scripts.join("down.sh"))?;
        Self::run(self.script("up.sh").env("NODES", "2"))?;
        self.let_node_take_static_pods()
    }

    /// Starts the kubelet of [`STATIC_NODE`] anew, with a directory of static
    /// pods, which the scripts give it none of.
    fn let_node_take_static_pods(&self) -> Result<()> {
        let number = |name: &str| -> Result<u32> {
            let path = self.directory.join(format!("run/{name}-{STATIC_NODE}.pid"));
            let text = std::fs::read_to_string(&path);
            let text = text.with_context(|| format!("reading {}", path.display()))?;
            text.trim().parse().with_context(|| format!("{}: {text}", path.display()))
        };
        let (kubelet, holder) = (number("kubelet")?, number("holder")?);
        let words = std::fs::read(format!("/proc/{kubelet}/cmdline"))?;
        let words = words.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        let words: Vec<_> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        ensure!(!words.is_empty(), "the kubelet of {STATIC_NODE} is not there");

        std::fs::create_dir_all(self.static_pods()).context("making its directory")?;
        let config = self.directory.join(format!("etc/kubelet-{STATIC_NODE}.yaml"));
        let mut text = std::fs::read_to_string(&config)?;
        text.push_str(&format!("staticPodPath: {}\n", self.static_pods().display()));
        std::fs::write(&config, text)?;

        let log = self.directory.join(format!("log/kubelet-{STATIC_NODE}.log"));
        let log = File::options().append(true).open(&log)?;
        process::run(Command::new("kill").arg(kubelet.to_string()))?;
        let limit = Instant::now() + KUBELET_ENDS;
        while std::fs::read(format!("/proc/{kubelet}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            ensure!(Instant::now() < limit, "the kubelet {kubelet} does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
        // Into the node's namespaces; `setsid` and `nsenter` both become what they start.
        let child = Command::new("setsid")
            .args(["nsenter", &format!("--target={holder}"), "--mount", "--uts"])
            .arg(format!("--net=/run/netns/lab-{STATIC_NODE}"))
            .args(words)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting the kubelet")?;
        let pid = self.directory.join(format!("run/kubelet-{STATIC_NODE}.pid"));
        std::fs::write(pid, format!("{}\n", child.id())).context("noting the kubelet")
    }

    /// Where its static pods are; gone with the node.
    fn static_pods(&self) -> PathBuf {
        self.directory.join(STATIC_NODE).join("static-pods")
    }

    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(self.scripts.join(name));
        // Go may not be in `PATH`; the scripts need it.
        if let Ok(path) = std::env::join_paths(place::search_path()) {
            command.env("PATH", path);
        }
        command
    }

    fn run(script: &mut Command) -> Result<()> {
        let start = Instant::now();
        process::run_quietly(script)?;
        let name = Path::new(script.get_program()).file_name().unwrap_or_default();
        println!("cluster: {} took {:.0} s", name.display(), start.elapsed().as_secs_f64());
        Ok(())
    }

    /// A command inside of the cluster's network, with all that the cluster's
    /// tests are told of it.
    pub(super) fn inside(&self, command: &Command) -> Result<Command> {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net={NAMESPACE}")).arg(command.get_program());
        inside.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            inside.current_dir(directory);
        }
        let own = [self.directory.join("bin")];
        let path = std::env::join_paths(own.into_iter().chain(place::search_path()))?;
        inside.env("PATH", path);
        inside.env("KUBECONFIG", self.directory.join("pki/admin.kubeconfig"));
        let static_pods = format!("{STATIC_NODE}:{}", self.static_pods().display());
        inside.env("STRATA_STATIC_PODS", static_pods);
        inside.env("STRATA_API_SERVER_PID_FILE", self.directory.join("run/apiserver.pid"));
        Ok(inside)
    }
}
