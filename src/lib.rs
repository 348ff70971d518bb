//! An async client SDK for Apache RocketMQ's remoting protocol.

pub mod environment;
mod error;
mod message;
pub mod protocol;
mod transport;

pub use error::{Delivery, Error, ErrorKind, Result};
pub use message::{Message, MessageBuilder, MessageExt, MessageQueue};
