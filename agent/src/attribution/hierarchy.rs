//! Which cgroup hierarchy is read, and a process's path in it.
//!
//! Separate because three layouts (v2, v1, hybrid) are told apart once, at
//! start, and everything that follows (cgroup ids in the kernel, the directory
//! tree, `/proc/<pid>/cgroup`) must use the same hierarchy.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::attribution::procfs::{self, ProcRoot};

/// A v1 controller whose hierarchy can tell containers apart: every runtime
/// makes a cgroup for each container in these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Controller {
    /// `pids`
    Pids,
    /// `cpu`
    Cpu,
    /// `memory`
    Memory,
    /// `cpuacct`
    Cpuacct,
    /// `devices`
    Devices,
}

impl Controller {
    /// All, the preferred one first.
    pub const ALL: [Self; 5] = [Self::Pids, Self::Cpu, Self::Memory, Self::Cpuacct, Self::Devices];

    /// Its name in mount options, `/proc/cgroups` and `/proc/<pid>/cgroup`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Cpuacct => "cpuacct",
            Self::Devices => "devices",
        }
    }

    /// Its name in the kernel's `enum cgroup_subsys_id`, whose value in BTF is
    /// the index into `css_set.subsys[]`.
    #[must_use]
    pub const fn enumerator(self) -> &'static str {
        match self {
            Self::Pids => "pids_cgrp_id",
            Self::Cpu => "cpu_cgrp_id",
            Self::Memory => "memory_cgrp_id",
            Self::Cpuacct => "cpuacct_cgrp_id",
            Self::Devices => "devices_cgrp_id",
        }
    }
}

/// The hierarchy that strata reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// No v1 controller is mounted that would tell containers apart.
    V2 {
        /// Where it is mounted.
        mount: PathBuf,
    },
    /// v1, or a hybrid: on those, a runtime need not make v2 cgroups.
    V1 {
        /// The controller that is followed.
        controller: Controller,
        /// Where its hierarchy is mounted.
        mount: PathBuf,
        /// Its line in `/proc/cgroups`, from 0, which is the index into
        /// `css_set.subsys[]`. Newer kernels leave `cpuset` and `memory` out of
        /// that file where their v1 files are not compiled in, and then the
        /// line is too low: where BTF has [`Controller::enumerator`], that
        /// value is the better one.
        subsys_index: u32,
        /// Number of the hierarchy, as in `/proc/<pid>/cgroup`.
        hierarchy_id: u32,
    },
}

/// Why no hierarchy could be chosen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of `/proc` could not be read.
    #[error(transparent)]
    Procfs(#[from] procfs::Error),
    /// Nothing is mounted.
    #[error("no cgroup hierarchy is mounted under {}; mount the host's /sys/fs/cgroup there, or name where it is", root.display())]
    NotMounted {
        /// Where it was looked for.
        root: PathBuf,
    },
    /// A controller is mounted that `/proc/cgroups` does not list.
    #[error("/proc/cgroups does not list {controller}, which is mounted")]
    NotListed {
        /// Its name.
        controller: &'static str,
    },
}

impl Hierarchy {
    /// Chooses the hierarchy by what is mounted at or below `cgroup_root`
    /// (`/sys/fs/cgroup` unless the host's tree is mounted elsewhere).
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read, or no hierarchy is mounted there.
    pub fn detect(proc: &ProcRoot, cgroup_root: Option<&Path>) -> Result<Self, Error> {
        let root = cgroup_root.unwrap_or(Path::new("/sys/fs/cgroup"));
        // Kernels without any v1 controller may have no such file.
        let listed = match proc.read_text("cgroups") {
            Err(error) if error.is_gone() => String::new(),
            text => text?,
        };
        Self::choose(&proc.read_text("self/mountinfo")?, &listed, root)
    }

    /// The same, from the texts of `mountinfo` and `/proc/cgroups`.
    fn choose(mountinfo: &str, listed: &str, root: &Path) -> Result<Self, Error> {
        let mounts: Vec<_> = mountinfo
            .lines()
            .filter_map(Mount::parse)
            .filter(|m| m.point.starts_with(root))
            .collect();
        for controller in Controller::ALL {
            let name = controller.as_str();
            let is_here = |mount: &&Mount| {
                !mount.is_v2 && mount.options.split(',').any(|option| option == name)
            };
            if let Some(mount) = outermost(mounts.iter().filter(is_here)) {
                let (subsys_index, hierarchy_id) =
                    find_listed(listed, name).ok_or(Error::NotListed { controller: name })?;
                return Ok(Self::V1 {
                    controller,
                    mount: mount.point.clone(),
                    subsys_index,
                    hierarchy_id,
                });
            }
        }
        outermost(mounts.iter().filter(|mount| mount.is_v2))
            .map(|mount| Self::V2 { mount: mount.point.clone() })
            .ok_or_else(|| Error::NotMounted { root: root.to_owned() })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        match self {
            Self::V1 { mount, .. } | Self::V2 { mount } => mount,
        }
    }

