//! Which kernels the matrix has, and how each is had: Debian's own package,
//! unpacked into a cache. Separate so that a new kernel is one entry here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{run_tool, say};

/// A kernel of the matrix and what it is known to lack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    /// The release series, as in "6.12".
    pub(crate) series: &'static str,
    /// The Debian metapackage that depends on the newest image of the series.
    pub(crate) metapackage: &'static str,
    /// Lanes that must be reported unavailable here; all others must work.
    pub(crate) unavailable: &'static [&'static str],
}

/// The matrix. Both series come with Debian 12 and its security updates.
pub(crate) const KERNELS: [Kernel; 2] = [
    Kernel {
        series: "6.1",
        metapackage: "linux-image-cloud-amd64",
        // sk_data_ready and sock_{recv,send}_length came with 6.3.
        unavailable: &["sockets"],
    },
    Kernel { series: "6.12", metapackage: "linux-image-6.12-cloud-amd64", unavailable: &[] },
];

/// A kernel image in the cache.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) package: String,
    pub(super) vmlinuz: PathBuf,
}

/// Downloads and unpacks the newest image of the series, unless it is there.
pub(super) fn fetch(kernel: &Kernel, cache: &Path) -> Result<Image> {
    match try_fetch(kernel, cache) {
        Ok(image) => Ok(image),
        Err(first) => {
            // Either no package list was ever fetched here, or it is so old
            // that the mirror has dropped what it names.
            say(&format!("kernel {}: {first:#}; refreshing the package lists", kernel.series));
            run_tool(Command::new("apt-get").args(["update", "-q"]))?;
            try_fetch(kernel, cache)
        }
    }
}

fn try_fetch(kernel: &Kernel, cache: &Path) -> Result<Image> {
    let shown = run_tool(Command::new("apt-cache").args([
        "show",
        "--no-all-versions",
        kernel.metapackage,
    ]))?;
    let package = image_package(&String::from_utf8_lossy(&shown))
        .with_context(|| format!("{} names no kernel image", kernel.metapackage))?;
    if !is_of_series(&package, kernel.series) {
        bail!("{} leads to {package}, which is not a {} kernel", kernel.metapackage, kernel.series);
    }
    let release = package.trim_start_matches("linux-image-");
    let vmlinuz = cache.join(format!("vmlinuz-{release}"));
    if !vmlinuz.exists() {
        say(&format!("kernel {}: downloading {package} (30 MB)", kernel.series));
        let unpacked = cache.join(&package);
        std::fs::create_dir_all(&unpacked)?;
        let root = "APT::Sandbox::User=root"; // the cache is not readable by _apt
        run_tool(
            Command::new("apt-get").current_dir(&unpacked).args(["-o", root, "download", &package]),
        )?;
        let archive = only_archive(&unpacked)?;
        run_tool(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&unpacked))?;
        // Renamed last, so that an interrupted download is not taken for a kernel.
        let image = unpacked.join(format!("boot/vmlinuz-{release}"));
        std::fs::rename(&image, &vmlinuz)
            .with_context(|| format!("{} is not in the package", image.display()))?;
        std::fs::remove_dir_all(&unpacked)?;
    }
    Ok(Image { package, vmlinuz })
}

/// The image package that a metapackage depends on.
fn image_package(apt_cache_show: &str) -> Option<String> {
    let depends = apt_cache_show.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    depends
        .split(',')
        .filter_map(|dependency| dependency.split_whitespace().next())
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
}

/// Whether `linux-image-6.12.117+deb12-cloud-amd64` is of series "6.12".
fn is_of_series(package: &str, series: &str) -> bool {
    package
        .strip_prefix("linux-image-")
        .and_then(|release| release.strip_prefix(series))
        .is_some_and(|rest| rest.starts_with('.') || rest.starts_with('-'))
}

fn only_archive(directory: &Path) -> Result<PathBuf> {
    let mut archives = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            archives.push(path);
        }
    }
    match (archives.pop(), archives.is_empty()) {
        (Some(archive), true) => Ok(archive),
        _ => bail!("{} should hold one package; remove it and try again", directory.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::{image_package, is_of_series};

    #[test]
    fn the_image_is_the_dependency_with_its_name() {
        let shown = "Package: linux-image-6.12-cloud-amd64\nVersion: 6.12.117-1\n\
                     Depends: initramfs-tools, linux-image-6.12.117+deb12-cloud-amd64 (= 6.12.117-1)\n";
        assert_eq!(image_package(shown).as_deref(), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(image_package("Package: x\n"), None);
        assert_eq!(image_package("Depends: initramfs-tools\n"), None);
    }

    #[test]
    fn a_series_is_not_its_prefix() {
        assert!(is_of_series("linux-image-6.1.0-56-cloud-amd64", "6.1"));
        assert!(!is_of_series("linux-image-6.12.117+deb12-cloud-amd64", "6.1"));
        assert!(is_of_series("linux-image-6.12.117+deb12-cloud-amd64", "6.12"));
        assert!(!is_of_series("linux-headers-6.12.1", "6.12"));
    }
}
