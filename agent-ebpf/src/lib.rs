//! Empty library target, so that cargo can track this package as a build
//! dependency of the agent. The programs are in `main.rs`.
#![no_std]
