//! Consumers: whose queues are whose, what is pulled, and what is made of it.
//!
//! A delivery, by file: [`rebalance`] gives a queue to this member ([`assigned`]), [`feed`] finds out where it begins and pulls
//! ([`pull`]), the messages wait in a ring ([`process_queue`]) for a listener ([`push`]) or a poll ([`lite_pull`]), and what is done
//! with is committed ([`commits`], [`offset`]). [`group`] holds it together. Knows nothing of producers.

mod agreement;
mod allocate;
mod assigned;
mod backoff;
mod body;
mod commits;
mod committed;
mod feed;
mod flow;
mod group;
mod handle;
mod hooks;
mod inbound;
mod lite_pull;
mod offset;
mod process_queue;
mod profile;
mod pull;
mod push;
mod rebalance;
mod report;
#[cfg(test)]
mod sample;
mod setup;
mod start_offset;
mod stats;
mod subscription;
#[cfg(test)]
mod tests;

pub use allocate::{
    AllocateStrategy, Average, AverageByCircle, Configured, ConsistentHash, MachineRoom,
    MachineRoomNearby,
};
pub use lite_pull::{LitePullConsumer, LitePullConsumerBuilder, MessageStream};
pub use offset::OffsetStore;
pub use profile::MessageModel;
pub use push::{
    ConsumeContext, ConsumeResult, ConsumeStatus, MessageListener, PushConsumer,
    PushConsumerBuilder,
};
pub use report::ConsumerReport;
pub use start_offset::ConsumeFromWhere;
