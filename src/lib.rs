//! An async client SDK for Apache RocketMQ's remoting protocol.

pub mod environment;
mod error;
pub mod protocol;
mod transport;
