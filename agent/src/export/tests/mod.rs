//! The formats against parsers of their own.

mod parser;
mod protobuf;
pub(super) mod sample;
mod speed;
mod text;
