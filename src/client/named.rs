//! The names in requests: what a namespace is put before. What is sent, and what stands above this room, is called as the application
//! calls it.
//!
//! Every request that [`Rpc`](super::Rpc) makes has to say here which of its fields are names, so that none goes out without.

use std::borrow::Cow;

use crate::config::Namespace;
use crate::protocol::request::connections::GetConsumerConnections;
use crate::protocol::request::consumer_list::GetConsumerList;
use crate::protocol::request::consumer_offset::{QueryConsumerOffset, UpdateConsumerOffset};
use crate::protocol::request::end_transaction::EndTransaction;
use crate::protocol::request::heartbeat::{Heartbeat, HeartbeatBody};
use crate::protocol::request::pull_message::PullMessage;
use crate::protocol::request::query_assignment::{QueryAssignment, QueryAssignmentBody};
use crate::protocol::request::queue_offset::{GetMaxOffset, SearchOffset};
use crate::protocol::request::recall_message::RecallMessage;
use crate::protocol::request::send_back::SendBack;
use crate::protocol::request::send_message::SendMessage;
use crate::protocol::request::unregister_client::UnregisterClient;

/// A request's header, of which it is known what in it is a name.
pub(super) trait Named: Clone {
    /// Puts the namespace before every topic and group.
    fn wrap(&mut self, namespace: &Namespace);
}

macro_rules! named {
    ($($header:ident { $($name:ident),* })*) => {$(
        impl Named for $header<'_> {
            fn wrap(&mut self, namespace: &Namespace) {
                $(self.$name.wrap(namespace);)*
            }
        }
    )*};
}

named! {
    EndTransaction { topic, producer_group }
    GetConsumerConnections { consumer_group }
    GetConsumerList { consumer_group }
    GetMaxOffset { topic }
    PullMessage { topic, consumer_group }
    QueryConsumerOffset { topic, consumer_group }
    RecallMessage { topic, producer_group }
    SearchOffset { topic }
    SendBack { group, origin_topic }
    SendMessage { topic, producer_group, default_topic }
    UnregisterClient { producer_group, consumer_group }
    UpdateConsumerOffset { topic, consumer_group }
}

/// Its names are in the body.
impl Named for Heartbeat {
    fn wrap(&mut self, _: &Namespace) {}
}

/// Its names are in the body.
impl Named for QueryAssignment {
    fn wrap(&mut self, _: &Namespace) {}
}

/// A field that holds a name.
trait Name {
    fn wrap(&mut self, namespace: &Namespace);
}

impl Name for Cow<'_, str> {
    fn wrap(&mut self, namespace: &Namespace) {
        if let Cow::Owned(wrapped) = namespace.wrap(self) {
            *self = Cow::Owned(wrapped);
        }
    }
}

impl<N: Name> Name for Option<N> {
    fn wrap(&mut self, namespace: &Namespace) {
        if let Some(name) = self {
            name.wrap(namespace);
        }
    }
}

impl Name for String {
    fn wrap(&mut self, namespace: &Namespace) {
        if let Cow::Owned(wrapped) = namespace.wrap(self) {
            *self = wrapped;
        }
    }
}

/// Puts the namespace before the names in a question for a member's queues.
pub(super) fn wrap_question(body: &mut QueryAssignmentBody, namespace: &Namespace) {
    body.topic.wrap(namespace);
    body.consumer_group.wrap(namespace);
}

/// Puts the namespace before every topic and group of a heartbeat.
pub(super) fn wrap_heartbeat(body: &mut HeartbeatBody, namespace: &Namespace) {
    for producer in &mut body.producer_data_set {
        producer.group_name.wrap(namespace);
    }
    for consumer in &mut body.consumer_data_set {
        consumer.group_name.wrap(namespace);
        for subscription in &mut consumer.subscription_data_set {
            subscription.topic.wrap(namespace);
        }
    }
}
