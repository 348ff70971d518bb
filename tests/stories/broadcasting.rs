//! Broadcasting: every member gets everything, and keeps its own offsets in a file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rocketmq_sdk::{
    Client, ConsumeFromWhere, ConsumeStatus, ErrorKind, Message, MessageModel, PushConsumer,
    PushConsumerBuilder,
};
use tempfile::TempDir;

use crate::received::{Received, body, numbered, wait_until};
use crate::target::Target;

/// What has the members of one story in common.
struct Story {
    target: Target,
    topic: String,
    group: String,
    /// Every member has a folder of its own below.
    folder: TempDir,
}

impl Story {
    async fn new(name: &str, queues: i32) -> Self {
        let target = Target::shared().await;
        Self {
            topic: target.topic(name, queues).await,
            group: target.name(name),
            folder: tempfile::tempdir().unwrap(),
            target,
        }
    }

    fn folder(&self, member: &str) -> PathBuf {
        self.folder.path().join(member)
    }

    fn builder(&self, member: &str, tags: &str) -> PushConsumerBuilder {
        self.target
            .consumer(&self.group)
            .subscribe(&*self.topic, tags)
            .message_model(MessageModel::Broadcasting)
            .local_offset_dir(self.folder(member))
    }

    async fn start(&self, member: &str, received: &Received) -> PushConsumer {
        let builder = self.builder(member, "*");
        listen(builder, received).start().await.unwrap()
    }

    async fn send(&self, prefix: &str, count: usize) {
        self.send_tagged(prefix, count, &[""]).await;
    }

    /// Sends messages with these tags in turn.
    async fn send_tagged(&self, prefix: &str, count: usize, tags: &[&str]) {
        let producer = self.target.producer().await;
        for at in 0..count {
            let message = Message::builder(&*self.topic).body(format!("{prefix}{at}"));
            let message = match tags[at % tags.len()] {
                "" => message,
                tag => message.tag(tag),
            };
            producer.send(message.build()).await.unwrap();
        }
        producer.shutdown().await.unwrap();
    }

    async fn wait(&self, received: &Received, bodies: BTreeSet<String>) {
        received
            .wait(&self.target, "every message came", |received| {
                received.bodies().is_superset(&bodies)
            })
            .await;
        assert_eq!(received.bodies(), bodies);
    }
}

fn listen(builder: PushConsumerBuilder, received: &Received) -> PushConsumerBuilder {
    builder.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    })
}

fn union(one: BTreeSet<String>, two: BTreeSet<String>) -> BTreeSet<String> {
    one.into_iter().chain(two).collect()
}

/// The offset file below a member's folder.
fn offset_file(folder: &Path) -> PathBuf {
    let only = |folder: &Path| {
        fs::read_dir(folder)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path()
    };
    only(&only(folder)).join("offsets.json")
}

#[tokio::test]
async fn a_bc_01_04_members_of_one_group_and_of_another_each_get_all() {
    let story = Story::new("each", 4).await;
    let received = [(); 3].map(|()| Received::default());
    let one = story.start("one", &received[0]).await;
    let two = story.start("two", &received[1]).await;
    let builder = PushConsumer::builder(story.target.name("other"))
        .name_server(story.target.name_server())
        .subscribe(&*story.topic, "*")
        .message_model(MessageModel::Broadcasting)
        .local_offset_dir(story.folder("one"));
    let other = listen(builder, &received[2]).start().await.unwrap();
    wait_until(&story.target, "each has every queue", || {
        let queues = [&one, &two, &other].map(PushConsumer::assigned_queues);
        queues[0].len() == 4 && queues.iter().all(|has| *has == queues[0])
    })
    .await;
    story.send("m", 40).await;
    for received in &received {
        story.wait(received, numbered("m", 40)).await;
    }
    for consumer in [one, two, other] {
        assert!(consumer.shutdown().await.unwrap().is_clean());
    }
    assert!(received.iter().all(|received| received.count() == 40));
}

