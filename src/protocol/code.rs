//! Request and response codes: named where known, kept where not.
//!
//! Knows the numbers and names that Apache RocketMQ gives them. Does not know what a code means for a caller; that is
//! decided where requests are made.

use std::fmt;

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $constant:ident = $value:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub i32);

        impl $name {
            $($(#[$doc])* pub const $constant: Self = Self($value);)*

            /// The code's name in Apache RocketMQ, if it has one here.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($constant)),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{name} ({})", self.0),
                    None => write!(f, "code {}", self.0),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl From<i32> for $name {
            fn from(code: i32) -> Self {
                Self(code)
            }
        }
    };
}

codes! {
    /// What a request asks for.
    RequestCode {
        /// Send a message, long field names (older clients).
        SEND_MESSAGE = 10,
        /// Pull messages of one queue.
        PULL_MESSAGE = 11,
        /// Look messages up by key.
        QUERY_MESSAGE = 12,
        /// Ask for a group's committed offset of one queue.
        QUERY_CONSUMER_OFFSET = 14,
        /// Commit a group's offset of one queue.
        UPDATE_CONSUMER_OFFSET = 15,
        /// Create or change a topic on one broker.
        UPDATE_AND_CREATE_TOPIC = 17,
        /// Ask for all topics of one broker.
        GET_ALL_TOPIC_CONFIG = 21,
        /// Ask how a broker is doing.
        GET_BROKER_RUNTIME_INFO = 28,
        /// Find the offset of a queue at a time.
        SEARCH_OFFSET_BY_TIMESTAMP = 29,
        /// Ask for the offset behind a queue's last message.
        GET_MAX_OFFSET = 30,
        /// Ask for the offset of a queue's first message.
        GET_MIN_OFFSET = 31,
        /// Ask for the store time of a queue's first message.
        GET_EARLIEST_MSG_STORETIME = 32,
        /// Look one message up by its place in the commit log.
        VIEW_MESSAGE_BY_ID = 33,
        /// Tell a broker which groups live on this connection.
        HEART_BEAT = 34,
        /// Tell a broker that a group's member leaves.
        UNREGISTER_CLIENT = 35,
        /// Give a message back for a later retry.
        CONSUMER_SEND_MSG_BACK = 36,
        /// Commit or roll back a transaction.
        END_TRANSACTION = 37,
        /// Ask for the client ids of a group's members.
        GET_CONSUMER_LIST_BY_GROUP = 38,
        /// A broker asks a producer for the state of a transaction.
        CHECK_TRANSACTION_STATE = 39,
        /// A broker tells a member that its group has changed.
        NOTIFY_CONSUMER_IDS_CHANGED = 40,
        /// Lock queues for orderly consumption.
        LOCK_BATCH_MQ = 41,
        /// Unlock such queues.
        UNLOCK_BATCH_MQ = 42,
        /// Ask a broker whether it takes a subscription's expression.
        CHECK_CLIENT_CONFIG = 46,
        /// Set a name server's key-value entry.
        PUT_KV_CONFIG = 100,
        /// Read such an entry.
        GET_KV_CONFIG = 101,
        /// Delete such an entry.
        DELETE_KV_CONFIG = 102,
        /// A broker registers itself and its topics with a name server.
        REGISTER_BROKER = 103,
        /// A broker leaves a name server.
        UNREGISTER_BROKER = 104,
        /// Ask a name server for a topic's route.
        GET_ROUTEINFO_BY_TOPIC = 105,
        /// Ask a name server for all brokers.
        GET_BROKER_CLUSTER_INFO = 106,
        /// Create or change a consumer group on one broker.
        UPDATE_AND_CREATE_SUBSCRIPTIONGROUP = 200,
        /// Ask for all consumer groups of one broker.
        GET_ALL_SUBSCRIPTIONGROUP_CONFIG = 201,
        /// Ask for the offsets of a topic's queues.
        GET_TOPIC_STATS_INFO = 202,
        /// Ask who consumes for a group.
        GET_CONSUMER_CONNECTION_LIST = 203,
        /// Ask who produces for a group.
        GET_PRODUCER_CONNECTION_LIST = 204,
        /// Ask a name server for all topics.
        GET_ALL_TOPIC_LIST_FROM_NAMESERVER = 206,
        /// Delete a consumer group on one broker.
        DELETE_SUBSCRIPTIONGROUP = 207,
        /// Ask for a group's progress.
        GET_CONSUME_STATS = 208,
        /// Delete a topic on one broker.
        DELETE_TOPIC_IN_BROKER = 215,
        /// Delete a topic on one name server.
        DELETE_TOPIC_IN_NAMESRV = 216,
        /// A broker tells a member to move its offsets.
        RESET_CONSUMER_CLIENT_OFFSET = 220,
        /// A broker asks a member for its offsets.
        GET_CONSUMER_STATUS_FROM_CLIENT = 221,
        /// Ask a broker to move a group's offsets.
        INVOKE_BROKER_TO_RESET_OFFSET = 222,
        /// Ask a broker for the offsets that a group's members hold.
        INVOKE_BROKER_TO_GET_CONSUMER_STATUS = 223,
        /// Ask which groups consume a topic.
        QUERY_TOPIC_CONSUME_BY_WHO = 300,
        /// Ask a member what it is doing.
        GET_CONSUMER_RUNNING_INFO = 307,
        /// Ask a member to consume one message now.
        CONSUME_MESSAGE_DIRECTLY = 309,
        /// Send a message, short field names.
        SEND_MESSAGE_V2 = 310,
        /// Send several messages in one body.
        SEND_BATCH_MESSAGE = 320,
        /// Send a reply, long field names.
        SEND_REPLY_MESSAGE = 324,
        /// Send a reply, short field names.
        SEND_REPLY_MESSAGE_V2 = 325,
        /// A broker hands a reply to the client that asked.
        PUSH_REPLY_MESSAGE_TO_CLIENT = 326,
        /// Ask for one topic of one broker.
        GET_TOPIC_CONFIG = 351,
        /// Ask for one consumer group of one broker.
        GET_SUBSCRIPTIONGROUP_CONFIG = 352,
        /// Pull for a lite-pull consumer.
        LITE_PULL_MESSAGE = 361,
        /// Take a timer message back before it is due.
        RECALL_MESSAGE = 370,
        /// Ask a broker for the queues that this member should consume.
        QUERY_ASSIGNMENT = 400,
        /// Tell a broker how a group's members get their messages.
        SET_MESSAGE_REQUEST_MODE = 401,
    }
}

codes! {
    /// How a request ended.
    ResponseCode {
        /// It was done.
        SUCCESS = 0,
        /// The broker failed.
        SYSTEM_ERROR = 1,
        /// The broker is overloaded.
        SYSTEM_BUSY = 2,
        /// The peer does not know this request.
        REQUEST_CODE_NOT_SUPPORTED = 3,
        /// The transaction failed.
        TRANSACTION_FAILED = 4,
        /// Stored, but the flush to disk did not end in time.
        FLUSH_DISK_TIMEOUT = 10,
        /// Stored, but no slave is there to copy it.
        SLAVE_NOT_AVAILABLE = 11,
        /// Stored, but the copy to a slave did not end in time.
        FLUSH_SLAVE_TIMEOUT = 12,
        /// The message breaks a rule of the broker.
        MESSAGE_ILLEGAL = 13,
        /// The broker does not serve now.
        SERVICE_NOT_AVAILABLE = 14,
        /// The broker does not serve this version.
        VERSION_NOT_SUPPORTED = 15,
        /// Not allowed.
        NO_PERMISSION = 16,
        /// No such topic.
        TOPIC_NOT_EXIST = 17,
        /// The topic is there already.
        TOPIC_EXIST_ALREADY = 18,
        /// A pull found no new message.
        PULL_NOT_FOUND = 19,
        /// A pull found messages, but none that match.
        PULL_RETRY_IMMEDIATELY = 20,
        /// A pull's offset is outside the queue; the answer carries a legal one.
        PULL_OFFSET_MOVED = 21,
        /// What was asked for is not there.
        QUERY_NOT_FOUND = 22,
        /// The subscription's expression does not parse.
        SUBSCRIPTION_PARSE_FAILED = 23,
        /// The broker does not know this member's subscription yet.
        SUBSCRIPTION_NOT_EXIST = 24,
        /// The broker knows a newer subscription of this group.
        SUBSCRIPTION_NOT_LATEST = 25,
        /// No such consumer group.
        SUBSCRIPTION_GROUP_NOT_EXIST = 26,
        /// The broker has no filter for this subscription.
        FILTER_DATA_NOT_EXIST = 27,
        /// The broker's filter for this subscription is older.
        FILTER_DATA_NOT_LATEST = 28,
        /// A field is out of range, e.g. a queue that is not there.
        INVALID_PARAMETER = 29,
        /// The transaction should be committed.
        TRANSACTION_SHOULD_COMMIT = 200,
        /// The transaction should be rolled back.
        TRANSACTION_SHOULD_ROLLBACK = 201,
        /// The transaction's state is not known.
        TRANSACTION_STATE_UNKNOW = 202,
        /// The transaction's group is wrong.
        TRANSACTION_STATE_GROUP_WRONG = 203,
        /// The message names no buyer.
        NO_BUYER_ID = 204,
        /// The message belongs to another unit.
        NOT_IN_CURRENT_UNIT = 205,
        /// No member of the group is online.
        CONSUMER_NOT_ONLINE = 206,
        /// The message was not consumed in time.
        CONSUME_MSG_TIMEOUT = 207,
        /// No message.
        NO_MESSAGE = 208,
        /// The broker holds as many long polls as it may.
        POLLING_FULL = 209,
        /// A long poll ended with nothing.
        POLLING_TIMEOUT = 210,
        /// No such broker.
        BROKER_NOT_EXIST = 211,
        /// The broker has not built its queues yet.
        BROKER_DISPATCH_NOT_COMPLETE = 212,
        /// The group consumes by broadcasting.
        BROADCAST_CONSUMPTION = 213,
        /// The broker limits the rate.
        FLOW_CONTROL = 215,
        /// This broker does not lead the queue.
        NOT_LEADER_FOR_QUEUE = 501,
        /// The operation is not allowed.
        ILLEGAL_OPERATION = 604,
        /// The peer asks for a new connection.
        GO_AWAY = 1500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_known_codes_and_keeps_unknown_ones() {
        assert_eq!(
            ResponseCode::TOPIC_NOT_EXIST.to_string(),
            "TOPIC_NOT_EXIST (17)"
        );
        assert_eq!(ResponseCode(-1000).to_string(), "code -1000");
        assert_eq!(RequestCode(310), RequestCode::SEND_MESSAGE_V2);
    }
}
