//! One version everywhere: of the program, its image, the chart, the manifests.
//!
//! Separate because it needs no tool: these files are read as text.

use crate::rendered::deploy;

/// The version of the program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn chart_manifests_and_image_name_the_version_of_the_program() {
    for (file, line) in [
        ("chart/Chart.yaml", format!("appVersion: \"{VERSION}\"")),
        ("chart/Chart.yaml", format!("version: {VERSION}")),
        ("kubernetes/kustomization.yaml", format!("newTag: {VERSION}")),
        ("Dockerfile", format!("org.opencontainers.image.version=\"{VERSION}\" \\")),
    ] {
        assert!(has_line(file, &line), "{file} has no line `{line}`");
    }
    assert!(!has_line("chart/Chart.yaml", "appVersion: \"0\""));
}

#[test]
fn the_dockerfile_builds_with_the_toolchain_of_the_workspace_and_ships_one_program() {
    let toolchain = format!("FROM rust:{}-bookworm AS build", env!("CARGO_PKG_RUST_VERSION"));
    for line in [
        toolchain.as_str(),
        "RUN cargo xtask image",
        "FROM scratch",
        "COPY --from=build /src/target/x86_64-unknown-linux-gnu/release/strata /strata",
        "USER 0",
        "ENTRYPOINT [\"/strata\"]",
    ] {
        assert!(has_line("Dockerfile", line), "no line `{line}`");
    }
    let text = std::fs::read_to_string(deploy("Dockerfile")).unwrap();
    let (_, shipped) = text.split_once("FROM scratch").unwrap();
    assert_eq!(shipped.matches("\nCOPY ").count(), 1, "the image has more than the program");
}

/// Whether a file of `deploy` has this line, blanks aside.
fn has_line(file: &str, line: &str) -> bool {
    let text = std::fs::read_to_string(deploy(file)).unwrap();
    text.lines().any(|it| it.trim() == line)
}
