//! Verbs of the project.

fn main() {}
