//! Frames and their headers.

use std::collections::BTreeMap;

use bytes::BytesMut;
use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::{Command, Language, Serialization};
use rocketmq_sdk::protocol::fields::{Fields, Header, NoFields};
use rocketmq_sdk::protocol::frame;
use rocketmq_sdk::protocol::request::{
    connections::{GetConsumerConnections, GetProducerConnections},
    consume_directly::ConsumeDirectly,
    consume_stats::GetConsumeStats,
    consumer_list::GetConsumerList,
    consumer_offset::{QueryConsumerOffset, QueryConsumerOffsetResponse, UpdateConsumerOffset},
    consumer_running_info::GetConsumerRunningInfo,
    create_topic::CreateTopic,
    delete_topic::{DeleteTopicInBroker, DeleteTopicInNameServer},
    heartbeat::HeartbeatResponse,
    kv_config::DeleteKvConfig,
    notify_consumer_ids::NotifyConsumerIdsChanged,
    pull_message::{PullMessage, PullMessageResponse},
    queue_offset::{QueueOffsetResponse, SearchOffset},
    register_broker::{RegisterBroker, RegisterBrokerResponse, UnregisterBroker},
    reset_offset::{InvokeResetOffset, ResetOffset},
    route::GetRoute,
    send_back::SendBack,
    send_message::{SendMessage, SendMessageResponse},
    subscription_group::DeleteGroup,
    topic_configs::GetTopicConfig,
    topic_stats::GetTopicStats,
    unregister_client::UnregisterClient,
};
use serde_json::Value;

use crate::recorded::{Golden, frames};

#[test]
fn frames_are_what_their_lines_say() {
    for golden in frames() {
        let (head, name) = (golden.command.head, golden.name());
        assert_eq!(
            golden.command.serialization(),
            golden.serialization,
            "{name}"
        );
        assert_eq!(head.is_response(), golden.is_response, "{name}");
        assert_eq!(head.language, Language::JAVA, "{name}");
        if !golden.is_response {
            assert_eq!(head.code, golden.code.0, "{name}");
        }
        if golden.kind != "old-client" && golden.from_client {
            let version = if golden.tour.starts_with('5') {
                493
            } else {
                407
            };
            assert_eq!(head.version, version, "{name}");
        }
    }
}

/// The command as our encoder writes it, with the fields in the order in which they came.
fn encode(golden: &Golden) -> BytesMut {
    let Command {
        head,
        remark,
        fields,
        body,
    } = &golden.command;
    let mut out = BytesMut::new();
    frame::encode_with(
        &mut out,
        golden.serialization,
        head,
        remark.as_deref(),
        body.len(),
        |out| {
            for field in fields {
                let (name, value) = field.unwrap();
                out.put(&name, &value);
            }
        },
    )
    .unwrap();
    out.extend_from_slice(body);
    out
}

#[test]
fn binary_frames_are_encoded_to_the_same_bytes() {
    let mut count = 0;
    for golden in frames() {
        if golden.serialization == Serialization::Binary {
            assert_eq!(encode(&golden), golden.bytes, "{}", golden.name());
            count += 1;
        }
    }
    assert!(count > 50);
}

/// A JSON frame's header and body. Java's order of the members, and whether it writes those that are empty, are not ours to keep.
fn parts(frame: &[u8]) -> (Value, Vec<u8>) {
    let length = u32::from_be_bytes(frame[4..8].try_into().unwrap()) as usize;
    let (header, body) = frame[8..].split_at(length);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    let members = header.as_object_mut().unwrap();
    members.retain(|name, value| {
        name != "extFields" || value.as_object().is_some_and(|fields| !fields.is_empty())
    });
    members.insert("serializeTypeCurrentRPC".to_owned(), "JSON".into());
    (header, body.to_vec())
}

#[test]
fn json_frames_are_encoded_to_the_same_values() {
    for golden in frames() {
        if golden.serialization == Serialization::Json {
            assert_eq!(
                parts(&encode(&golden)),
                parts(&golden.bytes),
                "{}",
                golden.name()
            );
        }
    }
}

