//! What a test does to a topic.

use std::io;
use std::sync::Arc;

use rocketmq_sdk::protocol::request::route::Permission;

use crate::broker::SharedBroker;
use crate::name_server::NameServer;

/// A topic, to be changed while clients use it: on all brokers ([`Cluster::topic`](crate::Cluster::topic)), or on one
/// ([`BrokerHandle::topic`](crate::BrokerHandle::topic)).
///
/// When a change returns, the brokers act by it, and the name servers that can be reached know of it. Clients learn of it from
/// their next look at the route.
#[derive(Debug, Clone)]
pub struct TopicHandle {
    name: String,
    brokers: Vec<Arc<SharedBroker>>,
    /// Those that forget the topic when it is deleted.
    name_servers: Vec<Arc<NameServer>>,
}

/// What clients may do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Send and pull.
    ReadWrite,
    /// Pull.
    ReadOnly,
    /// Send.
    WriteOnly,
    /// Nothing.
    Denied,
}

impl TopicHandle {
    pub(crate) fn new(
        name: String,
        brokers: Vec<Arc<SharedBroker>>,
        name_servers: Vec<Arc<NameServer>>,
    ) -> Self {
        Self {
            name,
            brokers,
            name_servers,
        }
    }

    /// Gives the topic this number of queues on each broker, and makes it if it is not there. With fewer queues than before, the
    /// messages in the others stay, but cannot be reached.
    ///
    /// # Errors
    /// The topic's name or the number is illegal.
    ///
    /// # Cancel safety
    /// Dropping the future leaves some of the brokers changed.
    pub async fn queues(&self, queues: i32) -> io::Result<()> {
        for broker in &self.brokers {
            broker.create_topic(&self.name, queues)?;
        }
        self.registered().await;
        Ok(())
    }

    /// Sets what clients may do with the topic.
    ///
    /// # Errors
    /// There is no such topic.
    ///
    /// # Cancel safety
    /// Dropping the future leaves some of the brokers changed.
    pub async fn access(&self, access: Access) -> io::Result<()> {
        let permission = match access {
            Access::ReadWrite => Permission::READ_WRITE.0,
            Access::ReadOnly => 4,
            Access::WriteOnly => 2,
            Access::Denied => 0,
        };
        for broker in &self.brokers {
            if !broker.set_permission(&self.name, permission) {
                let reason = format!("there is no topic {}", self.name);
                return Err(io::Error::new(io::ErrorKind::NotFound, reason));
            }
        }
        self.registered().await;
        Ok(())
    }

    /// Deletes the topic with its messages and the offsets of groups in it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves some of the brokers changed.
    pub async fn delete(&self) {
        for broker in &self.brokers {
            broker.delete_topic(&self.name);
        }
        self.registered().await;
        // Only now, so that a registration from before does not bring it back.
        for name_server in &self.name_servers {
            name_server.delete_topic(&self.name);
        }
    }

    async fn registered(&self) {
        for broker in &self.brokers {
            broker.registered().await;
        }
    }
}
