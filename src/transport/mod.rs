//! One socket: frames out, frames in, and who waits for which.
//!
//! Knows: connections, their deadlines and their end, and how to dial one. Does not know: topics, routes, groups, or what a
//! response code means.

mod connection;
mod error;
mod outbox;
mod pending;
mod pool;

pub(crate) use connection::{Call, Connection, Inbound, Limits};
pub(crate) use error::{CallError, Cause};
pub(crate) use pool::Pool;
