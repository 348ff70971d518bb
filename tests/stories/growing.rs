//! Topics that grow while they are consumed.

use std::time::Duration;

use rocketmq_sdk::{ClientConfig, ConsumeFromWhere, ConsumeStatus, Message, MessageQueue};

use crate::received::{Received, wait_until};
use crate::target::Target;

#[tokio::test(start_paused = true)]
async fn queues_and_brokers_that_are_added_are_consumed_from_their_beginning() {
    let target = Target::own_paused(2).await;
    let masters = target.masters().await;
    let topic = target.name("growing");
    target.put_topic(&masters["broker-a"], &topic, 2).await;
    target.wait_for_queues(&topic, 2).await;
    let received = Received::default();
    let config = ClientConfig::from_env().name_server(target.name_server());
    let consumer = target
        .consumer(&target.name("growing"))
        .config(config.route_interval(Duration::from_secs(1)))
        .subscribe(&*topic, "*")
        // That is for the queues which are there when the group begins.
        .consume_from(ConsumeFromWhere::LastOffset)
        .listener_with(received.clone(), |received, messages| async move {
            received.add(messages);
            ConsumeStatus::CONSUME_SUCCESS
        });
    let consumer = consumer.start().await.unwrap();
    let owned = |count| {
        let (consumer, topic) = (&consumer, &topic);
        let all = move || {
            let queues = consumer.assigned_queues();
            queues
                .iter()
                .filter(|queue| *queue.topic == **topic)
                .count()
                == count
        };
        wait_until(&target, "the queues are taken", all)
    };
    owned(2).await;

    for (broker, queues, all) in [("broker-a", 4, 4), ("broker-b", 3, 7)] {
        target.put_topic(&masters[broker], &topic, queues).await;
        target.wait_for_queues(&topic, all).await;
        let producer = target.producer().await;
        let mut wanted = received.bodies();
        // Before the consumer can know the queue.
        for at in 0..3 {
            let body = format!("{broker}{at}");
            let queue = MessageQueue::new(&*topic, broker, queues - 1);
            let send = producer.send(Message::new(&*topic, body.clone()));
            send.to(queue).await.unwrap();
            wanted.insert(body);
        }
        producer.shutdown().await.unwrap();
        let all_came = |received: &Received| received.bodies() == wanted;
        received.wait(&target, "all came", all_came).await;
        owned(all).await;
    }
    assert_eq!(received.count(), 6);
    assert!(consumer.shutdown().await.unwrap().is_clean());
}
