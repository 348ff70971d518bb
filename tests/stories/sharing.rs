//! Several members of one group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rocketmq_sdk::{
    AllocateStrategy, ConsumeFromWhere, ConsumeStatus, DefaultProducer, LitePullConsumer, Message,
    MessageQueue, PushConsumer,
};
use rocketmq_testkit::{Cluster, OnRequest, RequestCode, ResponseCode, Rule};
use tokio::time::sleep;

use crate::received::{Received, body, numbered, wait_until};
use crate::target::Target;

const QUEUES: i32 = 4;

async fn start(target: &Target, group: &str, topic: &str, received: &Received) -> PushConsumer {
    let consumer = target
        .consumer(group)
        .subscribe(topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset);
    let consumer = consumer.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    consumer.start().await.unwrap()
}

/// Sends one message to every queue, round after round, until `done`; gives the bodies back.
async fn send_until(
    producer: &DefaultProducer,
    topic: &str,
    prefix: &str,
    done: impl Fn(&BTreeSet<String>) -> bool,
) -> BTreeSet<String> {
    let mut sent = BTreeSet::new();
    for round in 0..600 {
        for queue in 0..QUEUES as usize {
            let text = format!("{prefix}{round}.{queue}");
            let message = Message::new(topic, text.clone());
            producer
                .send(message)
                .select(move |_, _| queue)
                .await
                .unwrap();
            sent.insert(text);
        }
        sleep(Duration::from_millis(100)).await;
        if done(&sent) {
            return sent;
        }
    }
    panic!("waited in vain for {prefix}");
}

fn queues(received: &Received, prefix: &str) -> BTreeSet<i32> {
    let all = received.all();
    all.iter()
        .filter(|message| body(message).starts_with(prefix))
        .map(|message| message.queue().queue_id)
        .collect()
}

