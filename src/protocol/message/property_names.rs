//! The names of the properties that the protocol uses itself.
//!
//! Knows: the names, what they hold, and which of them applications may not set. Does not know: who sets them when.

/// Keys for look-up, separated by spaces.
pub const KEYS: &str = "KEYS";

/// The tag that subscriptions select by.
pub const TAGS: &str = "TAGS";

/// Whether the broker answers only after its flush and replication settings are met: `true` or `false`.
pub const WAIT_STORE_OK: &str = "WAIT";

/// Delay level, from 1 on; it stays on the message when it is delivered.
pub const DELAY_LEVEL: &str = "DELAY";

/// The topic that a message in a retry or dead-letter topic came from.
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";

/// The topic of a message that the broker parks elsewhere (delayed, half).
pub const REAL_TOPIC: &str = "REAL_TOPIC";

/// The queue id that belongs to [`REAL_TOPIC`].
pub const REAL_QUEUE_ID: &str = "REAL_QID";

/// `true` on the half message of a transaction.
pub const TRANSACTION_PREPARED: &str = "TRAN_MSG";

/// The producer group that the broker asks about a transaction.
pub const PRODUCER_GROUP: &str = "PGROUP";

/// The queue's smallest offset when the message was pulled; the client adds it.
pub const MIN_OFFSET: &str = "MIN_OFFSET";

/// The queue's end when the message was pulled; the client adds it.
pub const MAX_OFFSET: &str = "MAX_OFFSET";

/// The buyer's id, set by applications.
pub const BUYER_ID: &str = "BUYER_ID";

/// The offset id of the first delivery of a message that is retried.
pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";

/// Set by message transfer tools.
pub const TRANSFER_FLAG: &str = "TRANSFER_FLAG";

/// Set by message correction tools.
pub const CORRECTION_FLAG: &str = "CORRECTION_FLAG";

/// Set by the predecessor's gateway.
pub const MQ2_FLAG: &str = "MQ2_FLAG";

/// How often delivery has failed, on a message that a client sends back by itself.
pub const RECONSUME_TIMES: &str = "RECONSUME_TIME";

/// The broker's region, for message trace.
pub const REGION: &str = "MSG_REGION";

/// Whether the broker wants this message traced: `true` or `false`.
pub const TRACE_ON: &str = "TRACE_ON";

/// The message id that the client made.
pub const UNIQUE_KEY: &str = "UNIQ_KEY";

/// More of the unique id, set by proxies.
pub const EXTENDED_UNIQUE_INFO: &str = "EXTEND_UNIQ_INFO";

/// How many failed deliveries the group allows.
pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";

/// When the listener was given the message, in Unix milliseconds; the client adds it.
pub const CONSUME_START_TIME: &str = "CONSUME_START_TIME";

/// How many messages an inner batch holds.
pub const INNER_NUM: &str = "INNER_NUM";

/// The queue offset of the first message of an inner batch.
pub const INNER_BASE: &str = "INNER_BASE";

/// Set by replication to find duplicates.
pub const DUPLICATE_INFO: &str = "DUP_INFO";

/// How long a transaction is not checked after it began, in seconds.
pub const CHECK_IMMUNITY_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";

/// Where the half message of a transaction stands in its queue.
pub const TRANSACTION_PREPARED_QUEUE_OFFSET: &str = "TRAN_PREPARED_QUEUE_OFFSET";

/// The transaction's id.
pub const TRANSACTION_ID: &str = "__transactionId__";

/// How often the broker has asked about a transaction.
pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";

/// The namespace that the client wrapped the topic in.
pub const INSTANCE_ID: &str = "INSTANCE_ID";

/// Pairs a request with its reply.
pub const CORRELATION_ID: &str = "CORRELATION_ID";

/// The client id that a reply goes to.
pub const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";

/// How long a request waits for its reply, in milliseconds.
pub const TTL: &str = "TTL";

/// When a reply reached the broker, in Unix milliseconds.
pub const ARRIVE_TIME: &str = "ARRIVE_TIME";

/// When the broker pushed a reply, in Unix milliseconds.
pub const PUSH_REPLY_TIME: &str = "PUSH_REPLY_TIME";

/// The cluster that a request came through.
pub const CLUSTER: &str = "CLUSTER";

/// `reply` on a reply.
pub const MESSAGE_TYPE: &str = "MSG_TYPE";

/// The receipt of a popped message.
pub const POP_CHECKPOINT: &str = "POP_CK";

/// The queue offset of a pop's checkpoint.
pub const POP_CHECKPOINT_OFFSET: &str = "POP_CK_OFFSET";

/// When a message was popped first, in Unix milliseconds.
pub const FIRST_POP_TIME: &str = "1ST_POP_TIME";

/// The key whose messages keep their order.
pub const SHARDING_KEY: &str = "__SHARDINGKEY";

/// The queue id before a broker forwarded the message.
pub const FORWARD_QUEUE_ID: &str = "PROPERTY_FORWARD_QUEUE_ID";

/// Set on a message that a broker redirected.
pub const REDIRECT: &str = "REDIRECT";

/// The light queues that a message is also visible in.
pub const INNER_MULTI_DISPATCH: &str = "INNER_MULTI_DISPATCH";

