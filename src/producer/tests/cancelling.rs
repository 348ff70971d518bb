//! Sends that are given up at every await, whichever way they are made: nothing of them is left.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::ways::{Senders, WAYS, Way};
use super::world::{Reply, World};
use crate::error::{Delivery, ErrorKind};
use crate::message::{Message, MessageQueue};
use crate::protocol::code::ResponseCode;

const SECOND: Duration = Duration::from_secs(1);

/// More polls than any send takes.
const POLLS: usize = 100;

/// What a send finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// Nothing is known and nothing is connected.
    Cold,
    Warm,
    /// There is no room for another message, for half a second.
    Full,
    /// The frame does not go into the connection at once.
    Large,
    /// The body is compressed elsewhere.
    Packed,
    /// Brokers are busy at first.
    Busy,
    /// The broker lost the topic: the route is looked up again.
    Lost,
    /// One broker says nothing.
    Silent,
    /// The first broker hangs up.
    Broken,
}

impl Scene {
    fn body(self) -> Vec<u8> {
        let size = match self {
            Self::Large | Self::Packed => 300_000,
            _ => 10,
        };
        vec![b'x'; size]
    }

    /// How a broker answers the messages that it gets, by their number.
    fn reply(self, broker: &str, turn: usize) -> Reply {
        match (self, turn) {
            (Self::Silent, _) if broker == "a" => Reply::Silence,
            (Self::Busy, 0) => Reply::Code(ResponseCode::SYSTEM_BUSY),
            (Self::Lost, 0) if broker == "a" => Reply::Code(ResponseCode::TOPIC_NOT_EXIST),
            (Self::Broken, 0) => Reply::HangUp,
            _ => Reply::StoredAfter(SECOND / 10),
        }
    }
}

