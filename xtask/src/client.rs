//! The client alone: `kubectl strata` without the agent.
//!
//! Separate from the stages because it is about what a build must not have:
//! it is for machines that are no nodes, where kernel programs, their loader
//! and the agent's libraries would be compiled for nothing or not at all.

use anyhow::Context as _;

use crate::process;

/// How the client is built.
pub(crate) const FEATURES: [&str; 4] =
    ["--package=agent", "--no-default-features", "--features=client", "--bin=kubectl-strata"];
/// Crates that only an agent needs. One in the tree means that a `cfg` is
/// missing.
const AGENT_ONLY: [&str; 6] = ["aya", "aya-build", "aya-obj", "hyper", "kube", "prometheus-client"];
/// Platforms besides this one that it is built for.
const OTHER_TARGETS: [&str; 2] = ["x86_64-apple-darwin", "x86_64-pc-windows-gnu"];

/// Lints the client as it is built alone, and looks at what it is made of;
/// for other platforms as far as their standard library is installed.
pub(crate) fn run() -> anyhow::Result<()> {
    let tree = process::output(process::cargo().args(["tree", "--edges=normal,build"]).args([
        "--prefix=none",
        "--format={p}",
        "--package=agent",
        "--no-default-features",
        "--features=client",
        "--target=all",
    ]))?;
    let unwanted = agent_only(&tree);
    anyhow::ensure!(unwanted.is_empty(), "the client is built with {}", unwanted.join(", "));
    // Kernel programs that it does not ask for must not be needed either.
    let mut clippy = process::cargo();
    clippy.args(["clippy", "--release"]).args(FEATURES).args(["--", "--deny", "warnings"]);
    process::run(&mut clippy)?;
    for target in OTHER_TARGETS {
        if has_target(target)? {
            let mut check = process::cargo();
            check.args(["check", "--release"]).args(FEATURES).args(["--target", target]);
            process::run(&mut check)?;
        } else {
            println!("not checked for {target}: `rustup target add {target}` gets what that takes");
        }
    }
    Ok(())
}

/// What of [`AGENT_ONLY`] is in the output of `cargo tree`.
fn agent_only(tree: &str) -> Vec<&'static str> {
    let names = || tree.lines().filter_map(|line| line.split_whitespace().next());
    AGENT_ONLY.into_iter().filter(|unwanted| names().any(|name| name == *unwanted)).collect()
}

/// Whether the standard library of a platform is installed.
fn has_target(target: &str) -> anyhow::Result<bool> {
    let root = process::output(std::process::Command::new("rustc").args(["--print", "sysroot"]))?;
    let library = std::path::Path::new(root.trim()).join("lib/rustlib").join(target).join("lib");
    library.try_exists().with_context(|| format!("looking for {}", library.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_of_the_agent_is_found_by_its_whole_name() {
        let tree = "agent v0.1.0 (/x)\nclap v4.6.0\nhyper-util v0.1.0\naya v0.14.0\n";
        assert_eq!(agent_only(tree), ["aya"]);
        assert_eq!(agent_only("agent v0.1.0\ntokio v1.54.0 (*)\n"), [""; 0]);
    }
}
