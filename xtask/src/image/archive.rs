//! The archive of an image: one layer with one program, and two files of JSON
//! that say so (the format of `docker save`).
//!
//! Separate because the format is fixed elsewhere.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// Writes the image `reference` whose only file is `program`, by its own name
/// at the root, and its entry point. The same program gives the same archive.
pub(super) fn write(to: &Path, reference: &str, program: &Path) -> Result<()> {
    let work = to.with_extension("tmp");
    let root = work.join("root");
    if work.exists() {
        std::fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))?;
    }
    // `tmp` for programs that want one: a pod's root may be writable.
    std::fs::create_dir_all(root.join("tmp")).context("making the image's root")?;
    let name = program.file_name().and_then(|name| name.to_str()).context("a program's name")?;
    std::fs::copy(program, root.join(name))
        .with_context(|| format!("copying {}", program.display()))?;

    let layer = work.join("layer.tar");
    process::output(
        Command::new("tar")
            .args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--mtime=@0"])
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&layer)
            .args(["tmp", name]),
    )?;
    let sum = process::output(Command::new("sha256sum").arg(&layer))?;
    let sum = sum.split_whitespace().next().context("no sum")?;
    std::fs::write(work.join("config.json"), config(name, sum)).context("writing config.json")?;
    std::fs::write(work.join("manifest.json"), manifest(reference))
        .context("writing manifest.json")?;
    process::output(
        Command::new("tar")
            .args(["--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-C"])
            .arg(&work)
            .arg("-cf")
            .arg(to)
            .args(["manifest.json", "config.json", "layer.tar"]),
    )?;
    std::fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))
}

fn config(name: &str, sum: &str) -> String {
    format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Entrypoint":["/{name}"],"User":"0","WorkingDir":"/"}},"rootfs":{{"type":"layers","diff_ids":["sha256:{sum}"]}},"history":[{{"created_by":"cargo xtask image"}}]}}"#
    )
}

fn manifest(reference: &str) -> String {
    format!(r#"[{{"Config":"config.json","RepoTags":["{reference}"],"Layers":["layer.tar"]}}]"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_program_makes_the_same_archive() {
        let directory = std::env::temp_dir().join(format!("strata-image-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let program = directory.join("program");
        std::fs::write(&program, "x").unwrap();
        let archives = ["a.tar", "b.tar"].map(|name| {
            let to = directory.join(name);
            write(&to, "image:1", &program).unwrap();
            std::fs::read(to).unwrap()
        });
        assert!(!archives[0].is_empty());
        assert!(archives[0] == archives[1], "two archives of one program differ");
        std::fs::write(&program, "y").unwrap();
        write(&directory.join("c.tar"), "image:1", &program).unwrap();
        assert!(archives[0] != std::fs::read(directory.join("c.tar")).unwrap());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
