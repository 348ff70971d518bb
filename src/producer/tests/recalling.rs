//! Taking messages back.

use super::world::World;
use crate::error::ErrorKind;
use crate::protocol::code::RequestCode;
use crate::protocol::message::RecallHandle;

fn handle(topic: &str, broker_name: &str) -> String {
    let handle = RecallHandle {
        topic: topic.to_owned(),
        broker_name: broker_name.to_owned(),
        deliver_millis: "1700000000001".to_owned(),
        message_id: "ID".to_owned(),
    };
    handle.encode()
}

#[tokio::test(start_paused = true)]
async fn the_broker_that_keeps_the_message_is_asked() {
    let world = World::with_brokers(&["a", "b"]);
    let producer = world.builder().start().await.unwrap();
    let handle = handle("t", "b");
    producer.recall(&handle).await.unwrap();
    let asked = world.asked(RequestCode::RECALL_MESSAGE);
    assert_eq!((asked.len(), &*asked[0].addr), (1, "b:1"));
    for (name, value) in [
        ("topic", "t"),
        ("recallHandle", &*handle),
        ("producerGroup", "g"),
        ("bname", "b"),
    ] {
        assert_eq!(
            asked[0].fields.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_the_known_route_lacks_is_looked_up() {
    let world = World::with_brokers(&["a"]);
    let producer = world.warm_producer().await;
    let error = producer.recall(&handle("t", "b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoute, "{error}");
    assert_eq!(error.topic(), Some("t"));
    world.topic("t", &[("a", 2), ("b", 2)]);
    world.broker("b", |_| super::world::Reply::Stored);
    producer.recall(&handle("t", "b")).await.unwrap();
    assert_eq!(world.asked(RequestCode::RECALL_MESSAGE)[0].addr, "b:1");
}
