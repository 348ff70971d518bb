//! The name server: routes, topics, brokers that come and go, key-value entries.
#![allow(clippy::unwrap_used, reason = "what must hold in a test")]

mod support;

use bytes::Bytes;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::command::Serialization;
use rocketmq_sdk::protocol::request::delete_topic::DeleteTopicInNameServer;
use rocketmq_sdk::protocol::request::kv_config::{
    DeleteKvConfig, GetKvConfig, GetKvConfigResponse, ORDER_TOPIC_CONFIG, PutKvConfig,
};
use rocketmq_sdk::protocol::request::register_broker::{
    RegisterBroker, RegisterBrokerBody, RegisterBrokerResponse, TopicConfig, UnregisterBroker,
};
use rocketmq_sdk::protocol::request::route::{ClusterInfoBody, GetClusterInfo};
use rocketmq_sdk::protocol::request::topic_list::{GetTopicList, TopicListBody};
use rocketmq_testkit::Cluster;
use support::{Client, route};

async fn client(cluster: &Cluster) -> Client {
    Client::connect(cluster, cluster.name_server_addr()).await
}

fn broker<'a>(name: &'a str, broker_id: i64, addr: &'a str) -> RegisterBroker<'a> {
    RegisterBroker {
        broker_name: name.into(),
        broker_addr: addr.into(),
        cluster_name: "other".into(),
        ha_server_addr: "ha:1".into(),
        broker_id,
        ..RegisterBroker::default()
    }
}

fn topics(names: &[&str]) -> Bytes {
    let mut body = RegisterBrokerBody::default();
    for name in names {
        let config = TopicConfig {
            topic_name: (*name).to_owned(),
            ..TopicConfig::default()
        };
        body.topic_config_serialize_wrapper
            .topic_config_table
            .insert((*name).to_owned(), config);
    }
    serde_json::to_vec(&body).unwrap().into()
}

async fn topic_list(client: &mut Client) -> Vec<String> {
    let body = client.ok(&GetTopicList, b"").await.body;
    serde_json::from_slice::<TopicListBody>(&body)
        .unwrap()
        .topic_list
}

#[tokio::test]
async fn a_route_names_every_broker_of_the_topic() {
    for serialization in [Serialization::Binary, Serialization::Json] {
        let cluster = Cluster::builder()
            .brokers(2)
            .topic("t", 3)
            .start()
            .await
            .unwrap();
        let mut client = client(&cluster).await;
        client.serialization = serialization;
        let route = client.route("t").await;
        for (at, broker) in cluster.brokers().iter().enumerate() {
            assert_eq!(route.queue_datas[at].broker_name, broker.name());
            assert_eq!(route.queue_datas[at].read_queue_nums, 3);
            assert_eq!(route.broker_datas[at].broker_addrs[&0], broker.addr());
        }
        assert_eq!(route.order_topic_conf, None);
    }
}

#[tokio::test]
async fn an_unknown_topic_is_refused_in_the_words_of_java() {
    let cluster = Cluster::start().await.unwrap();
    let answer = client(&cluster).await.call(&route("t"), b"").await;
    assert_eq!(answer.response_code(), ResponseCode::TOPIC_NOT_EXIST);
    assert_eq!(
        answer.remark.as_deref(),
        Some(
            "No topic route info in name server for the topic: t\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
        )
    );
}

