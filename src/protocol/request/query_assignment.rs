//! QUERY_ASSIGNMENT (400) and SET_MESSAGE_REQUEST_MODE (401): brokers that share the queues of a topic among the members of a group
//! themselves (5.x). Both headers are empty.

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::message::MessageQueue;
use crate::protocol::request::Request;

header! {
    /// Asks for the queues of one member. The body is a [`QueryAssignmentBody`].
    pub struct QueryAssignment;
}

impl<'a> Request<'a> for QueryAssignment {
    const CODE: RequestCode = RequestCode::QUERY_ASSIGNMENT;
}

/// Who asks, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryAssignmentBody {
    /// The topic.
    pub topic: String,
    /// The consumer group.
    pub consumer_group: String,
    /// The member's client id.
    pub client_id: String,
    /// The strategy's name: brokers know `AVG` and `AVG_BY_CIRCLE`.
    pub strategy_name: String,
    /// `CLUSTERING` or `BROADCASTING`.
    pub message_model: String,
}

/// The answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AssignmentBody {
    /// The member's queues; nothing when the broker cannot say: it does not know the topic, the group or the strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue_assignments: Option<Vec<Assignment>>,
}

/// A queue of the member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The queue. Its number is -1 where the member pops from all queues of the broker.
    pub message_queue: MessageQueue,
    /// How to get its messages: `PULL` or `POP`.
    pub mode: String,
}

/// The mode of an [`Assignment`] whose messages are pulled.
pub const PULL: &str = "PULL";

/// The mode of an [`Assignment`] whose messages are popped.
pub const POP: &str = "POP";

header! {
    /// Says how the members of a group get the messages of a topic. The body is a [`RequestModeBody`].
    pub struct SetRequestMode;
}

impl<'a> Request<'a> for SetRequestMode {
    const CODE: RequestCode = RequestCode::SET_MESSAGE_REQUEST_MODE;
}

/// How the members of a group get the messages of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestModeBody {
    /// The topic.
    pub topic: String,
    /// The consumer group.
    pub consumer_group: String,
    /// `PULL` or `POP`.
    pub mode: String,
    /// How many other members' queues a member pops from besides its own; 0 is all.
    #[serde(default)]
    pub pop_share_queue_num: i32,
}
