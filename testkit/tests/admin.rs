//! What admin tools ask: topics, groups, progress.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::java_json;
use rocketmq_sdk::protocol::message::MessageQueue;
use rocketmq_sdk::protocol::request::consume_stats::{ConsumeStatsBody, GetConsumeStats};
use rocketmq_sdk::protocol::request::consumer_offset::UpdateConsumerOffset;
use rocketmq_sdk::protocol::request::create_topic::CreateTopic;
use rocketmq_sdk::protocol::request::delete_topic::DeleteTopicInBroker;
use rocketmq_sdk::protocol::request::register_broker::{TopicConfig, TopicConfigs};
use rocketmq_sdk::protocol::request::runtime_info::{GetRuntimeInfo, RuntimeInfoBody};
use rocketmq_sdk::protocol::request::subscription_group::{
    DeleteGroup, GetGroup, GetGroups, GroupConfig, GroupsBody, PutGroup,
};
use rocketmq_sdk::protocol::request::topic_configs::{GetTopicConfig, GetTopicConfigs};
use rocketmq_sdk::protocol::request::topic_consumers::{GetTopicConsumers, TopicConsumersBody};
use rocketmq_sdk::protocol::request::topic_stats::{GetTopicStats, TopicStatsBody};
use rocketmq_testkit::Cluster;
use support::{Client, consumer, message, pull};

fn create(topic: &str, queues: i32) -> CreateTopic<'_> {
    CreateTopic {
        topic: topic.into(),
        default_topic: "TBW102".into(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: 6,
        topic_filter_type: "SINGLE_TAG".into(),
        ..CreateTopic::default()
    }
}

#[tokio::test]
async fn a_topic_is_created_and_changed_and_its_route_is_there_with_the_answer() {
    let cluster = Cluster::start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let mut names = Client::connect(&cluster, cluster.name_server_addr()).await;
    for queues in [3, 5, 5] {
        client.ok(&create("t", queues), b"").await;
        assert_eq!(
            names.route("t").await.queue_datas[0].read_queue_nums,
            queues
        );
    }
    let one = GetTopicConfig {
        topic: "t".into(),
        broker_name: None,
    };
    let body = client.ok(&one, b"").await.body;
    let config: TopicConfig = serde_json::from_slice(&body).unwrap();
    assert_eq!((config.write_queue_nums, config.perm), (5, 6));
    let body = client.ok(&GetTopicConfigs, b"").await.body;
    let all: TopicConfigs = serde_json::from_slice(&body).unwrap();
    assert_eq!(all.topic_config_table["t"], config);
    assert_eq!(all.data_version.counter, 2);
    for (topic, queues) in [("a b", 1), ("TBW102", 1), ("t", -1), ("t", 1 << 20)] {
        let code = client.refused(&create(topic, queues), b"").await;
        assert_eq!(code, ResponseCode::INVALID_PARAMETER, "{topic} {queues}");
    }
}

#[tokio::test]
async fn a_deleted_topic_is_gone_with_its_messages() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    client.produce(&message("t", 0, ""), b"m").await;
    let delete = |topic: &'static str| DeleteTopicInBroker {
        topic: topic.into(),
    };
    client.ok(&delete("t"), b"").await;
    let one = GetTopicConfig {
        topic: "t".into(),
        broker_name: None,
    };
    assert_eq!(
        client.refused(&one, b"").await,
        ResponseCode::TOPIC_NOT_EXIST
    );
    client.ok(&create("t", 1), b"").await;
    assert_eq!(client.pull(&pull("t", 0, 0, "*")).await.max, 0);
    let code = client.refused(&delete("SCHEDULE_TOPIC_XXXX"), b"").await;
    assert_eq!(code, ResponseCode::INVALID_PARAMETER);
}

#[tokio::test]
async fn where_topics_and_groups_stand() {
    let cluster = Cluster::builder().topic("t", 2).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    client
        .heartbeat("c", &[consumer("g", &[("t", "*", 1)])])
        .await;
    for _ in 0..3 {
        client.produce(&message("t", 1, ""), b"m").await;
    }
    let commit = UpdateConsumerOffset {
        consumer_group: "g".into(),
        topic: "t".into(),
        queue_id: 1,
        commit_offset: 2,
        broker_name: None,
    };
    client.ok(&commit, b"").await;

    let stats = GetTopicStats {
        topic: "t".into(),
        broker_name: None,
    };
    let body = client.ok(&stats, b"").await.body;
    let stats: TopicStatsBody = java_json::from_slice("stats", &body).unwrap();
    let at = stats.offset_table[&MessageQueue::new("t", "broker-a", 1)];
    assert_eq!((at.min_offset, at.max_offset), (0, 3));
    assert!(at.last_update_timestamp > 0);
    let at = stats.offset_table[&MessageQueue::new("t", "broker-a", 0)];
    assert_eq!((at.max_offset, at.last_update_timestamp), (0, 0));

    for topic in [None, Some("t")] {
        let progress = GetConsumeStats {
            consumer_group: "g".into(),
            topic: topic.map(Into::into),
            broker_name: None,
        };
        let body = client.ok(&progress, b"").await.body;
        let progress: ConsumeStatsBody = java_json::from_slice("progress", &body).unwrap();
        assert_eq!(progress.offset_table.len(), 2);
        let at = progress.offset_table[&MessageQueue::new("t", "broker-a", 1)];
        assert_eq!((at.broker_offset, at.consumer_offset), (3, 2));
        assert!(at.last_timestamp > 0);
    }

    let who = GetTopicConsumers {
        topic: "t".into(),
        broker_name: None,
    };
    let body = client.ok(&who, b"").await.body;
    let who: TopicConsumersBody = serde_json::from_slice(&body).unwrap();
    assert_eq!(who.group_list.into_iter().collect::<Vec<_>>(), ["g"]);
    let body = client.ok(&GetRuntimeInfo, b"").await.body;
    let info: RuntimeInfoBody = serde_json::from_slice(&body).unwrap();
    assert_eq!(info.table["brokerActive"], "true");
    assert_eq!(info.table["messagesHeld"], "3");
}

#[tokio::test]
async fn groups_are_configured_and_deleted() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = Client::broker(&cluster).await;
    let config = GroupConfig {
        group_name: "g".to_owned(),
        retry_max_times: 3,
        ..GroupConfig::default()
    };
    client
        .ok(&PutGroup, &serde_json::to_vec(&config).unwrap())
        .await;
    let get = GetGroup {
        group: "g".into(),
        broker_name: None,
    };
    let body = client.ok(&get, b"").await.body;
    assert_eq!(
        serde_json::from_slice::<GroupConfig>(&body).unwrap(),
        config
    );
    let body = client.ok(&GetGroups, b"").await.body;
    let all: GroupsBody = serde_json::from_slice(&body).unwrap();
    assert_eq!(all.subscription_group_table["g"], config);
    let delete = DeleteGroup {
        group_name: "g".into(),
        clean_offset: Some(true),
        remove_offset: None,
    };
    client.ok(&delete, b"").await;
    let body = client.ok(&GetGroups, b"").await.body;
    let all: GroupsBody = serde_json::from_slice(&body).unwrap();
    assert!(all.subscription_group_table.is_empty());
    let illegal = GroupConfig {
        group_name: "a b".to_owned(),
        ..config
    };
    let body = serde_json::to_vec(&illegal).unwrap();
    let code = client.refused(&PutGroup, &body).await;
    assert_eq!(code, ResponseCode::INVALID_PARAMETER);
}