#[tokio::test]
async fn other_brokers_can_register_and_leave() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut watching = client(&cluster).await;
    let mut other = client(&cluster).await;
    let registration = broker("broker-x", 0, "x:1");
    other.ok(&registration, &topics(&["t", "u"])).await;
    assert_eq!(watching.route("t").await.broker_datas.len(), 2);
    assert_eq!(watching.route("u").await.broker_datas.len(), 1);

    // A slave is told where its master is.
    let slave = broker("broker-x", 1, "y:1");
    let answer = other.ok(&slave, &topics(&["t", "u"])).await;
    let master: RegisterBrokerResponse<'_> = answer.header().unwrap();
    assert_eq!(master.master_addr.as_deref(), Some("x:1"));
    let addrs = watching
        .route("u")
        .await
        .broker_datas
        .remove(0)
        .broker_addrs;
    assert_eq!(addrs.into_values().collect::<Vec<_>>(), ["x:1", "y:1"]);

    let body = watching.ok(&GetClusterInfo, b"").await.body;
    let info: ClusterInfoBody = serde_json::from_slice(&body).unwrap();
    assert_eq!(info.cluster_addr_table["other"], ["broker-x"]);
    assert_eq!(info.cluster_addr_table["DefaultCluster"], ["broker-a"]);

    for (broker_id, addr) in [(0, "x:1"), (1, "y:1")] {
        let leaving = UnregisterBroker {
            broker_name: "broker-x".into(),
            broker_addr: addr.into(),
            cluster_name: "other".into(),
            broker_id,
        };
        other.ok(&leaving, b"").await;
    }
    assert_eq!(
        watching.refused(&route("u"), b"").await,
        ResponseCode::TOPIC_NOT_EXIST
    );
    assert_eq!(watching.route("t").await.broker_datas.len(), 1);
}

#[tokio::test]
async fn a_broker_whose_connection_ends_is_gone() {
    let cluster = Cluster::start().await.unwrap();
    let mut watching = client(&cluster).await;
    let mut other = client(&cluster).await;
    let registration = broker("broker-x", 0, "x:1");
    other.ok(&registration, &topics(&["t", "u"])).await;
    watching.route("u").await;
    drop(other);
    while watching.call(&route("u"), b"").await.response_code() == ResponseCode::SUCCESS {}
}

#[tokio::test]
async fn a_single_topic_of_an_unknown_broker_is_refused() {
    let cluster = Cluster::start().await.unwrap();
    let mut other = client(&cluster).await;
    let registration = broker("broker-x", 0, "x:1");
    let code = other.refused(&registration, &topics(&["t"])).await;
    assert_eq!(code, ResponseCode::SYSTEM_ERROR);
    let compressed = RegisterBroker {
        compressed: Some(true),
        ..registration
    };
    let code = other.refused(&compressed, &topics(&["t", "u"])).await;
    assert_eq!(code, ResponseCode::SYSTEM_ERROR);
}

#[tokio::test]
async fn topics_are_listed_and_their_routes_can_be_deleted() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = client(&cluster).await;
    assert!(topic_list(&mut client).await.contains(&"t".to_owned()));
    let delete = |cluster_name: Option<&'static str>| DeleteTopicInNameServer {
        topic: "t".into(),
        cluster_name: cluster_name.map(Into::into),
    };
    client.ok(&delete(Some("other")), b"").await;
    client.route("t").await;
    client.ok(&delete(None), b"").await;
    assert!(!topic_list(&mut client).await.contains(&"t".to_owned()));
    assert_eq!(
        client.refused(&route("t"), b"").await,
        ResponseCode::TOPIC_NOT_EXIST
    );
}

#[tokio::test]
async fn entries_are_kept_and_give_a_topic_its_order() {
    let cluster = Cluster::builder().topic("t", 1).start().await.unwrap();
    let mut client = client(&cluster).await;
    let get = GetKvConfig {
        namespace: ORDER_TOPIC_CONFIG.into(),
        key: "t".into(),
    };
    assert_eq!(
        client.refused(&get, b"").await,
        ResponseCode::QUERY_NOT_FOUND
    );
    let put = PutKvConfig {
        namespace: ORDER_TOPIC_CONFIG.into(),
        key: "t".into(),
        value: "broker-a:1".into(),
    };
    client.ok(&put, b"").await;
    let answer = client.ok(&get, b"").await;
    let entry: GetKvConfigResponse<'_> = answer.header().unwrap();
    assert_eq!(entry.value.as_deref(), Some("broker-a:1"));
    let order = client.route("t").await.order_topic_conf;
    assert_eq!(order.as_deref(), Some("broker-a:1"));
    let delete = DeleteKvConfig {
        namespace: ORDER_TOPIC_CONFIG.into(),
        key: "t".into(),
    };
    client.ok(&delete, b"").await;
    assert_eq!(
        client.refused(&get, b"").await,
        ResponseCode::QUERY_NOT_FOUND
    );
}
