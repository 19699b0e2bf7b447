//! Object, specs and host facts into loaded programs.
pub mod globals;
