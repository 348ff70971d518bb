//! What requests and answers are about: which topic, queue and group, what is delivered. Pure.
//!
//! Knows: under which names the requests carry these. Does not know: what a node does with them.

use bytes::Bytes;
use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::fields::Fields;
use rocketmq_sdk::protocol::java_json;
use rocketmq_sdk::protocol::message::{properties, property_names};
use serde::Deserialize;

/// The codes of requests that store a message of a client.
pub(crate) const SENDS: [RequestCode; 5] = [
    RequestCode::SEND_MESSAGE,
    RequestCode::SEND_MESSAGE_V2,
    RequestCode::SEND_BATCH_MESSAGE,
    RequestCode::SEND_REPLY_MESSAGE,
    RequestCode::SEND_REPLY_MESSAGE_V2,
];

/// The codes of requests that read messages of one queue.
pub(crate) const PULLS: [RequestCode; 2] =
    [RequestCode::PULL_MESSAGE, RequestCode::LITE_PULL_MESSAGE];

/// What a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) topic: Option<String>,
    pub(crate) queue_id: Option<i32>,
    /// Consumer and producer groups; only heartbeats name several.
    pub(crate) groups: Vec<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) unique_key: Option<String>,
}

/// The messages in an answer to a pull, by their offsets in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The first message's offset.
    pub first: i64,
    /// The last message's offset.
    pub last: i64,
    /// How many messages: fewer than the offsets between them where tags select.
    pub count: usize,
}

/// The body of a heartbeat, as far as it has names.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HeartbeatNames {
    #[serde(rename = "clientID")]
    client_id: String,
    consumer_data_set: Vec<Group>,
    producer_data_set: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    group_name: String,
}

/// The body of a request to lock or unlock queues, as far as it names who asks.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LockBody {
    consumer_group: String,
    client_id: String,
    mq_set: Vec<LockedQueue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LockedQueue {
    topic: String,
    queue_id: i32,
}

/// Whether a request says in its body what it is about.
pub(crate) const fn stand_in_body(code: RequestCode) -> bool {
    matches!(
        code,
        RequestCode::HEART_BEAT | RequestCode::LOCK_BATCH_MQ | RequestCode::UNLOCK_BATCH_MQ
    )
}

impl Facts {
    /// How many bytes the names take.
    pub(crate) fn len(&self) -> usize {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let groups: usize = self
            .groups
            .iter()
            .map(|group| size_of::<String>() + group.len())
            .sum();
        of(&self.topic) + of(&self.client_id) + of(&self.unique_key) + groups
    }

    pub(crate) fn of(code: RequestCode, fields: &Fields, body: &[u8]) -> Self {
        let mut facts = Self::default();
        for (name, value) in fields.iter().map_while(Result::ok) {
            match long_name(code, &name) {
                "topic" | "originTopic" => facts.topic = Some(value.into_owned()),
                "queueId" => facts.queue_id = value.parse().ok(),
                "consumerGroup" | "producerGroup" | "group" => facts.add_group(&value),
                "clientID" | "clientId" => facts.client_id = Some(value.into_owned()),
                "properties" => {
                    let key = properties::find(&value, property_names::UNIQUE_KEY);
                    facts.unique_key = key.map(str::to_owned);
                }
                _ => {}
            }
        }
        match code {
            RequestCode::HEART_BEAT => facts.add_heartbeat(body),
            RequestCode::LOCK_BATCH_MQ | RequestCode::UNLOCK_BATCH_MQ => facts.add_lock(body),
            _ => {}
        }
        facts
    }

    fn add_group(&mut self, group: &str) {
        if !group.is_empty() {
            self.groups.push(group.to_owned());
        }
    }

    fn add_heartbeat(&mut self, body: &[u8]) {
        let Ok(body) = java_json::from_slice::<HeartbeatNames>("heartbeat", body) else {
            return;
        };
        self.client_id = Some(body.client_id);
        let consumers = body.consumer_data_set.into_iter().map(|it| it.group_name);
        let producers = body.producer_data_set.into_iter().map(|it| it.group_name);
        self.groups.extend(consumers.chain(producers));
    }

    fn add_lock(&mut self, body: &[u8]) {
        let Ok(body) = java_json::from_slice::<LockBody>("lock", body) else {
            return;
        };
        self.add_group(&body.consumer_group);
        self.client_id = Some(body.client_id);
        if let [only] = &body.mq_set[..] {
            self.queue_id = Some(only.queue_id);
        }
        self.topic = body.mq_set.into_iter().next().map(|queue| queue.topic);
    }
}

/// The name of a field, where the request has single letters for it.
fn long_name(code: RequestCode, name: &str) -> &str {
    let short = matches!(
        code,
        RequestCode::SEND_MESSAGE_V2
            | RequestCode::SEND_BATCH_MESSAGE
            | RequestCode::SEND_REPLY_MESSAGE_V2
    );
    match name {
        "a" if short => "producerGroup",
        "b" if short => "topic",
        "e" if short => "queueId",
        "i" if short => "properties",
        name => name,
    }
}

/// Whether requests with this code, and their answers, carry messages in their bodies.
pub(crate) fn carries_messages(code: RequestCode) -> bool {
    is_send(code)
        || is_pull(code)
        || matches!(
            code,
            RequestCode::VIEW_MESSAGE_BY_ID | RequestCode::QUERY_MESSAGE
        )
}

