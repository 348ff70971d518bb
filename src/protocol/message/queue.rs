//! Queues, and offsets by queue as Java writes them.
//!
//! Knows: the JSON form, with objects as keys. Does not know: where the offsets come from or are kept.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use crate::protocol::{DecodeError, java_json};

/// One queue of a topic on one broker.
///
/// Ordered as in Java: by topic, broker name and queue id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageQueue {
    /// The topic.
    pub topic: Arc<str>,
    /// The broker's name, which a master shares with its slaves.
    pub broker_name: Arc<str>,
    /// The queue's number on that broker, from 0 on.
    pub queue_id: i32,
}

impl MessageQueue {
    /// The queue with this topic, broker name and number.
    pub fn new(
        topic: impl Into<Arc<str>>,
        broker_name: impl Into<Arc<str>>,
        queue_id: i32,
    ) -> Self {
        Self {
            topic: topic.into(),
            broker_name: broker_name.into(),
            queue_id,
        }
    }

    /// Which one of its topic's it is, for the text of an error.
    pub(crate) fn within_topic(&self) -> String {
        format!("queue {} of {}", self.queue_id, self.broker_name)
    }
}

/// `topic@broker:number`.
impl fmt::Display for MessageQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.topic, self.broker_name, self.queue_id)
    }
}

/// Writes the fields in Java's order, which is alphabetical and not the one that queues compare by.
impl Serialize for MessageQueue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut queue = serializer.serialize_struct("MessageQueue", 3)?;
        queue.serialize_field("brokerName", &self.broker_name)?;
        queue.serialize_field("queueId", &self.queue_id)?;
        queue.serialize_field("topic", &self.topic)?;
        queue.end()
    }
}

/// Offsets by queue: the body of an offset reset (220), and Java's file of broadcast offsets (`offsets.json`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OffsetTable {
    /// The next offset to consume, by queue.
    #[serde(default, with = "java_json::object_keys")]
    pub offset_table: BTreeMap<MessageQueue, i64>,
}

impl OffsetTable {
    /// Reads the table, however Java formatted it.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Json`] or [`DecodeError::Invalid`] if it is no such table.
    pub fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        java_json::from_slice("offset table", json)
    }

    /// Writes the table as Java reads it, on one line.
    pub fn encode(&self) -> Vec<u8> {
        java_json::to_vec(self).expect("queues and numbers are always JSON")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queue(topic: &str, broker_name: &str, queue_id: i32) -> MessageQueue {
        MessageQueue::new(topic, broker_name, queue_id)
    }

    #[test]
    fn reads_the_file_that_java_writes() {
        let file = "{\n\t\"offsetTable\":{{\n\t\t\t\"brokerName\":\"broker-a\",\n\t\t\t\"queueId\":3,\n\
                    \t\t\t\"topic\":\"TopicTest\"\n\t\t}:17,{\n\t\t\t\"brokerName\":\"broker-a\",\n\
                    \t\t\t\"queueId\":0,\n\t\t\t\"topic\":\"TopicTest\"\n\t\t}:10\n\t}\n}";
        let table = OffsetTable::decode(file.as_bytes()).unwrap();
        let expected = [
            (queue("TopicTest", "broker-a", 3), 17),
            (queue("TopicTest", "broker-a", 0), 10),
        ];
        assert_eq!(table.offset_table, BTreeMap::from(expected));
    }

    #[test]
    fn writes_what_java_reads() {
        let offset_table = BTreeMap::from([(queue("t", "b\"", 1), 5), (queue("t", "a", 2), -1)]);
        let json = String::from_utf8(OffsetTable { offset_table }.encode()).unwrap();
        assert_eq!(
            json,
            r#"{"offsetTable":{{"brokerName":"a","queueId":2,"topic":"t"}:-1,{"brokerName":"b\"","queueId":1,"topic":"t"}:5}}"#
        );
    }

    #[test]
    fn reads_an_empty_a_missing_and_a_null_table() {
        for json in [r#"{"offsetTable":{}}"#, "{}", r#"{"offsetTable":null}"#] {
            assert_eq!(
                OffsetTable::decode(json.as_bytes()),
                Ok(OffsetTable::default()),
                "{json}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_table() {
        for json in [
            "",
            "7",
            r#"{"offsetTable":{"a":1}}"#,
            r#"{"offsetTable":{{"queueId":"x"}:1}}"#,
        ] {
            OffsetTable::decode(json.as_bytes()).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn round_trips(offset_table in proptest::collection::btree_map((".{0,6}", ".{0,6}", any::<i32>()), any::<i64>(), 0..5)) {
            let offset_table = offset_table.into_iter().map(|((t, b, q), offset)| (queue(&t, &b, q), offset)).collect();
            let table = OffsetTable { offset_table };
            prop_assert_eq!(OffsetTable::decode(&table.encode()), Ok(table));
        }
    }
}
