//! Sends that are given up at every await, whichever way they are made: nothing of them is left.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::sleep;

use super::requesting::reply;
use super::world::{NAME_SERVER, Reply, World};
use crate::config::ClientConfig;
use crate::error::{Delivery, ErrorKind, Result};
use crate::message::{Message, MessageQueue};
use crate::producer::{DefaultProducer, TransactionProducer, TransactionState};
use crate::protocol::code::ResponseCode;
use crate::protocol::message::RecallHandle;

const SECOND: Duration = Duration::from_secs(1);

/// More polls than any send takes.
const POLLS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Send,
    ToQueue,
    Key,
    Selector,
    Submit,
    Receipt,
    Callback,
    Oneway,
    Batch,
    Parts,
    /// The first of an automatic batch's lane, and one behind another.
    AutoFirst,
    AutoLast,
    Request,
    Transaction,
    Recall,
    Queues,
}

const WAYS: [Way; 16] = [
    Way::Send,
    Way::ToQueue,
    Way::Key,
    Way::Selector,
    Way::Submit,
    Way::Receipt,
    Way::Callback,
    Way::Oneway,
    Way::Batch,
    Way::Parts,
    Way::AutoFirst,
    Way::AutoLast,
    Way::Request,
    Way::Transaction,
    Way::Recall,
    Way::Queues,
];

impl Way {
    /// Whether the producer goes on with it when its future is dropped.
    const fn is_handed_over(self) -> bool {
        matches!(self, Self::Submit | Self::Receipt | Self::Callback)
    }
}

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

type Sending = JoinHandle<Result<crate::producer::SendResult>>;

/// One producer in one scene, and what is sent beside the send that is given up.
struct Stage {
    world: Arc<World>,
    producer: TransactionProducer,
    scene: Scene,
    others: Arc<Mutex<Vec<Sending>>>,
    /// How often callbacks were called, and how often they should have been.
    called: Arc<AtomicUsize>,
    called_back: Arc<AtomicUsize>,
}

impl Stage {
    async fn new(way: Way, scene: Scene) -> Self {
        let world = World::with_brokers(&["a", "b"]);
        let producer = TransactionProducer::builder("g")
            .config(ClientConfig::default().name_server(NAME_SERVER))
            .environment(world.environment())
            .producer(|builder| {
                let builder = builder.max_in_flight(if scene == Scene::Full { 2 } else { 100 });
                let builder = match scene {
                    Scene::Packed => builder.compression_level(9),
                    _ => builder.compress_over(1_000_000),
                };
                match way {
                    Way::AutoFirst | Way::AutoLast => builder.auto_batch(),
                    Way::Parts => builder.max_message_size(scene.body().len() + 200),
                    _ => builder,
                }
            })
            .check(|_| async { TransactionState::Unknown });
        let producer = producer.start().await.unwrap();
        if scene != Scene::Cold {
            for queue in producer.plain().queues("t").await.unwrap() {
                let send = producer.plain().send(Message::new("t", "warm")).to(queue);
                send.await.unwrap();
            }
        }
        let stage = Self {
            world,
            producer,
            scene,
            others: Arc::default(),
            called: Arc::default(),
            called_back: Arc::default(),
        };
        if scene == Scene::Full {
            stage.fill().await;
        }
        for name in ["a", "b"] {
            let reply = move |turn| scene.reply(name, turn);
            stage.world.broker(name, reply);
        }
        stage
    }

    fn plain(&self) -> &DefaultProducer {
        self.producer.plain()
    }

    /// Takes all the room there is, for half a second.
    async fn fill(&self) {
        self.world.broker("a", |_| Reply::StoredAfter(SECOND / 2));
        for queue_id in 0..2 {
            let queue = MessageQueue::new("t", "a", queue_id);
            let send = self.plain().send(Message::new("t", "full")).to(queue);
            self.others.lock().push(tokio::spawn(send));
        }
        while self.plain().shared.unfinished() < 2 {
            yield_now().await;
        }
    }

    fn unfinished(&self) -> usize {
        self.plain().shared.unfinished()
    }

    fn message(&self) -> Message {
        Message::new("t", self.scene.body())
    }

    /// Another message, which nobody gives up.
    fn other(&self) -> impl FnOnce() + Send + use<> {
        let (producer, others) = (self.plain().clone(), Arc::clone(&self.others));
        move || {
            let send = producer
                .send(Message::new("t", "other"))
                .timeout(10 * SECOND);
            others.lock().push(tokio::spawn(send));
        }
    }

