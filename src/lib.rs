//! An async client SDK for Apache RocketMQ's remoting protocol.

mod client;
mod config;
mod consumer;
pub mod environment;
mod error;
mod message;
mod producer;
pub mod protocol;
mod route;
mod transport;

pub use client::{Client, ClientBuilder};
pub use config::ClientConfig;
pub use consumer::{
    AllocateStrategy, Average, ConsumeContext, ConsumeFromWhere, ConsumeResult, ConsumeStatus, MessageListener, MessageModel,
    PushConsumer, PushConsumerBuilder, ConsumerReport,
};
pub use error::{Delivery, Error, ErrorKind, Result};
pub use message::{Message, MessageBuilder, MessageExt, MessageQueue};
pub use producer::{
    DefaultProducer, DefaultProducerBuilder, ProducerReport, Receipt, SendFuture, SendResult,
    SendStatus,
};
