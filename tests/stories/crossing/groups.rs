//! Members of ours and of Java's in one group, under load: whoever comes or goes, and however, nothing is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmq_sdk::MessageQueue;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::history::{Foreign, Trial, id};
use crate::java::Java;
use crate::target::{PATIENCE, Target};

const QUEUES: i32 = 8;

/// The pause after each send of each of the ways to send.
const PAUSE: Duration = Duration::from_millis(40);

/// How many messages of each member show that it gets some again.
const SOME: usize = 10;

/// A group, and who lives in it.
struct Mixed {
    trial: Trial,
    ours: Vec<usize>,
    theirs: Vec<Theirs>,
}

/// A member in a process of Java's.
struct Theirs {
    member: usize,
    name: &'static str,
}

impl Mixed {
    async fn ours_joins(&mut self) -> usize {
        self.trial.fault();
        let member = self.trial.join().await;
        self.ours.push(member);
        member
    }

    async fn theirs_joins(&mut self, java: &mut Java, name: &'static str) {
        self.trial.fault();
        let (member, foreign) = self.trial.join_foreign();
        let hears = move |message: &Value| note(&foreign, message);
        let (group, topic) = (&self.trial.group, &self.trial.topic);
        java.consume_heard(name, group, topic, hears).await;
        self.theirs.push(Theirs { member, name });
    }

    async fn ours_leaves(&mut self, member: usize) {
        self.trial.fault();
        self.trial.leave(member).await;
        self.ours.retain(|lives| *lives != member);
    }

    async fn theirs_leaves(&mut self, java: &mut Java, name: &str) {
        self.trial.fault();
        java.ask("stop", json!({"as": name})).await;
        self.theirs.retain(|lives| lives.name != name);
    }

    fn ours_is_killed(&mut self, member: usize) {
        self.trial.fault();
        self.trial.kill(member);
        self.ours.retain(|lives| *lives != member);
    }

    async fn theirs_are_killed(&mut self, java: Java) {
        self.trial.fault();
        java.kill().await;
        self.theirs.clear();
    }

    /// Waits until the change is over: those who live share the queues out, and each is given messages.
    async fn goes_on(&self, java: Option<&mut Java>) {
        self.share(java).await;
        self.trial.healed();
        let theirs = self.theirs.iter().map(|theirs| theirs.member);
        let members: Vec<_> = self.ours.iter().copied().chain(theirs).collect();
        let goals = members.iter().map(|&member| self.trial.finished_by(member));
        let goals: Vec<_> = goals.map(|before| before + SOME).collect();
        let each = || {
            let mut goals = members.iter().zip(&goals);
            goals.all(|(&member, &goal)| self.trial.finished_by(member) >= goal)
        };
        self.trial.wait("each is given messages", each).await;
    }

    /// Waits until every queue has one owner, and nobody has two more than another.
    async fn share(&self, mut java: Option<&mut Java>) {
        let until = Instant::now() + PATIENCE;
        loop {
            let ours = self.ours.iter().map(|&member| self.trial.queues(member));
            let mut shares: Vec<_> = ours.collect();
            if let Some(java) = &mut java {
                for theirs in &self.theirs {
                    shares.push(queues(java, theirs.name, &self.trial.topic).await);
                }
            }
            let all: BTreeSet<_> = shares.iter().flatten().copied().collect();
            let mut counts: Vec<_> = shares.iter().map(BTreeSet::len).collect();
            counts.sort_unstable();
            let is_fair = counts[counts.len() - 1] - counts[0] <= 1;
            let has_one_owner = counts.iter().sum::<usize>() == QUEUES as usize;
            if all == (0..QUEUES).collect() && has_one_owner && is_fair {
                return;
            }
            assert!(Instant::now() < until, "not shared out: {shares:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The queues that a member of Java's has.
async fn queues(java: &mut Java, name: &str, topic: &str) -> BTreeSet<i32> {
    let queues = java.ask("queues", json!({"as": name, "topic": topic}));
    serde_json::from_value(queues.await).expect("numbers")
}

/// What Java says of a message that it has handled.
fn note(foreign: &Foreign, message: &Value) {
    let text = |name: &str| message[name].as_str().expect("a text").to_owned();
    let number = |name: &str| message[name].as_i64().expect("a number");
    let queue = MessageQueue::new(text("topic"), text("brokerName"), number("queueId") as i32);
    let body = of_hex(&text("body"));
    foreign.finished(queue, number("queueOffset"), id(&body));
}

fn of_hex(text: &str) -> Vec<u8> {
    let bytes = (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16));
    bytes.collect::<Result<_, _>>().expect("hexadecimal")
}

#[tokio::test]
async fn members_of_ours_and_of_java_s_come_and_go_under_load_and_nothing_is_lost() {
    let target = Target::shared().await;
    let Some(mut java) = Java::start(&target, &[]).await else {
        return;
    };
    let version = target.java_version().expect("a release");
    let mut mixed = Mixed {
        trial: Trial::begin(target, "mixed_load", QUEUES).await,
        ours: Vec::new(),
        theirs: Vec::new(),
    };
    mixed.trial.load(PAUSE).await;
    let first = mixed.ours_joins().await;
    mixed.goes_on(None).await;
    mixed.theirs_joins(&mut java, "one").await;
    mixed.goes_on(Some(&mut java)).await;
    let second = mixed.ours_joins().await;
    mixed.goes_on(Some(&mut java)).await;
    mixed.theirs_joins(&mut java, "two").await;
    mixed.goes_on(Some(&mut java)).await;
    mixed.ours_leaves(first).await;
    mixed.goes_on(Some(&mut java)).await;
    mixed.theirs_leaves(&mut java, "one").await;
    mixed.goes_on(Some(&mut java)).await;
    mixed.ours_is_killed(second);
    mixed.goes_on(Some(&mut java)).await;
    mixed.ours_joins().await;
    mixed.goes_on(Some(&mut java)).await;
    mixed.theirs_are_killed(java).await;
    mixed.goes_on(None).await;
    let mut java = Java::launch(&version, mixed.trial.target.name_server(), &[]).await;
    mixed.theirs_joins(&mut java, "three").await;
    mixed.goes_on(Some(&mut java)).await;
    let mut trial = mixed.trial;
    trial.settle().await;
    java.shutdown().await;
    let report = trial.end().await;
    assert_eq!(report.failed, 0, "{report:?}");
}
