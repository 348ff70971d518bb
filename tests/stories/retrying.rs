//! What takes hours, in no time: on a cluster in memory, with tokio's time paused.

use std::time::Duration;

use rocketmq_sdk::{ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, MessageExt};
use rocketmq_sdk::{PushConsumer, PushConsumerBuilder};
use rocketmq_testkit::Cluster;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::received::body;
use crate::target::Target;

/// After how many seconds the retries come: from 10 s to 2 h, 4 h 45 min 40 s in all.
const DELAYS: [u64; 16] = [
    10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200,
];

/// A consumer's builder, and what comes of what it consumes: each message with the time, and with what its listener says.
fn consumer(
    cluster: &Cluster,
    group: &str,
    topic: &str,
    says: ConsumeStatus,
) -> (
    PushConsumerBuilder,
    mpsc::UnboundedReceiver<(Instant, MessageExt)>,
) {
    let (came, coming) = mpsc::unbounded_channel();
    let consumer = PushConsumer::builder(group)
        .name_server(cluster.name_server_addr())
        .environment(cluster.environment())
        .consume_from(ConsumeFromWhere::FirstOffset)
        .subscribe(topic, "*")
        .listener_with(came, move |came, messages| async move {
            for message in messages {
                came.send((Instant::now(), message)).unwrap();
            }
            says
        });
    (consumer, coming)
}

#[tokio::test(start_paused = true)]
async fn a_rt_01_02_a_poisonous_message_comes_sixteen_times_more_and_is_then_a_dead_letter() {
    let Some(cluster) = Target::paused("it takes five hours", &[("bad", 1)]).await else {
        return;
    };
    let wall = std::time::Instant::now();
    let (listener, mut coming) = consumer(&cluster, "bad", "bad", ConsumeStatus::RECONSUME_LATER);
    let listener = listener.start().await.unwrap();
    let producer = DefaultProducer::builder("senders")
        .name_server(cluster.name_server_addr())
        .environment(cluster.environment());
    let producer = producer.start().await.unwrap();
    let poison = Message::builder("bad").tag("a").body("poison").build();
    let sent = producer.send(poison).await.unwrap();

    let (mut last, first) = coming.recv().await.unwrap();
    assert_eq!(
        (first.msg_id(), first.reconsume_times()),
        (sent.msg_id(), 0)
    );
    for (times, delay) in (1..).zip(DELAYS) {
        let (now, again) = coming.recv().await.unwrap();
        assert_eq!(
            (body(&again).as_str(), again.topic(), again.tag()),
            ("poison", "bad", Some("a"))
        );
        assert_eq!(
            (again.msg_id(), again.reconsume_times()),
            (sent.msg_id(), times)
        );
        let (passed, delay) = (now - last, Duration::from_secs(delay));
        assert!(
            (delay..delay + Duration::from_secs(1)).contains(&passed),
            "{times}: {passed:?}"
        );
        last = now;
    }

    let (reader, mut letters) = consumer(
        &cluster,
        "readers",
        "%DLQ%bad",
        ConsumeStatus::CONSUME_SUCCESS,
    );
    let reader = reader.start().await.unwrap();
    let (at, letter) = letters.recv().await.unwrap();
    assert_eq!(
        (body(&letter).as_str(), letter.msg_id()),
        ("poison", sent.msg_id())
    );
    println!(
        "{:?} in {:?}",
        at - last + Duration::from_secs(DELAYS.iter().sum()),
        wall.elapsed()
    );

    listener.shutdown().await.unwrap();
    assert!(coming.recv().await.is_none(), "it came once more");
    let group = cluster.broker("broker-a").group("bad");
    assert_eq!(
        (group.committed("bad", 0), group.committed("%RETRY%bad", 0)),
        (Some(1), Some(16))
    );
    reader.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}
