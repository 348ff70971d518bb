//! Bodies: stored messages, batches, and the JSON of Java.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{Bytes, BytesMut};
use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::java_json::{from_slice, to_standard, to_vec};
use rocketmq_sdk::protocol::message::ids::MAX_LEN;
use rocketmq_sdk::protocol::message::{
    BatchEntry, BatchMessages, OffsetMessageId, OffsetTable, Properties, StoredMessage,
    StoredMessages, SysFlag, TagFilter, UniqueIdGenerator, properties, property_names,
};
use rocketmq_sdk::protocol::request::{
    connections::{ConsumerConnectionsBody, ProducerConnectionsBody},
    consume_directly::ConsumedDirectlyBody,
    consume_stats::ConsumeStatsBody,
    consumer_list::ConsumerListBody,
    consumer_running_info::ConsumerRunningInfoBody,
    heartbeat::HeartbeatBody,
    register_broker::RegisterBrokerBody,
    route::{ClusterInfoBody, RouteBody},
    runtime_info::RuntimeInfoBody,
    send_message::{SendMessage, SendMessageResponse},
    subscription_group::GroupConfig,
    topic_list::TopicListBody,
    topic_stats::TopicStatsBody,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::golden_folder;
use crate::recorded::{Golden, TOURS, frames_of, of_kind};

const LARGE: usize = 4400;

fn stored(body: &Bytes) -> Vec<StoredMessage> {
    StoredMessages::new(body.clone())
        .collect::<Result<_, _>>()
        .unwrap()
}

/// The message with this body, once it is inflated.
fn with_body<'m>(messages: &'m [StoredMessage], body: &[u8]) -> &'m StoredMessage {
    messages
        .iter()
        .find(|message| message.body == body)
        .unwrap()
}

#[test]
fn stored_messages_are_read_and_encoded_to_the_same_bytes() {
    for golden in of_kind(RequestCode::PULL_MESSAGE, "found", true) {
        let body = &golden.command.body;
        let mut out = BytesMut::new();
        let mut messages = stored(body);
        for message in &mut messages {
            assert!(message.verify_crc());
            message.encode(&mut out).unwrap();
        }
        assert_eq!(out, body, "{}", golden.name());

        let is_compressed =
            |message: &&mut StoredMessage| message.sys_flag.contains(SysFlag::COMPRESSED);
        let compressed: Vec<_> = messages.iter_mut().filter(is_compressed).collect();
        assert_eq!(compressed.len(), 1, "{}", golden.name());
        for message in compressed {
            assert!(message.body.len() < 100);
            message.inflate(LARGE).unwrap();
            assert_eq!(message.body, "compressed ".repeat(LARGE / 11));
        }
    }
}

