//! A small RocketMQ name server and broker that run inside a test process.

mod broker;
mod clock;
mod cluster;
mod name_server;
mod net;

pub use clock::Clock;
pub use cluster::{BrokerHandle, Cluster, ClusterBuilder, NameServerHandle};
pub use net::call::AnswerFormat;
