//! Members of one group that brokers have to tell apart, and members that say different things.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::protocol::code::RequestCode;
use rocketmq_sdk::protocol::request::consumer_list::ConsumerListBody;
use rocketmq_sdk::{
    Client, ClientConfig, ConsumeFromWhere, ConsumeStatus, ErrorKind, Message, PushConsumer,
};
use tokio::time::{Instant, sleep};

use crate::received::{Received, numbered, wait_until};
use crate::target::{PATIENCE, Target};

const QUEUES: usize = 4;

async fn join(client: &Client, group: &str, topic: &str, received: &Received) -> PushConsumer {
    let consumer = PushConsumer::builder(group)
        .client(client)
        .subscribe(topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(received.clone(), |received, messages| async move {
            received.add(messages);
            ConsumeStatus::CONSUME_SUCCESS
        });
    consumer.start().await.unwrap()
}

/// The members that a broker knows.
async fn members(target: &Target, group: &str) -> BTreeSet<String> {
    let addr = target.brokers().await.remove(0);
    let asking = target.ask(&addr, RequestCode::GET_CONSUMER_LIST_BY_GROUP, |fields| {
        fields.put("consumerGroup", group);
    });
    let list: ConsumerListBody = serde_json::from_slice(&asking.await.body).unwrap();
    list.consumer_id_list.into_iter().collect()
}

#[tokio::test]
async fn f27_l24_members_that_are_set_up_alike_have_identities_of_their_own() {
    let target = Target::shared().await;
    let topic = target.topic("alike", QUEUES as i32).await;
    let group = target.name("alike");
    // In one process, with one address and one name.
    let config = ClientConfig::from_env()
        .name_server(target.name_server())
        .client_ip(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .instance_name("alike");
    let (mut clients, mut consumers) = (Vec::new(), Vec::new());
    let received = Received::default();
    for _ in 0..2 {
        let client = Client::builder().config(config.clone()).start();
        let client = client.await.unwrap();
        consumers.push(join(&client, &group, &topic, &received).await);
        clients.push(client);
    }
    let ids: BTreeSet<_> = clients
        .iter()
        .map(|one| one.client_id().to_owned())
        .collect();
    assert_eq!(ids.len(), 2);
    wait_until(&target, "each queue has one owner", || {
        let queues = consumers.iter().map(PushConsumer::assigned_queues);
        let queues = queues.map(|mut queues| {
            queues.retain(|queue| *queue.topic == *topic);
            queues
        });
        let queues: Vec<_> = queues.collect();
        let all: BTreeSet<_> = queues.iter().flatten().collect();
        all.len() == QUEUES && queues.iter().all(|queues| queues.len() == QUEUES / 2)
    })
    .await;
    assert_eq!(members(&target, &group).await, ids);
    let producer = target.producer().await;
    for at in 0..20 {
        let message = Message::new(&*topic, format!("m{at}"));
        producer.send(message).await.unwrap();
    }
    received
        .wait(&target, "everything came", |received| {
            received.bodies() == numbered("m", 20)
        })
        .await;
    assert_eq!(received.count(), 20);
    // One identity cannot be two members.
    let again = PushConsumer::builder(&*group)
        .client(&clients[0])
        .subscribe(&*topic, "*")
        .listener(|_| async { ConsumeStatus::CONSUME_SUCCESS });
    let error = again.start().await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains(&group), "{error}");
    for consumer in consumers {
        consumer.shutdown().await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines_with(&self, text: &str) -> usize {
        let log = self.0.lock();
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| line.contains(text)).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// In real time on a real broker: a member asks it once a minute.
#[tokio::test(start_paused = true)]
async fn f27_l30_a_member_is_told_that_another_subscribes_to_something_else() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let target = Target::shared_paused().await;
    let topic = target.topic("different", 2).await;
    let group = target.name("different");
    let mut members = Vec::new();
    // Brokers go by whoever has subscribed last, to the millisecond, so the first one sees that it is not understood.
    for tag in ["one", "two"] {
        let member = target
            .consumer(&group)
            .subscribe(&*topic, tag)
            .listener(|_| async { ConsumeStatus::CONSUME_SUCCESS });
        members.push(member.start().await.unwrap());
        sleep(Duration::from_millis(2)).await;
    }
    let text = format!(r#"of {topic} one subscribes to "one", another to "two""#);
    // The first question may fail where the machine is busy.
    let until = Instant::now() + 2 * PATIENCE;
    while log.lines_with(&text) == 0 {
        assert!(Instant::now() < until, "no warning");
        sleep(Duration::from_secs(1)).await;
    }
    if target.is_paused() {
        sleep(Duration::from_secs(600)).await;
    }
    assert_eq!(log.lines_with("the members of the group differ"), 1);
    for member in members {
        member.shutdown().await.unwrap();
    }
}
