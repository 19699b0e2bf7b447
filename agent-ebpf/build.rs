//! How the kernel programs are linked.

fn main() {
    // Left to itself the linker has LLVM copy and wipe memory in calls of byte
    // loops: a sixth of a request's first read. Words, inline, verify as well.
    println!("cargo::rustc-link-arg-bins=--disable-expand-memcpy-in-order");
    println!("cargo::rerun-if-changed=build.rs");
}
