//! An async client SDK for Apache RocketMQ's remoting protocol.

pub mod protocol;