/// Polls a future so often, and drops it then: at once, or when it would go on. Whether it was ready.
async fn poll(mut future: BoxFuture<'static, ()>, times: usize, at_once: bool) -> bool {
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match future.poll_unpin(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if left == 0 && at_once => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// One producer in one scene.
struct Stage {
    senders: Senders,
    scene: Scene,
}

impl Stage {
    async fn new(way: Way, scene: Scene) -> Self {
        let world = World::with_brokers(&["a", "b"]);
        let senders = Senders::start(&world, way, |builder| {
            let builder = builder.max_in_flight(if scene == Scene::Full { 2 } else { 100 });
            let builder = match scene {
                Scene::Packed => builder.compression_level(9),
                _ => builder.compress_over(1_000_000),
            };
            match way {
                Way::Parts => builder.max_message_size(scene.body().len() + 200),
                _ => builder,
            }
        });
        let stage = Self {
            senders: senders.await,
            scene,
        };
        if scene != Scene::Cold {
            stage.senders.warm_up().await;
        }
        if scene == Scene::Full {
            stage.fill().await;
        }
        for name in ["a", "b"] {
            world.broker(name, move |turn| scene.reply(name, turn));
        }
        stage
    }

    /// Takes all the room there is, for half a second.
    async fn fill(&self) {
        let senders = &self.senders;
        senders
            .world
            .broker("a", |_| Reply::StoredAfter(SECOND / 2));
        for queue_id in 0..2 {
            let queue = MessageQueue::new("t", "a", queue_id);
            let send = senders.plain().send(Message::new("t", "full")).to(queue);
            senders.others.lock().push(tokio::spawn(send));
        }
        while senders.unfinished() < 2 {
            yield_now().await;
        }
    }

    fn message(&self) -> Message {
        Message::new("t", self.scene.body())
    }

    /// A send that is over when its outcome is known, whichever that is.
    fn begin(&self, way: Way) -> BoxFuture<'static, ()> {
        let sending = self.senders.begin(way, self.message());
        sending.map(drop).boxed()
    }

    /// Nothing is left of the send, at once and when all others are done, and the producer goes on as before.
    async fn check(self, is_over: bool, others_before: usize, what: &str) {
        let Self { senders, .. } = self;
        if !is_over {
            let others = senders.others.lock();
            let going = others.iter().filter(|other| !other.is_finished()).count();
            assert!(senders.unfinished() <= others_before.max(going), "{what}");
        }
        sleep(20 * SECOND).await;
        let others = std::mem::take(&mut *senders.others.lock());
        for other in others {
            other.await.unwrap().unwrap();
        }
        let (called, called_back) = senders.calls();
        assert_eq!(called, called_back, "{what}");
        assert_eq!(senders.unfinished(), 0, "{what}");
        assert_eq!(senders.producer.open_transactions(), 0, "{what}");
        assert_eq!(senders.pending(), (0, 0), "{what}");
        for name in ["a", "b"] {
            senders.world.broker(name, |_| Reply::Stored);
        }
        senders.warm_up().await;
        let report = senders.producer.shutdown().await.unwrap();
        assert_eq!(report.unfinished(), 0, "{what}");
        sleep(SECOND).await;
        let left = (senders.world.connections(), senders.world.torn());
        assert_eq!(left, (0, 0), "{what}");
    }
}

async fn give_up_everywhere(scene: Scene) {
    for (way, at_once) in WAYS.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let mut times = 0;
        loop {
            let what = format!("{way:?} in {scene:?}, dropped after {times} polls");
            let before = Handle::current().metrics().num_alive_tasks();
            let stage = Stage::new(way, scene).await;
            let others = stage.senders.others.lock().len();
            let is_ready = poll(stage.begin(way), times, at_once).await;
            // A request whose reply came before it was acknowledged is handed over then.
            let is_over = is_ready || way.is_handed_over();
            stage.check(is_over, others, &what).await;
            sleep(SECOND).await;
            let after = Handle::current().metrics().num_alive_tasks();
            assert_eq!(after, before, "{what}");
            if is_ready {
                break;
            }
            times += 1;
            assert!(times < POLLS, "{what}");
        }
        // Some are over at once in some scenes, but none is over before it is polled.
        assert!(times > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn f37_a_send_that_is_given_up_anywhere_leaves_nothing_when_nothing_was_known() {
    give_up_everywhere(Scene::Cold).await;
}

#[tokio::test(start_paused = true)]
async fn f37_a_send_that_is_given_up_anywhere_leaves_nothing() {
    give_up_everywhere(Scene::Warm).await;
}

#[tokio::test(start_paused = true)]
async fn f37_a_send_that_is_given_up_while_it_waits_for_room_leaves_nothing() {
    give_up_everywhere(Scene::Full).await;
}

#[tokio::test(start_paused = true)]
async fn f37_a_send_that_is_given_up_while_it_is_written_leaves_no_half_frame() {
    give_up_everywhere(Scene::Large).await;
}

#[tokio::test(start_paused = true)]
async fn f37_a_send_that_is_given_up_while_it_is_compressed_leaves_nothing() {
    give_up_everywhere(Scene::Packed).await;
}

#[tokio::test(start_paused = true)]
async fn f37_a_send_that_is_given_up_between_attempts_leaves_nothing() {
    give_up_everywhere(Scene::Busy).await;
}

#[tokio::test(start_paused = true)]
async fn f37_a_send_that_is_given_up_while_it_looks_for_another_queue_leaves_nothing() {
    give_up_everywhere(Scene::Lost).await;
}

#[tokio::test(start_paused = true)]
async fn f37_a_send_that_is_given_up_while_a_broker_says_nothing_leaves_nothing() {
    give_up_everywhere(Scene::Silent).await;
}

#[tokio::test(start_paused = true)]
async fn f37_a_send_that_is_given_up_while_connections_break_leaves_nothing() {
    give_up_everywhere(Scene::Broken).await;
}

/// What was handed over has its outcome exactly once, wherever the end of its producer is dropped; the next call goes on with it.
#[tokio::test(start_paused = true)]
async fn f35_f37_an_end_of_a_producer_that_is_dropped_anywhere_goes_on() {
    let mut times = 0;
    loop {
        let what = format!("dropped after {times} polls");
        let before = Handle::current().metrics().num_alive_tasks();
        let stage = Stage::new(Way::AutoLast, Scene::Warm).await;
        let receipt = stage.senders.plain().submit(stage.message()).await.unwrap();
        let mut handed_over = Vec::new();
        for way in [
            Way::Callback,
            Way::Request,
            Way::Transaction,
            Way::AutoLast,
            Way::Batch,
        ] {
            handed_over.push(tokio::spawn(stage.begin(way)));
        }
        yield_now().await;
        let producer = stage.senders.producer.clone();
        let end = {
            let producer = producer.clone();
            async move { drop(producer.shutdown().await) }
        };
        let is_ready = poll(end.boxed(), times, false).await;
        assert_eq!(producer.shutdown().await.unwrap().unfinished(), 0, "{what}");
        receipt.await.unwrap();
        for over in handed_over {
            over.await.unwrap();
        }
        assert_eq!(stage.senders.calls(), (1, 1), "{what}");
        let error = producer.plain().send(stage.message()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Closed, Delivery::No)
        );
        drop(producer);
        drop(stage);
        sleep(SECOND).await;
        let after = Handle::current().metrics().num_alive_tasks();
        assert_eq!(after, before, "{what}");
        if is_ready {
            break;
        }
        times += 1;
        assert!(times < POLLS, "{what}");
    }
    assert!(times > 1);
}
