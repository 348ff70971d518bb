//! Clients in a namespace: they call topics and groups as if they were alone, and meet nobody of another one.

use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::{
    ClientConfig, ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, PushConsumer,
    PushConsumerBuilder, TransactionProducer, TransactionState,
};
use rocketmq_testkit::Cluster;

use crate::received::{Received, body, numbered};
use crate::stored::read_stored;
use crate::target::{PATIENCE, Target};

async fn start(consumer: PushConsumerBuilder, received: &Received) -> PushConsumer {
    let consumer = consumer.consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        let fails = messages
            .iter()
            .any(|one| body(one) == "m0" && one.reconsume_times() == 0);
        received.add(messages);
        if fails {
            ConsumeStatus::RECONSUME_LATER
        } else {
            ConsumeStatus::CONSUME_SUCCESS
        }
    });
    consumer.start().await.unwrap()
}

#[tokio::test]
async fn a_namespace_stands_before_names_on_the_wire_and_nowhere_else() {
    let target = Target::shared().await;
    let namespace = target.name("ns");
    let wrapped = target.topic(&format!("{namespace}%orders"), 2).await;
    let topic = wrapped.strip_prefix(&format!("{namespace}%")).unwrap();
    let config = ClientConfig::default()
        .name_server(target.name_server())
        .namespace(&*namespace);
    let producer = DefaultProducer::builder(target.name("ns_producers"))
        .config(config.clone())
        .start()
        .await
        .unwrap();
    let queue = producer.queues(topic).await.unwrap().remove(1);
    assert_eq!(&*queue.topic, topic);
    let message = |at: usize| Message::new(topic, format!("m{at}"));
    let result = producer.send(message(0)).to(queue.clone()).await.unwrap();
    assert_eq!(*result.queue(), queue);
    let results = producer.send_batch(vec![message(1), message(2)]).await;
    assert_eq!(&*results.unwrap()[0].queue().topic, topic);
    producer.send_oneway(message(3)).await.unwrap();
    for found in read_stored(&target, &wrapped, 2, 4).await {
        assert_eq!(found.topic.as_str(), wrapped);
        let named = found.property("INSTANCE_ID");
        let is_batch = ["m1", "m2"].contains(&&*String::from_utf8_lossy(&found.body));
        assert_eq!(named, (!is_batch).then_some(&*namespace));
    }

    // Groups of the same name that do not meet: one in the namespace, one outside of it.
    let group = target.name("ns_group");
    let (inside, outside) = (Received::default(), Received::default());
    let consumer = PushConsumer::builder(&*group)
        .config(config)
        .subscribe(topic, "*");
    let consumer = start(consumer, &inside).await;
    let consumer_outside = target.consumer(&group).subscribe(&*wrapped, "*");
    let consumer_outside = start(consumer_outside, &outside).await;
    for received in [&inside, &outside] {
        received
            .wait(&target, "4 messages came, and one again", |received| {
                received.bodies() == numbered("m", 4) && received.count() == 5
            })
            .await;
    }
    for message in inside.all() {
        assert_eq!(message.topic(), topic);
        assert!(!message.queue().topic.contains(&*namespace), "{message:?}");
    }
    assert!(outside.all().iter().all(|one| one.topic() == wrapped));
    consumer.shutdown().await.unwrap();
    consumer_outside.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

/// The configuration of clients in a namespace of its own, and a new topic in it by its bare name.
async fn world(target: &Target) -> (ClientConfig, String) {
    let namespace = target.name("ns");
    let wrapped = target.topic(&format!("{namespace}%topic"), 1).await;
    let config = ClientConfig::default().name_server(target.name_server());
    let topic = wrapped.split_once('%').unwrap().1.to_owned();
    (config.namespace(namespace), topic)
}

#[tokio::test]
async fn requests_are_replied_to_in_a_namespace() {
    let target = Target::shared().await;
    let (config, topic) = world(&target).await;
    let group = target.name("ns_requests");
    let producer = DefaultProducer::builder(&*group).config(config.clone());
    let producer = producer.start().await.unwrap();
    let consumer = PushConsumer::builder(&*group)
        .config(config)
        .subscribe(&*topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(producer.clone(), |producer, messages| async move {
            for request in &messages {
                producer.reply(request, body(request) + "!").await?;
            }
            Ok(())
        });
    let consumer = consumer.start().await.unwrap();
    let request = producer.request(Message::new(&*topic, "ping"));
    let reply = request.timeout(PATIENCE).await.unwrap();
    assert_eq!(body(&reply), "ping!");
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn transactions_are_asked_about_in_a_namespace() {
    let target = Target::shared().await;
    let (config, topic) = world(&target).await;
    let expected = topic.clone();
    let producer = TransactionProducer::builder(target.name("ns_payers"))
        .config(config.clone())
        .check_with(expected, |expected, half| async move {
            assert_eq!(half.topic(), expected);
            TransactionState::Commit
        });
    let producer = producer.start().await.unwrap();
    for state in [TransactionState::Commit, TransactionState::Unknown] {
        let message = Message::new(&*topic, format!("{state:?}"));
        let sending = producer.send_in_transaction(message, move |_| async move { state });
        sending.await.unwrap();
    }
    let received = Received::default();
    let consumer = PushConsumer::builder(target.name("ns_paid")).config(config);
    let consumer = start(consumer.subscribe(&*topic, "*"), &received).await;
    received
        .wait(&target, "both came", |received| {
            // A real broker may ask again before it has noted the answer; then one comes twice.
            received.bodies().len() == 2
        })
        .await;
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_namespace_of_5_x_is_named_in_every_request() {
    let target = Target::shared().await;
    let topic = target.topic("ns_v2", 1).await;
    let config = ClientConfig::default()
        .name_server(target.name_server())
        .namespace_v2("ns-2");
    let producer = DefaultProducer::builder(target.name("ns_v2"))
        .config(config.clone())
        .start()
        .await
        .unwrap();
    let received = Received::default();
    let consumer = PushConsumer::builder(target.name("ns_v2"))
        .config(config)
        .subscribe(&*topic, "*");
    let consumer = start(consumer, &received).await;
    producer.send(Message::new(&*topic, "m1")).await.unwrap();
    received
        .wait(&target, "a message came", |received| received.count() == 1)
        .await;
    assert_eq!(received.all()[0].topic(), topic);
    if let Some(cluster) = target.cluster() {
        assert_all_name_it(cluster);
    }
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

/// The brokers' own requests to the name server, and those of the story, are those that name no client's namespace.
fn assert_all_name_it(cluster: &Cluster) {
    for code in [
        RequestCode::SEND_MESSAGE_V2,
        RequestCode::HEART_BEAT,
        RequestCode::PULL_MESSAGE,
        RequestCode::QUERY_CONSUMER_OFFSET,
        RequestCode::GET_CONSUMER_LIST_BY_GROUP,
    ] {
        let requests = cluster.journal().requests(code);
        assert!(!requests.is_empty(), "{code}");
        for request in requests {
            let fields = (request.field("nsd"), request.field("ns"));
            assert_eq!(fields, (Some("true".into()), Some("ns-2".into())), "{code}");
        }
    }
}

#[tokio::test]
async fn a_name_that_is_too_long_with_its_namespace_is_refused() {
    let target = Target::shared().await;
    let config = ClientConfig::default()
        .name_server(target.name_server())
        .namespace("n".repeat(20));
    let builder = |group: &str| DefaultProducer::builder(group).config(config.clone());
    let long = |size| "x".repeat(size);
    let error = builder(&long(100)).start().await.map(drop).unwrap_err();
    assert!(error.to_string().contains("121 bytes, the limit is 120"));
    let producer = builder(&long(99)).start().await.unwrap();
    let send = |topic| producer.send(Message::new(topic, "x"));
    let error = send(long(107)).await.unwrap_err();
    assert!(error.to_string().contains("128 bytes, the limit is 127"));
    let consumer = |group, topic| {
        let consumer = PushConsumer::builder(group).config(config.clone());
        let consumer = consumer.subscribe(topic, "*");
        consumer.listener(|_| async { ConsumeStatus::CONSUME_SUCCESS })
    };
    for (group, topic) in [(long(100), long(1)), (long(9), long(107))] {
        let error = consumer(group, topic).start().await.map(drop).unwrap_err();
        assert!(error.to_string().contains("the limit is 12"), "{error}");
    }
    producer.shutdown().await.unwrap();
}
