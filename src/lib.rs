#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

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
    AllocateStrategy, Average, AverageByCircle, Configured, ConsistentHash, ConsumeContext,
    ConsumeFromWhere, ConsumeResult, ConsumeStatus, ConsumerReport, LitePullConsumer,
    LitePullConsumerBuilder, MachineRoom, MachineRoomNearby, MessageListener, MessageModel,
    MessageStream, OffsetStore, PushConsumer, PushConsumerBuilder,
};
pub use error::{Delivery, Error, ErrorKind, Result};
pub use message::{Message, MessageBuilder, MessageExt, MessageQueue};
pub use producer::{
    BatchFuture, Compression, DefaultProducer, DefaultProducerBuilder, FaultTolerance, HalfMessage,
    Intercepted, OutgoingMessage, ProducerReport, Receipt, RequestFuture, SendFuture,
    SendInterceptor, SendResult, SendStatus, SplitBatchFuture, TransactionProducer,
    TransactionProducerBuilder, TransactionResolution, TransactionSendResult, TransactionState,
};
pub use protocol::code::ResponseCode;
pub use protocol::command::Serialization;