    /// A process's path in this hierarchy, from the text of its
    /// `/proc/<pid>/cgroup`; `None` if the text has no line for it.
    ///
    /// The path is as the reader's cgroup namespace sees it; for a cgroup that
    /// is removed it is the path that it had.
    #[must_use]
    pub fn path_in<'a>(&self, cgroup_file: &'a str) -> Option<&'a str> {
        cgroup_file.lines().find_map(|line| {
            // hierarchy:controllers:path; the path may have colons of its own.
            let mut fields = line.splitn(3, ':');
            let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let is_ours = match self {
                Self::V2 { .. } => id == "0" && controllers.is_empty(),
                Self::V1 { controller, .. } => {
                    controllers.split(',').any(|name| name == controller.as_str())
                }
            };
            is_ours.then(|| path.strip_suffix(" (deleted)").unwrap_or(path))
        })
    }
}

/// Line (from 0) and hierarchy number of a controller in `/proc/cgroups`.
fn find_listed(listed: &str, controller: &str) -> Option<(u32, u32)> {
    let lines = listed.lines().filter(|line| !line.starts_with('#'));
    (0_u32..).zip(lines).find_map(|(index, line)| {
        let mut fields = line.split_ascii_whitespace();
        if fields.next()? != controller {
            return None;
        }
        Some((index, fields.next()?.parse().ok()?))
    })
}

/// A mounted cgroup hierarchy.
struct Mount<'a> {
    /// Which of the hierarchy's directories is mounted.
    root: &'a str,
    point: PathBuf,
    is_v2: bool,
    /// Options of the hierarchy: its controllers, on v1.
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// A line of `mountinfo`, if it is one of a cgroup hierarchy.
    fn parse(line: &'a str) -> Option<Self> {
        // id parent major:minor root point options [tags] - type source options
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let is_v2 = match right.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let options = right.nth(1).unwrap_or("");
        Some(Self { root, point: PathBuf::from(unescape(point).as_ref()), is_v2, options })
    }

    /// How far out the mounted directory is. In a cgroup namespace the host's
    /// root shows as `/../..`; without one, a part of the tree as `/docker/x`.
    fn distance_from_root(&self) -> isize {
        self.root
            .split('/')
            .map(|part| match part {
                "" => 0,
                ".." => -1,
                _ => 1,
            })
            .sum()
    }
}

/// The mount that shows most of the hierarchy; of equals the last, which hides
/// those before it.
fn outermost<'m, 't: 'm>(mounts: impl Iterator<Item = &'m Mount<'t>>) -> Option<&'m Mount<'t>> {
    mounts.reduce(|best, mount| {
        if mount.distance_from_root() <= best.distance_from_root() { mount } else { best }
    })
}