#[tokio::test]
async fn a_rb_01_02_two_members_share_the_queues_and_the_one_that_stays_takes_all() {
    let target = Target::shared().await;
    let topic = target.topic("share", QUEUES).await;
    let group = target.name("share");
    let (one, two) = (Received::default(), Received::default());
    let first = start(&target, &group, &topic, &one).await;
    let producer = target.producer().await;
    let alone = send_until(&producer, &topic, "alone", |_| {
        queues(&one, "alone").len() == 4
    })
    .await;
    let second = start(&target, &group, &topic, &two).await;
    // The second member gets messages only when it has its half.
    let joined = send_until(&producer, &topic, "joined", |_| {
        queues(&two, "joined").len() == 2
    })
    .await;
    // Until the first one has given its half up, both may get a message.
    let shared = send_until(&producer, &topic, "shared", |sent| {
        let rounds = sent.len() / QUEUES as usize;
        let halves = (1..=rounds).any(|back| {
            let round = format!("shared{}.", rounds - back);
            let (ones, twos) = (queues(&one, &round), queues(&two, &round));
            (ones.len(), twos.len()) == (2, 2) && ones.is_disjoint(&twos)
        });
        halves && sent.is_subset(&one.bodies().union(&two.bodies()).cloned().collect())
    })
    .await;
    first.shutdown().await.unwrap();
    let left = send_until(&producer, &topic, "left", |_| {
        queues(&two, "left").len() == 4
    })
    .await;
    let everything: BTreeSet<String> = [alone, joined, shared, left]
        .into_iter()
        .flatten()
        .collect();
    wait_until(&target, "everything came", || {
        let seen: BTreeSet<_> = one.bodies().union(&two.bodies()).cloned().collect();
        seen == everything
    })
    .await;
    second.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_rb_07_a_member_without_a_queue_waits() {
    let target = Target::shared().await;
    let topic = target.topic("spare", 1).await;
    let group = target.name("spare");
    let received = Received::default();
    let (one, two) = (
        start(&target, &group, &topic, &received).await,
        start(&target, &group, &topic, &received).await,
    );
    let producer = target.producer().await;
    for at in 0..10 {
        producer
            .send(Message::new(&*topic, format!("m{at}")))
            .await
            .unwrap();
    }
    received
        .wait(&target, "10 messages came", |received| {
            received.bodies() == numbered("m", 10)
        })
        .await;
    one.shutdown().await.unwrap();
    two.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_rb_09_three_groups_get_everything_each() {
    let target = Target::shared().await;
    let topic = target.topic("groups", 2).await;
    let producer = target.producer().await;
    for at in 0..10 {
        producer
            .send(Message::new(&*topic, format!("m{at}")))
            .await
            .unwrap();
    }
    for number in 0..3 {
        let received = Received::default();
        let consumer = start(
            &target,
            &target.name(&format!("group{number}")),
            &topic,
            &received,
        )
        .await;
        received
            .wait(&target, "10 messages came", |received| {
                received.bodies() == numbered("m", 10)
            })
            .await;
        consumer.shutdown().await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

/// Gives a member everything, or nothing, as the test says.
#[derive(Debug, Clone)]
struct Switch(Arc<AtomicBool>);

impl AllocateStrategy for Switch {
    fn name(&self) -> &str {
        "SWITCH"
    }

    fn allocate(&self, _: &str, _: &[String], queues: &[MessageQueue]) -> Vec<MessageQueue> {
        match self.0.load(Ordering::SeqCst) {
            true => queues.to_vec(),
            false => Vec::new(),
        }
    }
}

/// On the testkit alone, where time can stand still.
#[tokio::test(start_paused = true)]
async fn a_queue_that_comes_and_goes_waits_for_everyone_who_had_it() {
    let cluster = Cluster::builder().in_memory().topic("t", 1);
    let cluster = cluster.start().await.unwrap();
    let (addr, environment) = (cluster.name_server_addr(), cluster.environment());
    let (is_on, given) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicUsize::new(0)),
    );
    let consumer = PushConsumer::builder("g")
        .name_server(addr)
        .environment(environment.clone())
        .subscribe("t", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .allocate_strategy(Switch(Arc::clone(&is_on)))
        .listener_with(Arc::clone(&given), |given, _| async move {
            given.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_secs(4)).await;
            ConsumeStatus::CONSUME_SUCCESS
        });
    let consumer = consumer.start().await.unwrap();
    let producer = DefaultProducer::builder("p").name_server(addr);
    let producer = producer.environment(environment).start().await.unwrap();
    producer.send(Message::new("t", "x")).await.unwrap();
    // The listener has the message for four seconds. The queue goes, comes, goes and comes meanwhile.
    for (at, owned) in [false, true, false, true].into_iter().enumerate() {
        sleep(Duration::from_millis(700)).await;
        is_on.store(owned, Ordering::SeqCst);
        // Any change of what is subscribed has the queues shared again.
        consumer.subscribe(format!("other{at}"), "*").unwrap();
    }
    sleep(Duration::from_secs(20)).await;
    assert_eq!(
        given.load(Ordering::SeqCst),
        1,
        "nobody took it over before its offset was committed"
    );
    let report = consumer.shutdown().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    producer.shutdown().await.unwrap();
}

/// A message for each of eight keys, of which each chooses another queue of eight.
async fn send_step(producer: &DefaultProducer, topic: &str, step: usize) {
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let send = producer.send(Message::new(topic, format!("{key} {step}")));
        send.sharding_key(key).await.unwrap();
    }
}

#[tokio::test]
async fn a_or_08_eight_keys_keep_their_order_over_four_members_then_two() {
    let target = Target::shared().await;
    let topic = target.topic("keys_shared", 8).await;
    let group = target.name("keys_shared");
    let producer = target.producer().await;
    // What all were given, in one order; and what each was given.
    let all = Received::default();
    let mut members = Vec::new();
    for _ in 0..4 {
        let own = Received::default();
        let consumer = target
            .consumer(&group)
            .subscribe(&*topic, "*")
            .consume_from(ConsumeFromWhere::FirstOffset)
            .concurrency(1);
        let state = (all.clone(), own.clone());
        let consumer = consumer.listener_with(state, |(all, own), messages| async move {
            all.add(messages.clone());
            own.add(messages);
            ConsumeStatus::CONSUME_SUCCESS
        });
        members.push((consumer.start().await.unwrap(), own));
    }
    let mut steps = 0;
    // Until each has two of the eight queues.
    loop {
        assert!(steps < 300, "waited in vain for shares");
        send_step(&producer, &topic, steps).await;
        let came = || {
            all.all()
                .iter()
                .filter(|message| body(message).ends_with(&format!(" {steps}")))
                .count()
        };
        wait_until(&target, "the step came", || came() >= 8).await;
        steps += 1;
        let of_last = |own: &Received| {
            let last = format!(" {}", steps - 1);
            own.bodies()
                .iter()
                .filter(|body| body.ends_with(&last))
                .count()
        };
        if members.iter().all(|(_, own)| of_last(own) == 2) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    for step in steps..steps + 10 {
        send_step(&producer, &topic, step).await;
    }
    for (member, _) in members.drain(..2) {
        member.shutdown().await.unwrap();
    }
    for step in steps + 10..steps + 20 {
        send_step(&producer, &topic, step).await;
    }
    let steps = steps + 20;
    wait_until(&target, "everything came", || {
        all.bodies().len() == 8 * steps
    })
    .await;
    let mut next = BTreeMap::new();
    for message in all.all() {
        let text = body(&message);
        let (key, step) = text.split_once(' ').unwrap();
        let next = next.entry(key.to_owned()).or_insert(0);
        let step: usize = step.parse().unwrap();
        // What was not committed when its member left may come again.
        assert!(step <= *next, "{text} came before {next}");
        *next = (step + 1).max(*next);
    }
    assert!(next.len() == 8 && next.values().all(|next| *next == steps));
    for (member, _) in members {
        member.shutdown().await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

/// Polls until nothing comes any more; the queues that messages came from.
async fn poll_all(consumer: &LitePullConsumer) -> Vec<i32> {
    let mut all = Vec::new();
    loop {
        let polled = consumer.poll(Duration::from_secs(1)).await.unwrap();
        if polled.is_empty() {
            return all;
        }
        all.extend(polled.iter().map(|message| message.queue().queue_id));
    }
}

#[tokio::test(start_paused = true)]
async fn l03_who_lost_a_queue_and_cannot_ask_where_the_group_is_does_not_put_it_back() {
    type Fail = fn(OnRequest) -> Rule;
    let ways: [Fail; 2] = [
        |on| on.reply(ResponseCode::SYSTEM_ERROR, "not now"),
        |on| on.drop(),
    ];
    for fail in ways {
        let target = Target::memory(Cluster::builder().topic("t", 2)).await;
        let cluster = target.cluster().unwrap();
        let producer = target.producer().await;
        let send = async |count: i32| {
            for at in 0..count {
                let queue = MessageQueue::new("t", "broker-a", at % 2);
                let message = Message::new("t", format!("m{at}"));
                producer.send(message).to(queue).await.unwrap();
            }
        };
        let join = async || {
            let builder = LitePullConsumer::builder("g").subscribe("t", "*");
            let builder = builder
                .name_server(cluster.name_server_addr())
                .environment(cluster.environment())
                .consume_from(ConsumeFromWhere::FirstOffset);
            builder.auto_commit(false).start().await.unwrap()
        };
        send(10).await;
        let one = join().await;
        assert_eq!(poll_all(&one).await.len(), 10);
        // What comes now only the other one works on.
        send(6).await;
        let two = join().await;
        assert_eq!(poll_all(&two).await.len(), 8);
        two.commit().await.unwrap();
        let on = cluster.faults().on(RequestCode::QUERY_CONSUMER_OFFSET);
        let rule = fail(on.client(one.client_id()));
        // It may still say that it is done with what it was given, and does not know that the group is ahead.
        let outcome = one.commit().await;
        assert!(rule.hits() > 0);
        one.shutdown().await.unwrap();
        two.shutdown().await.unwrap();
        rule.remove();
        let next = join().await;
        let kept = poll_all(&next).await;
        assert!(
            kept.len() == 3 && kept.iter().all(|queue| *queue == kept[0]),
            "{kept:?}"
        );
        outcome.unwrap_err();
        next.shutdown().await.unwrap();
        producer.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn l03_a_member_that_ends_slowly_does_not_put_the_group_back() {
    let target = Target::memory(Cluster::builder().topic("t", 1)).await;
    let cluster = target.cluster().unwrap();
    let producer = target.producer().await;
    let send = async |count: i32| {
        for at in 0..count {
            let message = Message::new("t", format!("m{at}"));
            producer.send(message).await.unwrap();
        }
    };
    // Each member takes everything, and the listener of each message takes this long.
    let join = async |takes: Duration| {
        let builder = target
            .consumer("g")
            .subscribe("t", "*")
            .consume_from(ConsumeFromWhere::FirstOffset)
            .allocate_strategy(Switch(Arc::new(AtomicBool::new(true))))
            .listener(move |_| async move {
                sleep(takes).await;
                ConsumeStatus::CONSUME_SUCCESS
            });
        builder.start().await.unwrap()
    };
    send(5).await;
    let old = join(Duration::from_secs(8)).await;
    sleep(Duration::from_secs(1)).await;
    let committed = || cluster.broker("broker-a").group("g").committed("t", 0);
    let (report, new) = tokio::join!(old.shutdown(), async {
        let new = join(Duration::ZERO).await;
        send(20).await;
        sleep(Duration::from_secs(6)).await;
        assert_eq!(committed(), Some(25), "the new one is done");
        new
    });
    assert!(report.as_ref().unwrap().is_clean(), "{report:?}");
    assert_eq!(committed(), Some(25));
    new.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}
