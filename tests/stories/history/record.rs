//! The events of a history, and the recorder that a story's tasks share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::MessageQueue;
use rocketmq_testkit::{Entry, Journal};
use tokio::time::Instant;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Happened {
    /// How many entries the journal had by then. Where two have the same, what our side noted came first.
    pub place: u64,
    /// When, since the history began.
    pub at: Duration,
    pub event: Event,
}

/// Messages are numbered, and have their number for a body; members are numbered, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A send was begun.
    Sending { id: u64 },
    /// It is in a transaction: brokers may ask what became of that, and hear it once more.
    Transacting { id: u64 },
    /// It had its outcome; `late` when that was more than 100 ms after its deadline.
    Sent {
        id: u64,
        outcome: Outcome,
        late: bool,
    },
    /// It failed, and its error says this.
    Failed { id: u64, why: String },
    /// A listener was given a message.
    Delivered {
        member: usize,
        queue: MessageQueue,
        offset: i64,
        id: u64,
    },
    /// The listener ended.
    Consumed {
        member: usize,
        queue: MessageQueue,
        offset: i64,
        id: u64,
        success: bool,
    },
    /// Another call than a send was begun.
    Called { call: u64, what: &'static str },
    /// It returned.
    Returned { call: u64 },
    /// A fault, or a member that comes or goes: what is under way now may come again.
    Fault,
    /// Its end. Sends and listeners have to succeed again within the time.
    Healed { within: Option<Duration> },
    /// What a runtime had before the clients came, and after they had gone.
    Rest {
        tasks_before: usize,
        tasks_after: usize,
    },
    /// Code that is not the story's panicked.
    Panicked { text: String },

    /// A client connected to a node.
    Connected,
    /// A node was asked what is asked again and again.
    Asked(Question),
    /// A member asked for the group's offset in a queue.
    AskedOffset { member: usize, queue: MessageQueue },
    /// It was told.
    ToldOffset {
        member: usize,
        queue: MessageQueue,
        told: Told,
    },
    /// A member was told that it pulls at an offset that is not there.
    Misplaced { member: usize, queue: MessageQueue },
    /// A member pulls.
    Pulls {
        member: usize,
        queue: MessageQueue,
        offset: i64,
    },
    /// It was given messages.
    Given {
        member: usize,
        queue: MessageQueue,
        first: i64,
        count: usize,
        bytes: usize,
    },
    /// A broker took a message back; `told` when the member was told so.
    SentBack {
        queue: MessageQueue,
        offset: i64,
        told: bool,
    },
    /// A member commits.
    Commits {
        member: usize,
        queue: MessageQueue,
        offset: i64,
    },
    /// The broker took it.
    Committed { queue: MessageQueue, offset: i64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged.
    Acked,
    /// An error that says that it was not stored.
    NotStored,
    /// An error that says that it may have been stored.
    Unknown,
    /// Nobody asked, or nobody asks any more.
    Oneway,
    /// A request to which no reply came, or a transaction whose end its broker was not told: nobody knows whether it is there to
    /// consume.
    Unanswered,
    /// Nobody asked, and it was not even written.
    Unwritten,
}

/// What a member was told of the group's offset in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    At(i64),
    /// There is none.
    Nothing,
    /// A fault changed the answer.
    Something,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    Route,
    Members,
    Heartbeat,
}

/// A message in a queue at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    pub queue: MessageQueue,
    pub offset: i64,
    /// Its place in the broker's commit log.
    pub position: i64,
    /// Its unique key, which its copies have, too.
    pub key: Arc<str>,
    pub id: u64,
}

/// What happened, and what the queues of the topic and of the group's retry topic hold at the end.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub events: Vec<Happened>,
    pub log: Vec<Logged>,
    /// Whether brokers' events are among them.
    pub sees_brokers: bool,
    /// What those were made of, for somebody who looks for the cause of a finding.
    pub seen: Vec<Entry>,
}

/// Notes what happens on our side. Clones are handles of one recorder.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    start: Instant,
    journal: Option<Journal>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: Vec<Happened>,
    acked: usize,
    /// Those that no listener has finished.
    unfinished: HashSet<u64>,
    succeeded: HashSet<u64>,
    /// How many messages each member has finished.
    members: HashMap<usize, usize>,
    calls: u64,
}

impl Recorder {
    pub fn new(journal: Option<Journal>) -> Self {
        Self {
            inner: Arc::new(Inner {
                start: Instant::now(),
                journal,
                state: Mutex::default(),
            }),
        }
    }

    pub fn add(&self, event: Event) {
        self.inner.add(&mut self.inner.state.lock(), event);
    }

    /// Notes a call from its beginning to its end.
    pub async fn call<T>(&self, what: &'static str, call: impl Future<Output = T>) -> T {
        let number = {
            let mut state = self.inner.state.lock();
            state.calls += 1;
            let number = state.calls;
            self.inner
                .add(&mut state, Event::Called { call: number, what });
            number
        };
        let result = call.await;
        self.add(Event::Returned { call: number });
        result
    }

    /// How many messages were acknowledged.
    pub fn acked(&self) -> usize {
        self.inner.state.lock().acked
    }

    /// How many different messages were finished.
    pub fn finished(&self) -> usize {
        self.inner.state.lock().succeeded.len()
    }

    /// How many messages a member has finished.
    pub fn finished_by(&self, member: usize) -> usize {
        let state = self.inner.state.lock();
        state.members.get(&member).copied().unwrap_or(0)
    }

    /// How many acknowledged messages no listener has finished yet.
    pub fn unfinished(&self) -> usize {
        self.inner.state.lock().unfinished.len()
    }

    /// Everything that was noted.
    pub fn take(&self) -> Vec<Happened> {
        std::mem::take(&mut self.inner.state.lock().events)
    }
}

impl Inner {
    fn add(&self, state: &mut State, event: Event) {
        match event {
            Event::Sent {
                id,
                outcome: Outcome::Acked,
                ..
            } => {
                state.acked += 1;
                if !state.succeeded.contains(&id) {
                    state.unfinished.insert(id);
                }
            }
            Event::Consumed {
                id,
                member,
                success: true,
                ..
            } => {
                state.succeeded.insert(id);
                state.unfinished.remove(&id);
                *state.members.entry(member).or_default() += 1;
            }
            _ => {}
        }
        state.events.push(Happened {
            // Under the lock, so that places ascend.
            place: self.journal.as_ref().map_or(0, Journal::position),
            at: self.start.elapsed(),
            event,
        });
    }
}