/// The offsets that belong to [`INNER_MULTI_DISPATCH`].
pub const INNER_MULTI_QUEUE_OFFSET: &str = "INNER_MULTI_QUEUE_OFFSET";

/// The context of a distributed trace.
pub const TRACE_CONTEXT: &str = "TRACE_CONTEXT";

/// Delay from now, in seconds.
pub const TIMER_DELAY_SECONDS: &str = "TIMER_DELAY_SEC";

/// Delay from now, in milliseconds.
pub const TIMER_DELAY_MILLIS: &str = "TIMER_DELAY_MS";

/// When to deliver, in Unix milliseconds.
pub const TIMER_DELIVER_MILLIS: &str = "TIMER_DELIVER_MS";

/// When the timer took the message in, in Unix milliseconds.
pub const TIMER_ENQUEUE_MILLIS: &str = "TIMER_ENQUEUE_MS";

/// When the timer let the message go, in Unix milliseconds.
pub const TIMER_DEQUEUE_MILLIS: &str = "TIMER_DEQUEUE_MS";

/// How often the timer has parked the message again.
pub const TIMER_ROLL_TIMES: &str = "TIMER_ROLL_TIMES";

/// When the message is due, in Unix milliseconds.
pub const TIMER_OUT_MILLIS: &str = "TIMER_OUT_MS";

/// The [`UNIQUE_KEY`] of the timed message that this one recalls.
pub const TIMER_DELETE_UNIQUE_KEY: &str = "TIMER_DEL_UNIQKEY";

/// The delay level of a message that the timer keeps.
pub const TIMER_DELAY_LEVEL: &str = "TIMER_DELAY_LEVEL";

/// The sender's address, where it is not the connection's.
pub const BORN_HOST: &str = "__BORNHOST";

/// When the message was made, in Unix milliseconds, where it is not the request's.
pub const BORN_TIMESTAMP: &str = "BORN_TIMESTAMP";

/// The topic that a dead letter came from; few brokers set it.
pub const DEAD_LETTER_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";

/// The id that a dead letter had; few brokers set it.
pub const DEAD_LETTER_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";

/// The body's CRC-32 as ten decimal digits, the last one first; brokers that check it append it.
pub const CRC32: &str = "__CRC32#";

/// What stands before the name of a property that brokers do not store.
pub const TRANSIENT_PREFIX: &str = "__RMQ.TRANSIENT.";

/// Separates the keys in [`KEYS`].
pub const KEY_SEPARATOR: char = ' ';

/// Whether applications may not set `name`: the set that Java's client and brokers refuse.
///
/// Some names above are not in it, among them [`SHARDING_KEY`] and [`TRACE_CONTEXT`].
pub fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        KEYS | TAGS
            | WAIT_STORE_OK
            | DELAY_LEVEL
            | RETRY_TOPIC
            | REAL_TOPIC
            | REAL_QUEUE_ID
            | TRANSACTION_PREPARED
            | PRODUCER_GROUP
            | MIN_OFFSET
            | MAX_OFFSET
            | BUYER_ID
            | ORIGIN_MESSAGE_ID
            | TRANSFER_FLAG
            | CORRECTION_FLAG
            | MQ2_FLAG
            | RECONSUME_TIMES
            | REGION
            | TRACE_ON
            | UNIQUE_KEY
            | EXTENDED_UNIQUE_INFO
            | MAX_RECONSUME_TIMES
            | CONSUME_START_TIME
            | DUPLICATE_INFO
            | TRANSACTION_PREPARED_QUEUE_OFFSET
            | INSTANCE_ID
            | CORRELATION_ID
            | REPLY_TO_CLIENT
            | TTL
            | ARRIVE_TIME
            | PUSH_REPLY_TIME
            | CLUSTER
            | MESSAGE_TYPE
            | POP_CHECKPOINT
            | POP_CHECKPOINT_OFFSET
            | FIRST_POP_TIME
            | INNER_MULTI_QUEUE_OFFSET
            | TIMER_DELAY_SECONDS
            | TIMER_DELAY_MILLIS
            | TIMER_DELIVER_MILLIS
            | TIMER_ENQUEUE_MILLIS
            | TIMER_DEQUEUE_MILLIS
            | TIMER_ROLL_TIMES
            | TIMER_OUT_MILLIS
            | TIMER_DELETE_UNIQUE_KEY
            | TIMER_DELAY_LEVEL
            | BORN_HOST
            | BORN_TIMESTAMP
            | DEAD_LETTER_ORIGIN_TOPIC
            | DEAD_LETTER_ORIGIN_MESSAGE_ID
            | CRC32
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserves_what_java_reserves() {
        for name in [
            "KEYS",
            "TAGS",
            "WAIT",
            "DELAY",
            "UNIQ_KEY",
            "1ST_POP_TIME",
            "__BORNHOST",
            "__CRC32#",
            "DUP_INFO",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in [
            "__SHARDINGKEY",
            "TRACE_CONTEXT",
            "TRANSACTION_CHECK_TIMES",
            "__transactionId__",
            "keys",
            "KEYS ",
            "",
        ] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