    /// A send that is over when its outcome is known, whichever that is.
    fn begin(&self, way: Way) -> BoxFuture<'static, ()> {
        let (transacting, producer) = (self.producer.clone(), self.plain().clone());
        let message = self.message();
        let three = vec![message.clone(), message.clone(), message.clone()];
        match way {
            Way::Send => producer.send(message).map(drop).boxed(),
            Way::ToQueue => {
                let queue = MessageQueue::new("t", "a", 1);
                producer.send(message).to(queue).map(drop).boxed()
            }
            Way::Key => producer.send(message).sharding_key("k").map(drop).boxed(),
            Way::Selector => {
                let send = producer.send(message).select(|queues, _| queues.len() - 1);
                send.map(drop).boxed()
            }
            Way::Submit => producer.submit(message).map(drop).boxed(),
            Way::Receipt => async move {
                if let Ok(receipt) = producer.submit(message).await {
                    drop(receipt.await);
                }
            }
            .boxed(),
            Way::Callback => self.call_back(producer, message),
            Way::Oneway => producer.send_oneway(message).map(drop).boxed(),
            Way::Batch => producer.send_batch(three).map(drop).boxed(),
            Way::Parts => producer.send_batch(three).split().map(drop).boxed(),
            Way::AutoFirst | Way::AutoLast => self.among_others(way, producer, message),
            Way::Request => self.request(&producer, message),
            Way::Transaction => transacting
                .send_in_transaction(message, |_| async {
                    sleep(SECOND / 100).await;
                    TransactionState::Commit
                })
                .map(drop)
                .boxed(),
            Way::Recall => {
                let handle = RecallHandle {
                    topic: "t".to_owned(),
                    broker_name: "a".to_owned(),
                    deliver_millis: "1700000000001".to_owned(),
                    message_id: "ID".to_owned(),
                };
                let handle = handle.encode();
                async move { drop(producer.recall(&handle).await) }.boxed()
            }
            Way::Queues => async move { drop(producer.queues("u").await) }.boxed(),
        }
    }

    fn call_back(&self, producer: DefaultProducer, message: Message) -> BoxFuture<'static, ()> {
        let (called, called_back) = (Arc::clone(&self.called), Arc::clone(&self.called_back));
        async move {
            let (sender, over) = oneshot::channel();
            called.fetch_add(1, Ordering::SeqCst);
            producer.send_callback(message, move |_| {
                called_back.fetch_add(1, Ordering::SeqCst);
                let _ = sender.send(());
            });
            drop(over.await);
        }
        .boxed()
    }

    fn among_others(
        &self,
        way: Way,
        producer: DefaultProducer,
        message: Message,
    ) -> BoxFuture<'static, ()> {
        let (one, two) = (self.other(), self.other());
        async move {
            one();
            if way == Way::AutoLast {
                // The other goes first.
                yield_now().await;
            }
            two();
            drop(producer.send(message).await);
        }
        .boxed()
    }

    /// A request, and somebody who replies to it.
    fn request(&self, producer: &DefaultProducer, message: Message) -> BoxFuture<'static, ()> {
        let (asking, world) = (producer.request(message), Arc::clone(&self.world));
        let is_reachable = self.scene != Scene::Broken;
        async move {
            let replying = async {
                loop {
                    sleep(SECOND / 20).await;
                    let id = world
                        .sent()
                        .iter()
                        .find_map(|sent| sent.property("CORRELATION_ID"));
                    // Brokers store before they answer: the reply comes when the request was acknowledged, in most scenes.
                    if let Some(id) = id.filter(|_| is_reachable) {
                        sleep(SECOND / 5).await;
                        reply(&world, &id, "!");
                        break std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                biased;
                _ = asking => {}
                () = replying => {}
            }
        }
        .boxed()
    }

    /// Nothing is left of the send, at once and when all others are done, and the producer goes on as before.
    async fn check(self, is_over: bool, others_before: usize, what: &str) {
        if !is_over {
            let others = self.others.lock();
            let going = others.iter().filter(|other| !other.is_finished()).count();
            assert!(self.unfinished() <= others_before.max(going), "{what}");
        }
        sleep(20 * SECOND).await;
        let others = std::mem::take(&mut *self.others.lock());
        for other in others {
            other.await.unwrap().unwrap();
        }
        let [called, called_back] =
            [&self.called, &self.called_back].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(called, called_back, "{what}");
        assert_eq!(self.unfinished(), 0, "{what}");
        assert_eq!(self.producer.open_transactions(), 0, "{what}");
        let client = &self.plain().shared.client;
        assert_eq!(
            (client.replies().waiting(), client.pending_calls()),
            (0, 0),
            "{what}"
        );
        for name in ["a", "b"] {
            self.world.broker(name, |_| Reply::Stored);
        }
        for queue in self.plain().queues("t").await.unwrap() {
            let send = self.plain().send(Message::new("t", "next")).to(queue);
            send.await.unwrap();
        }
        let report = self.producer.shutdown().await.unwrap();
        assert_eq!(report.unfinished(), 0, "{what}");
        sleep(SECOND).await;
        assert_eq!(
            (self.world.connections(), self.world.torn()),
            (0, 0),
            "{what}"
        );
    }
}

async fn give_up_everywhere(scene: Scene) {
    for (way, at_once) in WAYS.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let mut times = 0;
        loop {
            let what = format!("{way:?} in {scene:?}, dropped after {times} polls");
            let before = Handle::current().metrics().num_alive_tasks();
            let stage = Stage::new(way, scene).await;
            let others = stage.others.lock().len();
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
        let receipt = stage.plain().submit(stage.message()).await.unwrap();
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
        let producer = stage.producer.clone();
        let end = async move { drop(producer.shutdown().await) };
        let is_ready = poll(end.boxed(), times, false).await;
        assert_eq!(
            stage.producer.shutdown().await.unwrap().unfinished(),
            0,
            "{what}"
        );
        receipt.await.unwrap();
        for over in handed_over {
            over.await.unwrap();
        }
        let [called, called_back] =
            [&stage.called, &stage.called_back].map(|count| count.load(Ordering::SeqCst));
        assert_eq!((called, called_back), (1, 1), "{what}");
        let error = stage.plain().send(stage.message()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Closed, Delivery::No)
        );
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
