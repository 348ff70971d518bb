//! Members that join, leave and are killed while messages come.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmq_sdk::{
    Client, ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, PushConsumer,
};
use tokio::time::sleep;

use crate::received::{Received, numbered, wait_until};
use crate::target::Target;

const QUEUES: usize = 8;

/// A group, and everything that was sent to it.
struct Story {
    target: Target,
    topic: String,
    group: String,
    producer: DefaultProducer,
    received: Received,
    sent: usize,
}

/// A member on a client of its own, which can be killed.
struct Joined {
    client: Client,
    consumer: PushConsumer,
    received: Received,
}

impl Story {
    async fn new(name: &str) -> Self {
        let target = Target::shared().await;
        Self {
            topic: target.topic(name, QUEUES as i32).await,
            group: target.name(name),
            producer: target.producer().await,
            target,
            received: Received::default(),
            sent: 0,
        }
    }

    async fn join(&self) -> Joined {
        let client = Client::builder().name_server(self.target.name_server());
        let client = client.start().await.unwrap();
        let received = Received::default();
        let state = (self.received.clone(), received.clone());
        let consumer = PushConsumer::builder(&*self.group)
            .client(&client)
            .subscribe(&*self.topic, "*")
            .consume_from(ConsumeFromWhere::FirstOffset)
            .listener_with(state, |(all, own), messages| async move {
                all.add(messages.clone());
                own.add(messages);
                ConsumeStatus::CONSUME_SUCCESS
            });
        Joined {
            consumer: consumer.start().await.unwrap(),
            client,
            received,
        }
    }

    /// Sends so many messages to the queues in turn.
    async fn send(&mut self, count: usize) {
        for _ in 0..count {
            let queue = self.sent % QUEUES;
            let message = Message::new(&*self.topic, format!("m{}", self.sent));
            let send = self.producer.send(message);
            send.select(move |_, _| queue).await.unwrap();
            self.sent += 1;
        }
    }

    /// Sends until every one of these members got something of it.
    async fn send_until_each_has_some(&mut self, members: &[&Joined]) {
        let before: Vec<_> = members.iter().map(|one| one.received.count()).collect();
        for _ in 0..500 {
            self.send(QUEUES).await;
            sleep(Duration::from_millis(50)).await;
            let mut counts = members.iter().zip(&before);
            if counts.all(|(member, before)| member.received.count() > *before) {
                return;
            }
        }
        panic!("some members got nothing");
    }

    /// Waits until everything that was sent has come.
    async fn all_came(&self) {
        let all = numbered("m", self.sent);
        self.received
            .wait(&self.target, "everything came", |received| {
                received.bodies() == all
            })
            .await;
    }

    /// Waits until each of these members has its equal share.
    async fn shared(&self, members: &[&Joined]) {
        let share = QUEUES / members.len();
        wait_until(&self.target, "the queues are shared", || {
            let queues: Vec<_> = members.iter().map(|one| self.queues(one)).collect();
            let all: BTreeSet<_> = queues.iter().flatten().collect();
            all.len() == QUEUES && queues.iter().all(|queues| queues.len() == share)
        })
        .await;
    }

    fn queues(&self, member: &Joined) -> BTreeSet<i32> {
        let queues = member.consumer.assigned_queues().into_iter();
        let own = queues.filter(|queue| *queue.topic == *self.topic);
        own.map(|queue| queue.queue_id).collect()
    }

    async fn end(self, members: Vec<Joined>) {
        for member in members {
            member.consumer.shutdown().await.unwrap();
            member.client.shutdown().await;
        }
        self.producer.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_rb_03_one_and_then_two_join_while_messages_come() {
    let mut story = Story::new("join").await;
    let mut members = vec![story.join().await];
    for joining in [1, 2] {
        for _ in 0..joining {
            members.push(story.join().await);
        }
        story
            .send_until_each_has_some(&members.iter().collect::<Vec<_>>())
            .await;
    }
    story.all_came().await;
    story.shared(&members.iter().collect::<Vec<_>>()).await;
    story.end(members).await;
}

#[tokio::test]
async fn a_rb_04_one_and_then_two_are_killed_while_messages_come() {
    let mut story = Story::new("kill").await;
    let mut members = Vec::new();
    for _ in 0..4 {
        members.push(story.join().await);
    }
    story
        .send_until_each_has_some(&members.iter().collect::<Vec<_>>())
        .await;
    for killed in [1, 2] {
        for _ in 0..killed {
            members.remove(0).client.shutdown().await;
            story.send(QUEUES).await;
        }
    }
    story.all_came().await;
    story.shared(&[&members[0]]).await;
    story.end(members).await;
}

#[tokio::test]
async fn a_rb_05_one_joins_and_one_is_killed() {
    let mut story = Story::new("both").await;
    let mut members = vec![story.join().await, story.join().await];
    story.send(5 * QUEUES).await;
    members.push(story.join().await);
    members.remove(0).client.shutdown().await;
    story
        .send_until_each_has_some(&members.iter().collect::<Vec<_>>())
        .await;
    story.all_came().await;
    story.shared(&[&members[0], &members[1]]).await;
    story.end(members).await;
}

#[tokio::test]
async fn a_rb_06_four_two_and_four_members_have_fair_shares() {
    let mut story = Story::new("fair").await;
    let mut members = Vec::new();
    for count in [4, 2, 4] {
        while members.len() < count {
            members.push(story.join().await);
        }
        while members.len() > count {
            let member: Joined = members.remove(0);
            member.consumer.shutdown().await.unwrap();
            member.client.shutdown().await;
        }
        story.shared(&members.iter().collect::<Vec<_>>()).await;
        let sent = story.sent;
        story.send(240).await;
        story.all_came().await;
        // What came before may come again when its queue changes hands.
        let new: BTreeSet<_> = (sent..story.sent).map(|at| format!("m{at}")).collect();
        for member in &members {
            let share = member.received.bodies().intersection(&new).count();
            let fair = 240 / count;
            assert!(
                share.abs_diff(fair) <= fair / 4,
                "{share} of 240 for {count}"
            );
        }
    }
    story.end(members).await;
}

#[tokio::test]
async fn a_rb_08_three_members_together_get_exactly_what_was_sent() {
    let mut story = Story::new("exact").await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(story.join().await);
    }
    wait_until(&story.target, "every queue has one owner", || {
        let all = members.iter().flat_map(|one| story.queues(one));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        // Two of them may share everything before they hear of the third.
        let shared = members.iter().all(|one| story.queues(one).len() >= 2);
        shared && all == (0..QUEUES as i32).collect::<Vec<_>>()
    })
    .await;
    story.send(300).await;
    story.all_came().await;
    assert_eq!(story.received.count(), 300);
    story.end(members).await;
}