#[test]
fn a_stored_message_says_what_java_sent() {
    for golden in of_kind(RequestCode::PULL_MESSAGE, "found", true) {
        let messages = stored(&golden.command.body);
        let tagged = with_body(&messages, b"tagged");
        assert_eq!(tagged.flag, -7);
        assert_eq!(tagged.queue_id, 1);
        assert_eq!(tagged.property(property_names::TAGS), Some("标签"));
        assert_eq!(tagged.property(property_names::KEYS), Some("键1 k2"));
        assert_eq!(tagged.property("名"), Some("值 🚀"));
        assert!(tagged.topic.starts_with("golden_"));
        assert_eq!(tagged.store_host.ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
    }
}

/// The id that the broker gave in its answer is that of the message where it is stored.
#[test]
fn an_offset_id_is_made_of_where_the_message_is() {
    for tour in TOURS {
        let frames = frames_of(tour);
        let find = |code: RequestCode, kind: &str| {
            let mut found = frames
                .iter()
                .filter(|golden| golden.code == code && golden.kind == kind);
            found.rfind(|golden| golden.is_response).unwrap()
        };
        let answer = &find(RequestCode::SEND_MESSAGE_V2, "tagged").command;
        let sent: SendMessageResponse<'_> = answer.header().unwrap();
        let messages = stored(&find(RequestCode::PULL_MESSAGE, "found").command.body);
        let tagged = with_body(&messages, b"tagged");
        let id = OffsetMessageId {
            host: tagged.store_host,
            physical_offset: tagged.physical_offset,
        };
        assert_eq!(id.to_string(), sent.msg_id);
        assert_eq!(OffsetMessageId::decode(&sent.msg_id), Ok(id));
        assert_eq!(
            (tagged.queue_offset, tagged.queue_id),
            (sent.queue_offset, sent.queue_id)
        );
    }
}

#[test]
fn a_batch_is_read_and_encoded_to_the_same_bytes() {
    for golden in of_kind(RequestCode::SEND_BATCH_MESSAGE, "done", false) {
        let body = &golden.command.body;
        let messages: Vec<_> = BatchMessages::new(body.clone())
            .collect::<Result<_, _>>()
            .unwrap();
        let bodies: Vec<_> = messages.iter().map(|message| &message.body[..]).collect();
        assert_eq!(bodies, [&b"first"[..], b"second"]);
        let mut out = BytesMut::new();
        for message in &messages {
            let entry = BatchEntry {
                flag: message.flag,
                body: &message.body,
                properties: &message.properties,
            };
            entry.encode(&mut out).unwrap();
        }
        assert_eq!(out, body, "{}", golden.name());
    }
}

#[test]
fn properties_are_encoded_to_the_same_text() {
    for kind in ["plain", "tagged", "later", "half"] {
        for golden in of_kind(RequestCode::SEND_MESSAGE_V2, kind, false) {
            let header: SendMessage<'_> = golden.command.header().unwrap();
            let raw = header.properties.unwrap();
            let mut again = Properties::new();
            for (name, value) in properties::iter(&raw) {
                again.push(name, value);
            }
            // 4.9 leaves the last separator out.
            let raw = raw
                .strip_suffix(properties::ENTRY_SEPARATOR)
                .unwrap_or(&raw);
            let again = again.as_str().strip_suffix(properties::ENTRY_SEPARATOR);
            assert_eq!(again, Some(raw), "{}", golden.name());
        }
    }
}

/// Address, process, a number, milliseconds of the month, a counter. These were made where the local time is UTC.
#[test]
fn a_unique_id_has_the_form_of_ours() {
    for golden in of_kind(RequestCode::SEND_MESSAGE_V2, "plain", false) {
        let header: SendMessage<'_> = golden.command.header().unwrap();
        let raw = header.properties.unwrap();
        let id = properties::find(&raw, property_names::UNIQUE_KEY).unwrap();
        let number = |from: usize, to: usize| u128::from_str_radix(&id[from..to], 16).unwrap();
        let (ip, after) = match id.len() {
            32 => (IpAddr::from(Ipv4Addr::from(number(0, 8) as u32)), 8),
            56 => (IpAddr::from(Ipv6Addr::from(number(0, 32))), 32),
            other => panic!("{id} has {other} digits"),
        };
        let process = number(after, after + 4) as u16;
        let ours = UniqueIdGenerator::new(ip, process, 0);
        let mut buffer = [0; MAX_LEN];
        let ours = ours.next(header.born_timestamp as u64, &mut buffer);
        assert_eq!(
            (ours.len(), &ours[..after + 4]),
            (id.len(), &id[..after + 4])
        );
        let millis = |id: &str| i64::from_str_radix(&id[after + 12..after + 20], 16).unwrap();
        assert!((millis(ours) - millis(id)).abs() < 10_000, "{ours} {id}");
    }
}

#[test]
fn tags_have_java_s_hash_codes() {
    for golden in of_kind(RequestCode::HEART_BEAT, "tags", false) {
        let heartbeat: HeartbeatBody = from_slice("heartbeat", &golden.command.body).unwrap();
        let subscriptions = heartbeat
            .consumer_data_set
            .iter()
            .flat_map(|group| &group.subscription_data_set);
        let mut found = 0;
        for subscription in subscriptions.filter(|subscription| !subscription.tags_set.is_empty()) {
            let filter = TagFilter::parse(&subscription.sub_string).unwrap();
            assert_eq!(
                *filter.tags(),
                subscription.tags_set.iter().cloned().collect()
            );
            assert_eq!(
                *filter.codes(),
                subscription.code_set.iter().copied().collect()
            );
            found += filter.tags().len();
        }
        assert_eq!(found, 3);
    }
}

#[test]
fn all_json_can_be_made_standard() {
    for golden in crate::recorded::frames() {
        let body = &golden.command.body;
        let is_json = body.starts_with(b"{\"") || body.starts_with(b"{\n");
        if is_json && golden.code != RequestCode::SEND_MESSAGE_V2 {
            let standard =
                to_standard(body).unwrap_or_else(|error| panic!("{}: {error}", golden.name()));
            let value = serde_json::from_slice::<Value>(&standard);
            value.unwrap_or_else(|error| panic!("{}: {error}", golden.name()));
        }
    }
}

/// What a body of ours holds and writes again stands in Java's too.
fn survives<T: Serialize + DeserializeOwned>(
    code: RequestCode,
    kind: &str,
    is_response: bool,
) -> Vec<T> {
    let read = |golden: &Golden| {
        let theirs = &golden.command.body;
        let body: T =
            from_slice("body", theirs).unwrap_or_else(|error| panic!("{}: {error}", golden.name()));
        let value =
            |json: &[u8]| serde_json::from_slice::<Value>(&to_standard(json).unwrap()).unwrap();
        assert_within(
            &value(&to_vec(&body).unwrap()),
            &value(theirs),
            &golden.name(),
        );
        body
    };
    of_kind(code, kind, is_response).iter().map(read).collect()
}

/// Asserts that every member of `ours` is the same in `theirs`. 4.9 lacks some members; a 5.x peer only those without a value.
fn assert_within(ours: &Value, theirs: &Value, place: &str) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in ours {
                match theirs.get(name) {
                    None => assert!(value.is_null() || place.contains("4.9.7"), "{place}.{name}"),
                    Some(other) => assert_within(value, other, &format!("{place}.{name}")),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{place}");
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert_within(ours, theirs, place);
            }
        }
        _ => assert_eq!(ours, theirs, "{place}"),
    }
}

