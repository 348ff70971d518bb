//! What Apache's own clients and servers wrote, byte by byte, held against our encoders and decoders. `README.md` says where it is
//! from.

#![allow(unreachable_pub, reason = "a test program has no outside")]
#![allow(clippy::future_not_send, reason = "a tour runs where it is started")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

mod allocations;
mod bodies;
mod capture;
mod headers;
#[expect(dead_code, reason = "the stories' part of it")]
#[path = "../stories/java.rs"]
mod java;
mod proxy;
mod recorded;
#[expect(dead_code, reason = "the stories' part of it")]
#[path = "../stories/target/mod.rs"]
mod target;

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}