/// Undoes the octal escapes of `mountinfo` (space, tab, newline, backslash).
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    Cow::Owned(escapes.into_iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use proptest::prelude::{prop_assert, proptest};

    use super::{Controller, Error, Hierarchy};
    use crate::attribution::procfs::ProcRoot;

    const LISTED: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n\
        cpuset\t3\t1\t1\ncpu\t1\t1\t1\ncpuacct\t2\t1\t1\nblkio\t7\t1\t1\nmemory\t4\t17\t1\ndevices\t5\t1\t1\n\
        freezer\t6\t1\t1\nnet_cls\t0\t1\t1\nperf_event\t0\t1\t1\nnet_prio\t0\t1\t1\nhugetlb\t0\t1\t1\npids\t8\t1\t1\n";

    /// A line of mountinfo.
    fn mount(root: &str, point: &str, kind: &str, options: &str) -> String {
        format!("33 24 0:28 {root} {point} rw,relatime shared:9 - {kind} {kind} {options}\n")
    }

    fn choose(mounts: &[String], root: &str) -> Result<Hierarchy, Error> {
        let other = "24 1 0:22 / / rw - ext4 /dev/vda rw\n25 24 0:25 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n";
        Hierarchy::choose(&format!("{other}{}", mounts.concat()), LISTED, Path::new(root))
    }

    #[test]
    fn a_unified_root_is_read_as_v2() {
        let mounts = [mount("/", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate")];
        assert_eq!(
            choose(&mounts, "/sys/fs/cgroup").unwrap(),
            Hierarchy::V2 { mount: "/sys/fs/cgroup".into() }
        );
    }

    #[test]
    fn v1_and_hybrid_are_read_by_the_first_controller_that_is_mounted() {
        let mut mounts = vec![
            mount("/", "/sys/fs/cgroup/unified", "cgroup2", "rw"),
            mount("/", "/sys/fs/cgroup/systemd", "cgroup", "rw,name=systemd"),
            mount("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
        ];
        let cpu = Hierarchy::V1 {
            controller: Controller::Cpu,
            mount: "/sys/fs/cgroup/cpu,cpuacct".into(),
            subsys_index: 1,
            hierarchy_id: 1,
        };
        assert_eq!(choose(&mounts, "/sys/fs/cgroup").unwrap(), cpu);
        mounts.push(mount("/", "/sys/fs/cgroup/pids", "cgroup", "rw,pids"));
        let pids = Hierarchy::V1 {
            controller: Controller::Pids,
            mount: "/sys/fs/cgroup/pids".into(),
            subsys_index: 11,
            hierarchy_id: 8,
        };
        assert_eq!(choose(&mounts, "/sys/fs/cgroup").unwrap(), pids);
    }

    #[test]
    fn a_v1_hierarchy_without_a_useful_controller_leaves_v2() {
        let mounts = [
            mount("/", "/sys/fs/cgroup/systemd", "cgroup", "rw,xattr,name=systemd"),
            mount("/", "/sys/fs/cgroup/net_cls", "cgroup", "rw,net_cls"),
            mount("/", "/sys/fs/cgroup/unified", "cgroup2", "rw"),
        ];
        let v2 = Hierarchy::V2 { mount: "/sys/fs/cgroup/unified".into() };
        assert_eq!(choose(&mounts, "/sys/fs/cgroup").unwrap(), v2);
    }

    #[test]
    fn the_hosts_tree_is_found_where_it_is_mounted_in_a_container() {
        let mounts = [
            mount("/../../..", "/host/sys/fs/cgroup", "cgroup2", "rw"),
            mount("/", "/sys/fs/cgroup", "cgroup2", "rw"),
        ];
        let host = Hierarchy::V2 { mount: "/host/sys/fs/cgroup".into() };
        assert_eq!(choose(&mounts, "/host/sys/fs/cgroup").unwrap(), host);
        assert_eq!(choose(&mounts, "/").unwrap(), host);
        assert_eq!(
            choose(&mounts, "/sys/fs/cgroup").unwrap(),
            Hierarchy::V2 { mount: "/sys/fs/cgroup".into() }
        );
    }

    #[test]
    fn of_two_mounts_of_a_hierarchy_the_outermost_is_read() {
        let docker = mount("/docker/0d8f", "/sys/fs/cgroup/pids", "cgroup", "ro,pids");
        let whole = mount(
            "/",
            "/sys/fs/cgroup/host pids".replace(' ', "\\040").as_str(),
            "cgroup",
            "ro,pids",
        );
        for mounts in [[docker.clone(), whole.clone()], [whole, docker]] {
            assert_eq!(
                choose(&mounts, "/sys/fs/cgroup").unwrap().mount(),
                Path::new("/sys/fs/cgroup/host pids")
            );
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = choose(&[], "/sys/fs/cgroup").unwrap_err();
        assert!(matches!(error, Error::NotMounted { .. }));
        assert!(error.to_string().contains("mount the host's /sys/fs/cgroup"));
        let mounts = mount("/", "/sys/fs/cgroup/pids", "cgroup", "rw,pids");
        let error =
            Hierarchy::choose(&mounts, "#\ncpu 1 1 1\n", Path::new("/sys/fs/cgroup")).unwrap_err();
        assert!(matches!(error, Error::NotListed { controller: "pids" }));
    }

    #[test]
    fn a_process_is_found_in_its_hierarchy_only() {
        let v1 = |controller| Hierarchy::V1 {
            controller,
            mount: PathBuf::new(),
            subsys_index: 0,
            hierarchy_id: 8,
        };
        let v2 = Hierarchy::V2 { mount: PathBuf::new() };
        let text =
            "9:name=systemd:/a\n8:pids:/b\n4:cpu,cpuacct:/c:cri-containerd:x\n0::/d/e (deleted)\n";
        assert_eq!(v1(Controller::Pids).path_in(text), Some("/b"));
        assert_eq!(v1(Controller::Cpu).path_in(text), Some("/c:cri-containerd:x"));
        assert_eq!(v1(Controller::Cpuacct).path_in(text), Some("/c:cri-containerd:x"));
        assert_eq!(v1(Controller::Memory).path_in(text), None);
        assert_eq!(v2.path_in(text), Some("/d/e"));
        assert_eq!(v2.path_in("8:pids:/b\n"), None);
        assert_eq!(v2.path_in(""), None);
    }

    #[test]
    fn this_machine_has_a_hierarchy_and_this_process_is_in_it() {
        let proc = ProcRoot::default();
        let hierarchy = match Hierarchy::detect(&proc, None) {
            Err(Error::NotMounted { .. }) => {
                return eprintln!("skipped: no cgroup hierarchy is mounted here");
            }
            hierarchy => hierarchy.unwrap(),
        };
        assert!(hierarchy.mount().is_dir());
        let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        assert!(hierarchy.path_in(&text).unwrap().starts_with('/'));
    }

    proptest! {
        #[test]
        fn any_texts_are_read_without_panic(mounts in "\\PC{0,200}", listed in "\\PC{0,100}", file in "\\PC{0,100}") {
            if let Ok(hierarchy) = Hierarchy::choose(&mounts, &listed, Path::new("/")) {
                prop_assert!(hierarchy.path_in(&file).is_none_or(|path| file.contains(path)));
            }
        }
    }
}
