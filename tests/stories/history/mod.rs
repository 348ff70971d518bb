//! What happened in a story under fault, and whether it may have: the invariants over one history.
//!
//! A [`Trial`] records what it sends, what its listeners are given and how they end, and takes what the brokers saw from the
//! testkit's journal and from their queues. The checker reads only that, never a log of ours. On a real broker there is no journal:
//! what only it can tell is not judged there.

mod broker;
mod check;
mod foreign;
mod listening;
mod log;
mod members;
mod panics;
mod process;
mod reading;
mod record;
mod sending;
mod severed;
mod trial;

pub use check::Report;
pub use foreign::Foreign;
pub use listening::{Act, id};
pub use process::live;
pub use record::{Happened, History};
pub use sending::Way;
pub use severed::Severed;
pub use trial::Trial;
