//! Consumers that are asked for messages.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use rocketmq_sdk::{
    ConsumeFromWhere, DefaultProducer, ErrorKind, LitePullConsumer, LitePullConsumerBuilder,
    Message, MessageExt, MessageModel, ResponseCode,
};
use rocketmq_testkit::Cluster;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use crate::asking::reset;
use crate::received::{body, numbered, wait_until};
use crate::target::{PATIENCE, Target};

fn consumer(target: &Target, group: &str, topic: &str) -> LitePullConsumerBuilder {
    LitePullConsumer::builder(group)
        .name_server(target.name_server())
        .subscribe(topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
}

async fn send(target: &Target, topic: &str, count: usize) {
    let producer = target.producer().await;
    for at in 0..count {
        let message = Message::new(topic, format!("m{at}"));
        producer.send(message).await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

/// Polls until that many messages came; what came, by batches.
async fn poll(consumer: &LitePullConsumer, count: usize) -> Vec<Vec<MessageExt>> {
    let until = Instant::now() + PATIENCE;
    let mut batches = Vec::new();
    while batches.iter().map(Vec::len).sum::<usize>() < count {
        assert!(Instant::now() < until, "waited in vain: {batches:?}");
        batches.push(consumer.poll(Duration::from_secs(1)).await.unwrap());
    }
    batches
}

fn bodies(batches: &[Vec<MessageExt>]) -> Vec<String> {
    batches.iter().flatten().map(body).collect()
}

/// Nothing comes any more.
async fn assert_empty(consumer: &LitePullConsumer) {
    let polled = consumer.poll(Duration::from_secs(1)).await.unwrap();
    assert!(polled.is_empty(), "{polled:?}");
}

#[tokio::test]
async fn a_lp_07_18_batch_after_batch_can_be_polled() {
    let target = Target::shared().await;
    let topic = target.topic("poll", 4).await;
    send(&target, &topic, 300).await;
    for size in [7, 32] {
        let group = target.name(&format!("poll{size}"));
        let builder = consumer(&target, &group, &topic).pull_batch_size(size);
        let consumer = builder.start().await.unwrap();
        let batches = poll(&consumer, 300).await;
        for batch in &batches {
            assert!(batch.len() <= size);
            let offsets: Vec<_> = batch.iter().map(MessageExt::queue_offset).collect();
            assert!(offsets.is_sorted(), "{offsets:?}");
            assert!(
                batch
                    .iter()
                    .all(|message| message.queue() == batch[0].queue())
            );
        }
        let all = bodies(&batches);
        assert_eq!(
            (all.len(), BTreeSet::from_iter(all)),
            (300, numbered("m", 300))
        );
        consumer.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_lp_03_an_empty_poll_waits_and_then_says_that_nothing_came() {
    let target = Target::shared().await;
    let topic = target.topic("empty", 1).await;
    let builder = consumer(&target, &target.name("empty"), &topic);
    let consumer = builder.start().await.unwrap();
    let began = Instant::now();
    assert_empty(&consumer).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    send(&target, &topic, 1).await;
    assert_eq!(bodies(&poll(&consumer, 1).await), ["m0"]);
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_lp_04_05_without_a_commit_everything_comes_again() {
    let target = Target::shared().await;
    let topic = target.topic("again", 2).await;
    let group = target.name("again");
    send(&target, &topic, 20).await;
    for is_committed in [false, false, true] {
        let builder = consumer(&target, &group, &topic).auto_commit(false);
        let consumer = builder.start().await.unwrap();
        let all = BTreeSet::from_iter(bodies(&poll(&consumer, 20).await));
        assert_eq!(all, numbered("m", 20));
        if is_committed {
            consumer.commit().await.unwrap();
            // Nothing is left, and that is no error.
            consumer.commit().await.unwrap();
        }
        let report = consumer.shutdown().await.unwrap();
        assert_eq!(report.unfinished(), if is_committed { 0 } else { 20 });
    }
    let last = consumer(&target, &group, &topic).start().await.unwrap();
    assert_empty(&last).await;
    last.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_lp_04_automatic_commits_stay_behind_the_last_poll() {
    let target = Target::shared().await;
    let topic = target.topic("auto", 1).await;
    let group = target.name("auto");
    send(&target, &topic, 10).await;
    let builder = consumer(&target, &group, &topic).pull_batch_size(4);
    let first = builder.start().await.unwrap();
    let given = bodies(&poll(&first, 8).await);
    let last = given.len() - first.shutdown().await.unwrap().unfinished();
    assert!(
        last >= 4,
        "the last poll gave {} at most",
        given.len() - last
    );
    let second = consumer(&target, &group, &topic).start().await.unwrap();
    let expected: Vec<_> = (last..10).map(|at| format!("m{at}")).collect();
    assert_eq!(bodies(&poll(&second, expected.len()).await), expected);
    second.commit().await.unwrap();
    second.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_lp_06_messages_in_order_stay_until_they_are_committed() {
    let target = Target::shared().await;
    let topic = target.topic("fifo", 1).await;
    let group = target.name("fifo");
    send(&target, &topic, 20).await;
    let expected: Vec<_> = (0..20).map(|at| format!("m{at}")).collect();
    for _ in 0..2 {
        let builder = consumer(&target, &group, &topic).auto_commit(false);
        let consumer = builder.pull_batch_size(3).start().await.unwrap();
        assert_eq!(bodies(&poll(&consumer, 20).await), expected);
        consumer.shutdown().await.unwrap();
    }
    let builder = consumer(&target, &group, &topic).auto_commit(false);
    let consumer = builder.pull_batch_size(1).start().await.unwrap();
    assert_eq!(bodies(&poll(&consumer, 1).await), ["m0"]);
    consumer.commit().await.unwrap();
    consumer.shutdown().await.unwrap();
    let consumer = self::consumer(&target, &group, &topic)
        .start()
        .await
        .unwrap();
    assert_eq!(bodies(&poll(&consumer, 19).await), expected[1..]);
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_lp_04_08_when_all_but_the_last_are_committed_only_that_comes_again() {
    let target = Target::shared().await;
    let topic = target.topic("last", 1).await;
    let group = target.name("last");
    send(&target, &topic, 10).await;
    let builder = consumer(&target, &group, &topic).auto_commit(false);
    let first = builder.start().await.unwrap();
    let polled = poll(&first, 10).await;
    let last = polled.iter().flatten().last().unwrap();
    let (queue, offset) = (last.queue(), last.queue_offset());
    let error = first.commit_offset(queue, offset + 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    first.commit_offset(queue, offset).await.unwrap();
    assert_eq!(first.shutdown().await.unwrap().unfinished(), 1);
    let second = consumer(&target, &group, &topic).start().await.unwrap();
    assert_eq!(bodies(&poll(&second, 1).await), ["m9"]);
    assert_empty(&second).await;
    second.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_lp_14_who_polls_after_the_end_is_told() {
    let target = Target::shared().await;
    let topic = target.topic("end", 1).await;
    let builder = consumer(&target, &target.name("end"), &topic);
    let consumer = builder.start().await.unwrap();
    let waiting = tokio::spawn({
        let consumer = consumer.clone();
        async move { consumer.poll(PATIENCE).await }
    });
    consumer.shutdown().await.unwrap();
    let polled = [waiting.await.unwrap(), consumer.poll_default().await];
    for error in polled.map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
    assert!(consumer.stream().next().await.is_none());
}

#[tokio::test]
async fn a_lp_15_tags_choose_messages_and_can_be_changed() {
    let target = Target::shared().await;
    let topic = target.topic("tags", 1).await;
    let builder = LitePullConsumer::builder(target.name("tags"))
        .name_server(target.name_server())
        .consume_from(ConsumeFromWhere::FirstOffset)
        .subscribe(&topic, "A || B");
    let consumer = builder.start().await.unwrap();
    let producer = target.producer().await;
    let send = async |tags: &[&str]| {
        for tag in tags {
            let message = Message::builder(&*topic).tag(*tag).body(tag.to_string());
            producer.send(message.build()).await.unwrap();
        }
    };
    send(&["A", "C", "B", "D", "A"]).await;
    assert_eq!(bodies(&poll(&consumer, 3).await), ["A", "B", "A"]);
    consumer.subscribe(&topic, "C").unwrap();
    // The broker may choose by the old tags until it has heard of the new ones.
    let mut polled = Vec::new();
    let until = Instant::now() + PATIENCE;
    while !polled.contains(&"C".to_owned()) {
        assert!(Instant::now() < until, "waited in vain: {polled:?}");
        send(&["A", "C"]).await;
        polled.extend(bodies(&[consumer.poll_default().await.unwrap()]));
    }
    assert_eq!(polled.pop().as_deref(), Some("C"));
    send(&["B", "C"]).await;
    let polled = bodies(&poll(&consumer, 1).await);
    assert!(polled.iter().all(|body| body == "C"), "{polled:?}");
    consumer.shutdown().await.unwrap();
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_lp_16_messages_of_a_queue_that_is_lost_go_with_it() {
    let target = Target::shared().await;
    let topic = target.topic("lost", 4).await;
    let group = target.name("lost");
    send(&target, &topic, 80).await;
    let builder = || consumer(&target, &group, &topic).auto_commit(false);
    let one = builder().start().await.unwrap();
    // One has pulled more than it was asked for when the other comes.
    let mut all = poll(&one, 1).await.concat().len();
    one.commit().await.unwrap();
    let two = builder().start().await.unwrap();
    let until = Instant::now() + PATIENCE;
    while one.assigned_queues().len() != 2 || two.assigned_queues().len() != 2 {
        assert!(Instant::now() < until, "the queues are not shared");
        sleep(Duration::from_millis(20)).await;
    }
    let shares = [&one, &two].map(|consumer| (consumer, consumer.assigned_queues()));
    while all < 80 {
        assert!(Instant::now() < until, "{all} of 80 came");
        for (consumer, queues) in &shares {
            let polled = consumer.poll(Duration::from_millis(100)).await.unwrap();
            let queue_of = |message: &MessageExt| queues.contains(message.queue());
            assert!(polled.iter().all(queue_of), "{polled:?}");
            all += polled.len();
        }
    }
    assert_eq!(all, 80);
    for (consumer, _) in shares {
        assert_empty(consumer).await;
        consumer.commit().await.unwrap();
    }
    one.shutdown().await.unwrap();
    two.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_lp_17_every_member_of_a_broadcasting_group_polls_everything() {
    let target = Target::shared().await;
    let topic = target.topic("broadcast", 2).await;
    let group = target.name("broadcast");
    let folder = tempfile::tempdir().unwrap();
    let builder = |member: &str| {
        consumer(&target, &group, &topic)
            .message_model(MessageModel::Broadcasting)
            .local_offset_dir(folder.path().join(member))
    };
    send(&target, &topic, 20).await;
    let one = builder("one").start().await.unwrap();
    let two = builder("two").start().await.unwrap();
    for member in [&one, &two] {
        let all = bodies(&poll(member, 20).await);
        assert_eq!(
            (all.len(), BTreeSet::from_iter(all)),
            (20, numbered("m", 20))
        );
        assert_empty(member).await;
    }
    one.commit().await.unwrap();
    assert!(one.shutdown().await.unwrap().is_clean());
    // It goes on where it ended, from its file.
    let one = builder("one").start().await.unwrap();
    assert_empty(&one).await;
    one.shutdown().await.unwrap();
    two.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_lp_19_a_reset_brings_old_messages_again() {
    let target = Target::shared().await;
    let topic = target.topic("reset", 2).await;
    let group = target.name("reset");
    send(&target, &topic, 20).await;
    let builder = consumer(&target, &group, &topic).auto_commit(false);
    let consumer = builder.start().await.unwrap();
    poll(&consumer, 20).await;
    consumer.commit().await.unwrap();
    let answer = reset(&target, &topic, &group, 0).await;
    let remark = &answer.remark;
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{remark:?}");
    let again = bodies(&poll(&consumer, 20).await);
    assert_eq!(
        (again.len(), BTreeSet::from_iter(again)),
        (20, numbered("m", 20))
    );
    // What is not committed comes again with the next reset, and with the next member.
    reset(&target, &topic, &group, 0).await;
    assert_eq!(bodies(&poll(&consumer, 20).await).len(), 20);
    consumer.commit().await.unwrap();
    assert!(consumer.shutdown().await.unwrap().is_clean());
}

/// A member that works for a while on what it polls. What it has worked on is done.
async fn work_on(
    consumer: LitePullConsumer,
    is_automatic: bool,
    done: Arc<Mutex<BTreeSet<String>>>,
) {
    loop {
        let Ok(messages) = consumer.poll(Duration::from_millis(200)).await else {
            return;
        };
        for message in &messages {
            sleep(Duration::from_millis(2)).await;
            done.lock().insert(body(message));
        }
        if !is_automatic && consumer.commit().await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f23_l01_members_that_come_and_go_lose_nothing() {
    const MEMBERS: usize = 12;
    const EACH: usize = 30;
    let target = Target::shared().await;
    let topic = target.topic("churn", 8).await;
    let group = target.name("churn");
    let done = Arc::<Mutex<BTreeSet<String>>>::default();
    let producer = target.producer().await;
    let mut members = VecDeque::new();
    for number in 0..MEMBERS {
        let is_automatic = number % 2 == 0;
        let builder = consumer(&target, &group, &topic).auto_commit(is_automatic);
        let builder = builder.commit_interval(Duration::from_millis(50));
        let member = builder.pull_batch_size(4).start().await.unwrap();
        let work = tokio::spawn(work_on(member.clone(), is_automatic, Arc::clone(&done)));
        members.push_back((member, work));
        for at in number * EACH..(number + 1) * EACH {
            let message = Message::new(&*topic, format!("m{at}"));
            producer.send(message).await.unwrap();
        }
        if number % 3 == 2 {
            // One ends in the middle of its work, another one with a farewell.
            let (_, work) = members.pop_front().unwrap();
            work.abort();
            let (member, _) = members.pop_front().unwrap();
            member.shutdown().await.unwrap();
        }
    }
    wait_until(&target, "everything was worked on", || {
        *done.lock() == numbered("m", MEMBERS * EACH)
    })
    .await;
    for (member, work) in members {
        work.abort();
        member.shutdown().await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_stream_gives_everything() {
    let target = Target::shared().await;
    let topic = target.topic("stream", 4).await;
    send(&target, &topic, 100).await;
    let builder = consumer(&target, &target.name("stream"), &topic);
    let consumer = builder.start().await.unwrap();
    let stream = consumer.stream().take(100).map(Result::unwrap);
    let all: BTreeSet<_> = stream.map(|message| body(&message)).collect().await;
    assert_eq!(all, numbered("m", 100));
    consumer.commit().await.unwrap();
    assert!(consumer.shutdown().await.unwrap().is_clean());
}

/// More polls than the work of an application takes.
const POLLS: usize = 500;

async fn fill(cluster: &Cluster) {
    let producer = DefaultProducer::builder("p").name_server(cluster.name_server_addr());
    let producer = producer.environment(cluster.environment());
    let producer = producer.start().await.unwrap();
    for at in 0..20 {
        let message = Message::new("t", format!("m{at}"));
        producer.send(message).await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

/// Polls, works on what came, and commits, until everything was worked on.
async fn work(cluster: &Cluster, is_automatic: bool, done: &Mutex<BTreeSet<String>>) {
    let consumer = LitePullConsumer::builder("g")
        .name_server(cluster.name_server_addr())
        .environment(cluster.environment())
        .subscribe("t", "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .auto_commit(is_automatic)
        .pull_batch_size(4)
        .start()
        .await
        .unwrap();
    while done.lock().len() < 20 {
        for message in consumer.poll(Duration::from_secs(5)).await.unwrap() {
            yield_now().await;
            done.lock().insert(body(&message));
        }
        if !is_automatic {
            consumer.commit().await.unwrap();
        }
    }
}

/// On the testkit alone, where time can stand still.
#[tokio::test(start_paused = true)]
async fn f30_l01_an_application_that_ends_anywhere_loses_nothing() {
    for is_automatic in [true, false] {
        for polls in 0..POLLS {
            let cluster = Cluster::builder().in_memory().topic("t", 2);
            let cluster = cluster.start().await.unwrap();
            fill(&cluster).await;
            let done = Mutex::default();
            let is_ready = {
                let mut first = Box::pin(work(&cluster, is_automatic, &done));
                let mut is_ready = false;
                for _ in 0..polls {
                    is_ready |= !is_ready && (&mut first).now_or_never().is_some();
                    yield_now().await;
                }
                is_ready
            };
            let second = work(&cluster, is_automatic, &done);
            let rest = timeout(Duration::from_secs(600), second).await;
            assert!(rest.is_ok(), "after {polls} polls: {:?}", done.lock());
            if is_ready {
                break;
            }
            assert_ne!(polls, POLLS - 1, "it takes more polls than that");
        }
    }
}
