//! A small RocketMQ name server and broker that run inside a test process.

mod broker;
mod clock;
mod cluster;
mod name_server;
mod net;
mod options;
#[doc(hidden)]
pub mod program;

pub use clock::Clock;
pub use cluster::{BrokerHandle, Cluster, ClusterBuilder, NameServerHandle};
pub use net::call::AnswerFormat;
pub use options::{BrokerBuilder, Listen};
