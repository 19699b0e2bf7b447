//! The kernel programs, one object file.
//!
//! `probes` holds one file a hook and little else; `kernel` is the only place
//! that reads kernel structures; `maps` declares every map; `emit` is the only
//! door to the ring; `filter` decides whom to look at. A hook is `tp_btf`, so
//! the verifier checks every read against the running kernel's own types.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    unsafe_code,
    reason = "kernel programs are raw loads and helper calls; the verifier proves them"
)]

mod atomic;
mod capture;
mod connections;
mod emit;
mod filter;
mod globals;
mod histogram;
mod kernel;
mod maps;
mod probes;
mod scratch;
mod stats;
mod work;

/// Unreachable: a reachable panic would be refused by the verifier.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers that trace programs use are for GPL programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
