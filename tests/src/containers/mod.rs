//! Real containers with Kubernetes' cgroup paths, without a registry.
//!
//! Two ways, since identity must not depend on which: [`runc`] alone, for
//! programs of the host's own `/usr`; and [`containerd`] with an image made by
//! hand, for the static Go program.

pub mod containerd;
pub mod image;
pub mod runc;

use std::sync::atomic::{AtomicU64, Ordering};

/// Ids of a container and its pod, as a kubelet and a runtime would give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Pod uid, with its dashes.
    pub pod_uid: String,
    /// Container id: 64 hexadecimal digits.
    pub container: String,
}

impl Ids {
    /// Ids that no other call in this or another run gives.
    #[must_use]
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let seed = crate::sys::monotonic_ns().rotate_left(17) ^ u64::from(std::process::id());
        // The odd factor spreads the digits, so that short ids differ too.
        let mixed = seed.wrapping_add(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let hex = format!("{mixed:016x}{seed:016x}{number:016x}{mixed:016x}");
        let pod_uid = format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            mixed >> 32,
            (mixed >> 16) & 0xffff,
            mixed & 0xfff,
            number & 0xfff,
            seed & 0xffff_ffff_ffff
        );
        Self { pod_uid, container: hex }
    }

    /// The short id: what the label `container` shows without metadata.
    #[must_use]
    pub fn short(&self) -> &str {
        self.container.get(..12).unwrap_or(&self.container)
    }

    /// The cgroup path of a Burstable pod with the cgroupfs driver.
    #[must_use]
    pub fn cgroup_path(&self) -> String {
        crate::cgroup::kubepods_path(&self.pod_uid, &self.container)
    }

    /// The pod's part of it.
    #[must_use]
    pub fn pod_cgroup_path(&self) -> String {
        format!("kubepods/burstable/pod{}", self.pod_uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_real_ones_and_differ_early() {
        let (one, two) = (Ids::unique(), Ids::unique());
        assert_eq!((one.container.len(), one.pod_uid.len()), (64, 36));
        assert_ne!(one.short(), two.short());
        assert!(one.container.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let dashes: Vec<_> = one.pod_uid.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!(dashes, [8, 13, 18, 23]);
    }
}