#[tokio::test]
async fn a_bc_02_a_member_that_comes_later_gets_what_comes_later() {
    let story = Story::new("later", 2).await;
    let (one, two) = (Received::default(), Received::default());
    let first = story.start("one", &one).await;
    story.send("early", 10).await;
    story.wait(&one, numbered("early", 10)).await;
    let second = story.start("two", &two).await;
    story.send("late", 10).await;
    story.wait(&two, numbered("late", 10)).await;
    story
        .wait(&one, union(numbered("early", 10), numbered("late", 10)))
        .await;
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_bc_03_when_one_is_killed_the_other_still_gets_all() {
    let story = Story::new("killed", 4).await;
    let (one, two) = (Received::default(), Received::default());
    let client = Client::builder().name_server(story.target.name_server());
    let client = client.start().await.unwrap();
    let builder = PushConsumer::builder(&*story.group)
        .client(&client)
        .subscribe(&*story.topic, "*")
        .message_model(MessageModel::Broadcasting)
        .local_offset_dir(story.folder("one"));
    let first = listen(builder, &one).start().await.unwrap();
    let second = story.start("two", &two).await;
    story.send("a", 20).await;
    story.wait(&one, numbered("a", 20)).await;
    // Its connections are gone at once, and it leaves no group.
    client.shutdown().await;
    story.send("b", 20).await;
    story
        .wait(&two, union(numbered("a", 20), numbered("b", 20)))
        .await;
    assert_eq!(one.bodies(), numbered("a", 20));
    let error = first.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    second.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_bc_05_a_message_that_failed_does_not_come_again() {
    let story = Story::new("fails", 1).await;
    let seen = Received::default();
    let builder = story.builder("one", "*");
    let builder = builder.listener_with(seen.clone(), |seen, messages| async move {
        let text = body(&messages[0]);
        seen.add(messages);
        match &*text {
            "m0" => panic!("on purpose"),
            "m1" => Err("on purpose".into()),
            _ => Ok(()),
        }
    });
    let consumer = builder.start().await.unwrap();
    story.send("m", 4).await;
    story.wait(&seen, numbered("m", 4)).await;
    let queues = consumer.assigned_queues();
    assert!(
        queues.iter().all(|queue| *queue.topic == *story.topic),
        "there is no retry topic: {queues:?}"
    );
    let report = consumer.shutdown().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.dropped(), 2);
    // They count as consumed.
    let rest = Received::default();
    let consumer = story.start("one", &rest).await;
    story.send("n", 1).await;
    story.wait(&rest, numbered("n", 1)).await;
    consumer.shutdown().await.unwrap();
    assert_eq!(seen.count(), 4);
}

#[tokio::test]
async fn a_bc_06_members_choose_by_the_same_and_by_different_tags() {
    let story = Story::new("tags", 2).await;
    let mut members = Vec::new();
    for (name, tags) in [
        ("one", "A"),
        ("two", "A"),
        ("three", "B || C"),
        ("none", "X"),
    ] {
        let received = Received::default();
        // Members of one group have one subscription.
        let builder = PushConsumer::builder(format!("{}{}", story.group, tags.len()))
            .name_server(story.target.name_server())
            .subscribe(&*story.topic, tags)
            .message_model(MessageModel::Broadcasting)
            .local_offset_dir(story.folder(name));
        let builder = match tags {
            "X" => listen(story.builder(name, tags), &received),
            _ => listen(builder, &received),
        };
        members.push((builder.start().await.unwrap(), received));
    }
    story.send_tagged("m", 12, &["A", "B", "C", ""]).await;
    let some = |remainders: &[usize]| -> BTreeSet<String> {
        let wanted = (0..12).filter(|at| remainders.contains(&(at % 4)));
        wanted.map(|at| format!("m{at}")).collect()
    };
    for (at, wanted) in [some(&[0]), some(&[0]), some(&[1, 2]), some(&[])]
        .into_iter()
        .enumerate()
    {
        story.wait(&members[at].1, wanted).await;
    }
    for (consumer, _) in members {
        consumer.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_bc_07_offsets_survive_a_restart_in_java_s_file() {
    let story = Story::new("restart", 2).await;
    let (first, second) = (Received::default(), Received::default());
    let consumer = story.start("one", &first).await;
    story.send("a", 10).await;
    story.wait(&first, numbered("a", 10)).await;
    consumer.shutdown().await.unwrap();
    let file = offset_file(&story.folder("one"));
    assert!(file.to_string_lossy().contains("@DEFAULT/"), "{file:?}");
    assert_eq!(file.parent().unwrap().file_name().unwrap(), &*story.group);
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(&format!("\"topic\":\"{}\"", story.topic)),
        "{text}"
    );
    story.send("b", 10).await;
    let consumer = story.start("one", &second).await;
    story.wait(&second, numbered("b", 10)).await;
    consumer.shutdown().await.unwrap();
    assert_eq!((first.count(), second.count()), (10, 10));
}

#[tokio::test]
async fn a_bc_07_f21_the_backup_of_a_damaged_file_loses_nothing() {
    let story = Story::new("damaged", 1).await;
    let first = Received::default();
    let consumer = story.start("one", &first).await;
    story.send("a", 10).await;
    story.wait(&first, numbered("a", 10)).await;
    consumer.shutdown().await.unwrap();
    let file = offset_file(&story.folder("one"));
    fs::write(&file, b"{\"offsetTable\":{{\"brok").unwrap();
    assert!(file.with_extension("json.bak").exists());
    story.send("b", 10).await;
    // The backup is older: messages may come twice, and none is lost.
    let second = Received::default();
    let consumer = story.start("one", &second).await;
    second
        .wait(&story.target, "the later ones came", |received| {
            received.bodies().is_superset(&numbered("b", 10))
        })
        .await;
    consumer.shutdown().await.unwrap();
    // The file is whole again.
    story.send("c", 1).await;
    let third = Received::default();
    let consumer = story.start("one", &third).await;
    story.wait(&third, numbered("c", 1)).await;
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn f22_a_folder_that_takes_no_file_is_said_and_stops_nobody() {
    let story = Story::new("occupied", 1).await;
    fs::write(story.folder("one"), b"").unwrap();
    let received = Received::default();
    let consumer = story.start("one", &received).await;
    story.send("m", 5).await;
    story.wait(&received, numbered("m", 5)).await;
    let queues = consumer.assigned_queues();
    let report = consumer.shutdown().await.unwrap();
    assert_eq!((report.uncommitted(), report.unfinished()), (&*queues, 0));
}

#[tokio::test]
async fn a_bc_07_a_second_consumer_of_one_file_does_not_start() {
    let story = Story::new("locked", 1).await;
    let received = Received::default();
    let first = story.start("one", &received).await;
    let error = listen(story.builder("one", "*"), &received)
        .start()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetStore, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("another consumer keeps its offsets there"),
        "{text}"
    );
    first.shutdown().await.unwrap();
    story
        .start("one", &received)
        .await
        .shutdown()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_bc_08_one_listener_at_a_time_gets_a_queue_in_its_order() {
    let story = Story::new("order", 1).await;
    let mut members = Vec::new();
    for name in ["one", "two"] {
        let received = Received::default();
        let builder = listen(story.builder(name, "*"), &received).concurrency(1);
        let builder = builder.consume_from(ConsumeFromWhere::FirstOffset);
        members.push((builder.start().await.unwrap(), received));
    }
    story.send("m", 50).await;
    for (consumer, received) in members {
        story.wait(&received, numbered("m", 50)).await;
        let all = received.all();
        assert!(all.is_sorted_by_key(rocketmq_sdk::MessageExt::queue_offset) && all.len() == 50);
        consumer.shutdown().await.unwrap();
    }
}
