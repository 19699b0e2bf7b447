//! Builds the kernel programs and hands their object file to the agent.
//!
//! `AYA_BUILD_SKIP=1` leaves the kernel programs out; the agent then builds
//! everywhere and says so when asked to load them. Without the feature `agent`
//! there is nobody to hand them to.

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-env-changed=AYA_BUILD_SKIP");
    println!("cargo::rustc-check-cfg=cfg(kernel_object)");
    kernel_programs()
}

#[cfg(not(feature = "agent"))]
fn kernel_programs() -> anyhow::Result<()> {
    Ok(())
}

#[cfg(feature = "agent")]
fn kernel_programs() -> anyhow::Result<()> {
    use anyhow::Context as _;

    let is_skipped =
        std::env::var("AYA_BUILD_SKIP").is_ok_and(|value| value == "1" || value == "true");
    if is_skipped {
        return Ok(());
    }
    println!("cargo::rustc-cfg=kernel_object");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent-ebpf");
    // aya-build watches the kernel crate only; an object with another idea of
    // the wire contract than the agent's would be wrong without a word.
    println!("cargo::rerun-if-changed={}/../agent-common", env!("CARGO_MANIFEST_DIR"));
    aya_build::build_ebpf(
        [aya_build::Package {
            name: "agent-ebpf",
            root_dir: root,
            no_default_features: false,
            features: &[],
        }],
        aya_build::Toolchain::Custom("1.95.0"),
    )
    .context("building agent-ebpf; `cargo xtask setup` installs what it needs")
}
