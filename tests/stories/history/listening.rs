//! The listener of a trial's members: notes what it is given and how it ends, and does what the story says.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::{ConsumeResult, DefaultProducer, MessageExt, PushConsumer};
use tokio::time::sleep;

use super::record::{Event, Recorder};

/// What a listener does with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Succeed,
    SucceedAfter(Duration),
    Later,
    Fail,
    Panic,
    /// It has done its work, and something that it held panics when it is dropped.
    PanicInDrop,
    /// It never ends.
    Hang,
    /// It ends its own member, and waits for that.
    End,
}

#[derive(Clone)]
pub struct Listening {
    pub recorder: Recorder,
    pub member: usize,
    /// Whether the member lives: nobody hears what one does that was killed.
    pub alive: Arc<AtomicBool>,
    pub act: Arc<dyn Fn(&MessageExt) -> Act + Send + Sync>,
    pub consumer: Slot,
    pub replier: Replier,
}

/// Where a member's consumer is, while somebody holds it.
pub type Slot = Arc<Mutex<Option<PushConsumer>>>;

/// Who replies to requests, while there is anybody.
pub type Replier = Arc<Mutex<Option<DefaultProducer>>>;

impl Listening {
    pub async fn listen(self, messages: Vec<MessageExt>) -> ConsumeResult {
        let act = (self.act)(&messages[0]);
        for message in &messages {
            let (member, queue, offset, id) = self.about(message);
            self.note(Event::Delivered {
                member,
                queue,
                offset,
                id,
            });
        }
        match act {
            Act::Succeed => {}
            Act::SucceedAfter(time) => sleep(time).await,
            Act::Hang => pending().await,
            Act::End => self.end().await,
            Act::Later | Act::Fail | Act::Panic | Act::PanicInDrop => {
                self.ended(&messages, false);
                return fail(act);
            }
        }
        self.reply(&messages);
        self.ended(&messages, true);
        ConsumeResult::success()
    }

    /// Replies to the requests among the messages. Nobody waits for that, and whoever asked may wait in vain.
    fn reply(&self, messages: &[MessageExt]) {
        let Some(replier) = self.replier.lock().clone() else {
            return;
        };
        for request in messages.iter().filter(|message| message.is_request()) {
            tokio::spawn(replier.reply(request, "a reply"));
        }
    }

    async fn end(&self) {
        let consumer = self.consumer.lock().clone();
        if let Some(consumer) = consumer {
            // It waits for itself, and is dropped after a while.
            let _ = consumer.shutdown().await;
        }
    }

    fn ended(&self, messages: &[MessageExt], success: bool) {
        for message in messages {
            let (member, queue, offset, id) = self.about(message);
            self.note(Event::Consumed {
                member,
                queue,
                offset,
                id,
                success,
            });
        }
    }

    fn about(&self, message: &MessageExt) -> (usize, rocketmq_sdk::MessageQueue, i64, u64) {
        let (queue, offset) = (message.queue().clone(), message.queue_offset());
        (self.member, queue, offset, id(message.body()))
    }

    fn note(&self, event: Event) {
        if self.alive.load(Ordering::SeqCst) {
            self.recorder.add(event);
        }
    }
}

fn fail(act: Act) -> ConsumeResult {
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in drop, on purpose");
        }
    }

    match act {
        Act::Panic => panic!("on purpose"),
        Act::PanicInDrop => {
            let _bomb = Bomb;
            ConsumeResult::success()
        }
        Act::Fail => ConsumeResult::from(Err("on purpose".into())),
        _ => ConsumeResult::later(),
    }
}

/// The number that a message has for its body.
pub fn id(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).expect("a number");
    text.parse().expect("a number")
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listening({})", self.member)
    }
}
