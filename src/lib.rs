//! An async client SDK for Apache RocketMQ's remoting protocol.

pub mod environment;
pub mod protocol;