/// Whether requests with this code store a message of a client.
pub(crate) fn is_send(code: RequestCode) -> bool {
    SENDS.contains(&code)
}

/// Whether requests with this code read messages of one queue.
pub(crate) fn is_pull(code: RequestCode) -> bool {
    PULLS.contains(&code)
}

/// The messages of a body that came, or goes, in parts which end where messages end.
pub(crate) fn delivered(parts: &[Bytes]) -> Option<Delivered> {
    /// Where a stored message has its size and its offset in the queue.
    const SIZE: usize = 4;
    const QUEUE_OFFSET: usize = 20;
    let mut found: Option<Delivered> = None;
    for part in parts {
        let mut rest = &part[..];
        while let (Some(size), Some(offset)) = (
            rest.first_chunk::<SIZE>(),
            rest.get(QUEUE_OFFSET..).and_then(<[u8]>::first_chunk),
        ) {
            let last = i64::from_be_bytes(*offset);
            found = Some(found.map_or(
                Delivered {
                    first: last,
                    last,
                    count: 1,
                },
                |so_far| Delivered {
                    last,
                    count: so_far.count + 1,
                    ..so_far
                },
            ));
            let size = usize::try_from(i32::from_be_bytes(*size)).unwrap_or(0);
            rest = match rest.get(size..) {
                Some(next) if size > 0 => next,
                _ => break,
            };
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use rocketmq_sdk::protocol::command::{Command, Head, Serialization};
    use rocketmq_sdk::protocol::frame;
    use rocketmq_sdk::protocol::request::Request;
    use rocketmq_sdk::protocol::request::heartbeat::Heartbeat;
    use rocketmq_sdk::protocol::request::send_back::SendBack;
    use rocketmq_sdk::protocol::request::send_message::SendMessage;
    use rocketmq_sdk::protocol::request::send_message_v1::SendMessageV1;

    use super::*;

    fn facts<'a, R: Request<'a>>(header: &R, body: &[u8]) -> Facts {
        let mut out = BytesMut::new();
        let head = Head::request(R::CODE, 1);
        frame::encode_head(
            &mut out,
            Serialization::Binary,
            &head,
            None,
            header,
            body.len(),
        )
        .unwrap();
        out.extend_from_slice(body);
        let command: Command = frame::decode(&mut out).unwrap().unwrap();
        Facts::of(command.request_code(), &command.fields, &command.body)
    }

    #[test]
    fn both_forms_of_a_send_say_the_same() {
        let expected = Facts {
            topic: Some("t".to_owned()),
            queue_id: Some(3),
            groups: vec!["g".to_owned()],
            client_id: None,
            unique_key: Some("K".to_owned()),
        };
        let short = SendMessage {
            producer_group: "g".into(),
            topic: "t".into(),
            queue_id: 3,
            properties: Some("TAGS\x01a\x02UNIQ_KEY\x01K\x02".into()),
            ..SendMessage::default()
        };
        assert_eq!(facts(&short, b"m"), expected);
        let long = SendMessageV1 {
            producer_group: "g".into(),
            topic: "t".into(),
            queue_id: 3,
            properties: short.properties.clone(),
            ..SendMessageV1::default()
        };
        assert_eq!(facts(&long, b"m"), expected);
    }

    #[test]
    fn a_message_sent_back_is_of_the_topic_that_it_came_from() {
        let back = SendBack {
            group: "g".into(),
            origin_topic: Some("t".into()),
            ..SendBack::default()
        };
        let facts = facts(&back, b"");
        assert_eq!(facts.topic.as_deref(), Some("t"));
        assert_eq!(facts.groups, ["g"]);
    }

    #[test]
    fn bodies_name_groups_and_clients_too() {
        let body = br#"{"clientID":"c","consumerDataSet":[{"groupName":"g"}],"producerDataSet":[{"groupName":"p"}]}"#;
        let heartbeat = facts(&Heartbeat, body);
        assert_eq!(heartbeat.groups, ["g", "p"]);
        assert_eq!(heartbeat.client_id.as_deref(), Some("c"));
        let lock = br#"{"consumerGroup":"g","clientId":"c","mqSet":[{"topic":"t","queueId":2}]}"#;
        let lock = Facts::of(RequestCode::LOCK_BATCH_MQ, &Fields::none(), lock);
        assert_eq!((&*lock.groups[0], lock.queue_id), ("g", Some(2)));
        assert_eq!(
            Facts::of(RequestCode::HEART_BEAT, &Fields::none(), b"{"),
            Facts::default()
        );
    }

    #[test]
    fn what_a_body_delivers_is_read_message_by_message() {
        let message = |offset: i64| {
            let mut bytes = vec![0; 100];
            bytes[..4].copy_from_slice(&100_i32.to_be_bytes());
            bytes[20..28].copy_from_slice(&offset.to_be_bytes());
            bytes
        };
        let apart = [message(5).into(), message(7).into()];
        let expected = Delivered {
            first: 5,
            last: 7,
            count: 2,
        };
        assert_eq!(delivered(&apart), Some(expected));
        let together = [message(5), message(7)].concat().into();
        assert_eq!(delivered(&[together]), Some(expected));
        assert_eq!(delivered(&[]), None);
        assert_eq!(
            delivered(&[vec![0; 100].into()]).map(|it| it.count),
            Some(1)
        );
    }
}
