//! Round trips of headers, with every field set.

use bytes::BytesMut;

use super::check_transaction_state::CheckTransactionState;
use super::connections::{GetConsumerConnections, GetProducerConnections};
use super::consume_directly::ConsumeDirectly;
use super::consume_stats::GetConsumeStats;
use super::consumer_running_info::GetConsumerRunningInfo;
use super::consumer_status::{GetConsumerStatus, InvokeConsumerStatus};
use super::create_topic::CreateTopic;
use super::delete_topic::{DeleteTopicInBroker, DeleteTopicInNameServer};
use super::end_transaction::EndTransaction;
use super::kv_config::{DeleteKvConfig, GetKvConfig, PutKvConfig};
use super::push_reply::PushReply;
use super::recall_message::RecallMessage;
use super::reset_offset::{InvokeResetOffset, ResetOffset};
use super::send_batch::SendBatch;
use super::send_message::SendMessage;
use super::send_message_v1::SendMessageV1;
use super::send_reply::{SendReply, SendReplyV1};
use super::subscription_group::{DeleteGroup, GetGroup};
use super::topic_configs::GetTopicConfig;
use super::topic_consumers::GetTopicConsumers;
use super::topic_stats::GetTopicStats;
use super::view_message::ViewMessage;
use super::*;
use crate::protocol::command::{Head, Serialization};
use crate::protocol::frame;

/// Writes each header in both serialisations, and reads it back.
macro_rules! round_trips {
    ($($header:expr,)*) => {$(
        for serialization in [Serialization::Binary, Serialization::Json] {
            let header = $header;
            let command = written(&header, serialization);
            assert_eq!(command.header(), Ok(header));
        }
    )*};
}

fn written<'a, R: Request<'a>>(
    header: &R,
    serialization: Serialization,
) -> crate::protocol::command::Command {
    let mut stream = BytesMut::new();
    let head = Head::request(R::CODE, 1);
    frame::encode_head(&mut stream, serialization, &head, None, header, 0).unwrap();
    frame::decode(&mut stream).unwrap().unwrap()
}

fn long() -> SendMessageV1<'static> {
    SendMessageV1 {
        producer_group: "g".into(),
        topic: "t".into(),
        default_topic: "d".into(),
        default_topic_queue_nums: 1,
        queue_id: 2,
        sys_flag: 3,
        born_timestamp: 4,
        flag: 5,
        properties: Some("k\u{1}v\u{2}".into()),
        reconsume_times: Some(6),
        unit_mode: Some(true),
        max_reconsume_times: Some(7),
        batch: Some(false),
        broker_name: Some("b".into()),
    }
}

#[test]
fn headers_come_back_as_they_were() {
    let bname = || Some("b".into());
    round_trips! {
        PutKvConfig { namespace: "n".into(), key: "k".into(), value: "v".into() },
        GetKvConfig { namespace: "n".into(), key: "k".into() },
        DeleteKvConfig { namespace: "n".into(), key: "k".into() },
        DeleteTopicInBroker { topic: "t".into() },
        DeleteTopicInNameServer { topic: "t".into(), cluster_name: Some("c".into()) },
        GetTopicConfig { topic: "t".into(), broker_name: bname() },
        GetTopicConsumers { topic: "t".into(), broker_name: bname() },
        GetTopicStats { topic: "t".into(), broker_name: bname() },
        GetConsumeStats { consumer_group: "g".into(), topic: Some("t".into()), broker_name: bname() },
        GetConsumerConnections { consumer_group: "g".into(), broker_name: bname() },
        GetProducerConnections { producer_group: "g".into(), broker_name: bname() },
        InvokeResetOffset {
            topic: "t".into(),
            group: "g".into(),
            timestamp: -1,
            is_force: true,
            queue_id: Some(1),
            offset: Some(2),
            broker_name: bname(),
        },
        ResetOffset { topic: "t".into(), group: "g".into(), timestamp: 7, is_force: false, queue_id: Some(-1) },
        InvokeConsumerStatus {
            topic: "t".into(),
            group: "g".into(),
            client_id: Some("c".into()),
            broker_name: bname(),
        },
        GetConsumerStatus { topic: "t".into(), group: "g".into() },
        GetConsumerRunningInfo {
            consumer_group: "g".into(),
            client_id: "c".into(),
            jstack_enable: Some(false),
            broker_name: bname(),
        },
        ConsumeDirectly {
            consumer_group: "g".into(),
            client_id: "c".into(),
            msg_id: "m".into(),
            broker_name: Some("b".into()),
            topic: Some("t".into()),
            topic_sys_flag: Some(1),
            group_sys_flag: Some(2),
        },
        GetGroup { group: "g".into(), broker_name: bname() },
        DeleteGroup { group_name: "g".into(), clean_offset: Some(true), remove_offset: Some(false) },
        SendBatch(SendMessage { batch: Some(true), ..long().into() }),
        ViewMessage { offset: 9, topic: Some("t".into()), broker_name: bname() },
        EndTransaction {
            topic: Some("t".into()),
            producer_group: "g".into(),
            tran_state_table_offset: 1,
            commit_log_offset: 2,
            commit_or_rollback: 8,
            from_transaction_check: Some(true),
            msg_id: "m".into(),
            transaction_id: Some("x".into()),
            broker_name: bname(),
        },
        CheckTransactionState {
            topic: Some("t".into()),
            tran_state_table_offset: 1,
            commit_log_offset: 2,
            msg_id: Some("m".into()),
            transaction_id: Some("x".into()),
            offset_msg_id: Some("o".into()),
            broker_name: bname(),
        },
        RecallMessage {
            producer_group: Some("g".into()),
            topic: "t".into(),
            recall_handle: "h".into(),
            broker_name: bname(),
        },
        CreateTopic {
            topic: "t".into(),
            default_topic: "d".into(),
            read_queue_nums: 1,
            write_queue_nums: 2,
            perm: 6,
            topic_filter_type: "SINGLE_TAG".into(),
            topic_sys_flag: Some(3),
            order: true,
            attributes: Some("+a=b".into()),
            broker_name: bname(),
        },
        PushReply {
            producer_group: "g".into(),
            topic: "t".into(),
            default_topic: "d".into(),
            default_topic_queue_nums: 1,
            queue_id: 2,
            sys_flag: 3,
            born_timestamp: 4,
            flag: 5,
            properties: Some("k\u{1}v\u{2}".into()),
            reconsume_times: Some(6),
            unit_mode: Some(true),
            born_host: "10.0.0.1:1".into(),
            store_host: "10.0.0.2:10911".into(),
            store_timestamp: 7,
        },
        SendReply(SendMessage::from(long())),
        SendReplyV1(long()),
        long(),
        SendMessage::from(long()),
    }
}
