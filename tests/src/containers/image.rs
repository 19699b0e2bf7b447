//! A container image made by hand: one layer with one static program.
//!
//! Separate from containerd, which only imports it. Nothing is pulled.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::json;

use crate::process;

/// Where the program is in the image.
pub const PROGRAM: &str = "/app";

/// Writes a docker archive with `program` as [`PROGRAM`], its entry point, under
/// the name `reference`, to `out`.
///
/// # Errors
/// When `tar` or `sha256sum` fails.
pub fn write(out: &Path, reference: &str, program: &Path) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("strata-image").tempdir()?;
    let rootfs = dir.path().join("rootfs");
    for folder in ["proc", "sys", "dev", "tmp"] {
        std::fs::create_dir_all(rootfs.join(folder))?;
    }
    std::fs::copy(program, rootfs.join("app"))?;
    let layer = dir.path().join("layer.tar");
    process::run(
        Command::new("tar")
            .args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--mtime=@0", "-C"])
            .arg(&rootfs)
            .arg("-cf")
            .arg(&layer)
            .arg("."),
    )?;
    let sum = process::run(Command::new("sha256sum").arg(&layer))?;
    let sum = sum.split_whitespace().next().context("no sum")?;
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Entrypoint": [PROGRAM], "Env": ["PATH=/"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
        "history": [{"created_by": "strata tests"}],
    });
    let manifest =
        json!([{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]);
    std::fs::write(dir.path().join("config.json"), config.to_string())?;
    std::fs::write(dir.path().join("manifest.json"), manifest.to_string())?;
    process::run(Command::new("tar").arg("-C").arg(dir.path()).arg("-cf").arg(out).args([
        "manifest.json",
        "config.json",
        "layer.tar",
    ]))?;
    Ok(())
}
