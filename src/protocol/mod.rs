//! RocketMQ's wire formats: bytes to types and back.
//!
//! Knows: frames, the two header serialisations, every request this crate sends or answers, stored messages. Does not know:
//! sockets, time, randomness, retries, or what a request is for. Nothing here logs or panics on foreign bytes, and nothing
//! allocates by a length that was declared but not received.
//!
//! This module is the low-level layer on which the client and the testkit are built. It is public, but outside the
//! crate's semver promise, but for what the crate's root names too.

pub mod code;
pub mod command;
pub mod compress;
pub mod error;
pub mod fields;
pub mod frame;
pub mod header;
pub mod java_json;
pub mod message;
pub mod request;

pub use error::DecodeError;