/// The fields by name. An empty text of the binary form is Java's null.
fn by_name(fields: &Fields) -> BTreeMap<String, String> {
    fields
        .iter()
        .map(|field| field.unwrap())
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// The command's fields after a detour through a typed header.
fn through<'a, H: Header<'a>>(command: &'a Command, name: &str) -> BTreeMap<String, String> {
    let header = H::decode(&command.fields);
    let header = header.unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut out = BytesMut::new();
    frame::encode_head(
        &mut out,
        command.serialization(),
        &command.head,
        None,
        &header,
        0,
    )
    .unwrap();
    by_name(&frame::decode(&mut out).unwrap().unwrap().fields)
}

/// The fields as our typed header writes them; `None` where there is no such type, or the answer is a refusal.
fn typed(golden: &Golden) -> Option<BTreeMap<String, String>> {
    let (command, name) = (&golden.command, &golden.name());
    let code = golden.code;
    if golden.is_response {
        // A pull that found nothing says where to go on; other refusals have a remark only.
        let has_fields = match command.response_code() {
            ResponseCode::SUCCESS => true,
            ResponseCode::PULL_NOT_FOUND
            | ResponseCode::PULL_RETRY_IMMEDIATELY
            | ResponseCode::PULL_OFFSET_MOVED => code == RequestCode::PULL_MESSAGE,
            _ => false,
        };
        if !has_fields {
            return None;
        }
        return Some(match code {
            RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE => {
                through::<SendMessageResponse<'_>>(command, name)
            }
            RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
                through::<PullMessageResponse>(command, name)
            }
            RequestCode::QUERY_CONSUMER_OFFSET => {
                through::<QueryConsumerOffsetResponse>(command, name)
            }
            RequestCode::SEARCH_OFFSET_BY_TIMESTAMP
            | RequestCode::GET_MAX_OFFSET
            | RequestCode::GET_MIN_OFFSET => through::<QueueOffsetResponse>(command, name),
            RequestCode::HEART_BEAT => through::<HeartbeatResponse>(command, name),
            RequestCode::REGISTER_BROKER => through::<RegisterBrokerResponse<'_>>(command, name),
            _ => return None,
        });
    }
    Some(match code {
        RequestCode::SEND_MESSAGE_V2
        | RequestCode::SEND_BATCH_MESSAGE
        | RequestCode::SEND_REPLY_MESSAGE_V2 => through::<SendMessage<'_>>(command, name),
        RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
            through::<PullMessage<'_>>(command, name)
        }
        RequestCode::QUERY_CONSUMER_OFFSET => through::<QueryConsumerOffset<'_>>(command, name),
        RequestCode::UPDATE_CONSUMER_OFFSET => through::<UpdateConsumerOffset<'_>>(command, name),
        RequestCode::UPDATE_AND_CREATE_TOPIC => through::<CreateTopic<'_>>(command, name),
        RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => through::<SearchOffset<'_>>(command, name),
        RequestCode::HEART_BEAT => through::<NoFields>(command, name),
        RequestCode::UNREGISTER_CLIENT => through::<UnregisterClient<'_>>(command, name),
        RequestCode::CONSUMER_SEND_MSG_BACK => through::<SendBack<'_>>(command, name),
        RequestCode::GET_CONSUMER_LIST_BY_GROUP => through::<GetConsumerList<'_>>(command, name),
        RequestCode::NOTIFY_CONSUMER_IDS_CHANGED => {
            through::<NotifyConsumerIdsChanged<'_>>(command, name)
        }
        RequestCode::DELETE_KV_CONFIG => through::<DeleteKvConfig<'_>>(command, name),
        RequestCode::REGISTER_BROKER => through::<RegisterBroker<'_>>(command, name),
        RequestCode::UNREGISTER_BROKER => through::<UnregisterBroker<'_>>(command, name),
        RequestCode::GET_ROUTEINFO_BY_TOPIC => through::<GetRoute<'_>>(command, name),
        RequestCode::GET_TOPIC_STATS_INFO => through::<GetTopicStats<'_>>(command, name),
        RequestCode::GET_CONSUMER_CONNECTION_LIST => {
            through::<GetConsumerConnections<'_>>(command, name)
        }
        RequestCode::GET_PRODUCER_CONNECTION_LIST => {
            through::<GetProducerConnections<'_>>(command, name)
        }
        RequestCode::GET_CONSUME_STATS => through::<GetConsumeStats<'_>>(command, name),
        RequestCode::DELETE_SUBSCRIPTIONGROUP => through::<DeleteGroup<'_>>(command, name),
        RequestCode::DELETE_TOPIC_IN_BROKER => through::<DeleteTopicInBroker<'_>>(command, name),
        RequestCode::DELETE_TOPIC_IN_NAMESRV => {
            through::<DeleteTopicInNameServer<'_>>(command, name)
        }
        RequestCode::INVOKE_BROKER_TO_RESET_OFFSET => {
            through::<InvokeResetOffset<'_>>(command, name)
        }
        RequestCode::RESET_CONSUMER_CLIENT_OFFSET => through::<ResetOffset<'_>>(command, name),
        RequestCode::GET_CONSUMER_RUNNING_INFO => {
            through::<GetConsumerRunningInfo<'_>>(command, name)
        }
        RequestCode::CONSUME_MESSAGE_DIRECTLY => through::<ConsumeDirectly<'_>>(command, name),
        RequestCode::GET_TOPIC_CONFIG => through::<GetTopicConfig<'_>>(command, name),
        _ => return None,
    })
}

#[test]
fn typed_headers_keep_what_java_wrote() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for golden in frames() {
        let Some(kept) = typed(&golden) else { continue };
        let came = by_name(&golden.command.fields);
        checked += 1;
        for (field, value) in &came {
            let is_left_out = LEFT_OUT.iter().any(|(name, _)| name == field);
            if !is_left_out && kept.get(field) != Some(value) {
                let kept = kept.get(field);
                wrong.push(format!("{}: {field}={value:?} is {kept:?}", golden.name()));
            }
        }
        for field in kept.keys() {
            if !came.contains_key(field) {
                wrong.push(format!("{}: {field} was made up", golden.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 150);
}

/// Fields that our types leave out, and why.
const LEFT_OUT: [(&str, &str); 6] = [
    (
        "ReqT",
        "names the kind of client, which no broker needs to be told",
    ),
    ("topicSysFlag", "unit mode"),
    ("groupSysFlag", "unit mode"),
    ("enableActingMaster", "slaves that stand in for a master"),
    ("force", "a change of a static topic"),
    ("lo", "static topics"),
];