#[test]
fn bodies_keep_what_java_wrote() {
    survives::<HeartbeatBody>(RequestCode::HEART_BEAT, "tags", false);
    survives::<HeartbeatBody>(RequestCode::HEART_BEAT, "producers", false);
    survives::<ConsumerListBody>(RequestCode::GET_CONSUMER_LIST_BY_GROUP, "done", true);
    survives::<ClusterInfoBody>(RequestCode::GET_BROKER_CLUSTER_INFO, "done", true);
    survives::<TopicListBody>(
        RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER,
        "done",
        true,
    );
    survives::<TopicStatsBody>(RequestCode::GET_TOPIC_STATS_INFO, "done", true);
    survives::<ConsumeStatsBody>(RequestCode::GET_CONSUME_STATS, "done", true);
    survives::<ConsumerConnectionsBody>(RequestCode::GET_CONSUMER_CONNECTION_LIST, "done", true);
    survives::<ConsumerRunningInfoBody>(RequestCode::GET_CONSUMER_RUNNING_INFO, "done", true);
    survives::<ConsumedDirectlyBody>(RequestCode::CONSUME_MESSAGE_DIRECTLY, "done", true);
    survives::<ProducerConnectionsBody>(RequestCode::GET_PRODUCER_CONNECTION_LIST, "done", true);
    survives::<RuntimeInfoBody>(RequestCode::GET_BROKER_RUNTIME_INFO, "done", true);
    survives::<RegisterBrokerBody>(RequestCode::REGISTER_BROKER, "done", false);
    survives::<OffsetTable>(RequestCode::RESET_CONSUMER_CLIENT_OFFSET, "done", false);
    survives::<OffsetTable>(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, "done", true);
    survives::<GroupConfig>(
        RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
        "done",
        false,
    );
}

#[test]
fn both_dialects_of_a_route_say_the_same() {
    let standard = survives::<RouteBody>(RequestCode::GET_ROUTEINFO_BY_TOPIC, "known", true);
    for route in &standard {
        let [queues] = &route.queue_datas[..] else {
            panic!("{route:?}")
        };
        assert_eq!(
            (&*queues.broker_name, queues.read_queue_nums, queues.perm),
            ("broker-a", 4, 6)
        );
        assert_eq!(
            route.broker_datas[0]
                .broker_addrs
                .keys()
                .collect::<Vec<_>>(),
            [&0]
        );
    }
    for golden in of_kind(RequestCode::GET_ROUTEINFO_BY_TOPIC, "old-client", true) {
        let body = &golden.command.body;
        assert!(
            serde_json::from_slice::<Value>(body).is_err(),
            "integer keys are not standard"
        );
        let route: RouteBody = from_slice("route", body).unwrap();
        assert!(standard.contains(&route));
    }
}

/// What a broadcasting consumer keeps.
#[test]
fn an_offset_file_is_read_and_written_so_that_java_can_read_it() {
    for tour in TOURS {
        let text = fs::read(golden_folder().join(format!("{tour}-offsets.json"))).unwrap();
        let table = OffsetTable::decode(&text).unwrap();
        assert!(!table.offset_table.is_empty());
        for (queue, offset) in &table.offset_table {
            assert!(queue.topic.starts_with("golden_") && &*queue.broker_name == "broker-a");
            assert!((0..4).contains(&queue.queue_id) && (1..8).contains(offset));
        }
        // Java's order of queues is that of a hash map, and its spaces are for people.
        let mut theirs: Vec<_> = text
            .iter()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let ours = table.encode();
        let mut ours: Vec<_> = ours
            .iter()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs);
    }
}
