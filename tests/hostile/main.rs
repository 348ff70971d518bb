//! Peers that say what they should not, too much of it, or too little: what the client's users see then. On clusters in memory with
//! tokio's time paused.
//!
//! The names begin with the id of the fault. A test that looks at memory has the process for itself meanwhile.

#![allow(unreachable_pub, reason = "a test program has no outside")]
#![allow(clippy::future_not_send, reason = "tests run where they are started")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod bombs;
mod flood;
mod frames;
mod segments;
mod world;
