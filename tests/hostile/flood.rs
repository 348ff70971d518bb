//! Brokers that talk without being asked, and do not listen.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::BytesMut;
use parking_lot::Mutex;
use rocketmq_sdk::ErrorKind;
use rocketmq_sdk::environment::{ByteStream, Environment};
use rocketmq_sdk::protocol::code::{RequestCode, ResponseCode};
use rocketmq_sdk::protocol::command::{Head, Serialization};
use rocketmq_sdk::protocol::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::world::{SECOND, Used, World, alone, queue_a, queue_b, send, together};

/// What brokers ask of clients: CHECK_TRANSACTION_STATE, NOTIFY_CONSUMER_IDS_CHANGED, RESET_CONSUMER_CLIENT_OFFSET,
/// GET_CONSUMER_STATUS_FROM_CLIENT, GET_CONSUMER_RUNNING_INFO, CONSUME_MESSAGE_DIRECTLY, PUSH_REPLY_MESSAGE_TO_CLIENT.
const CALLBACKS: [i32; 7] = [39, 40, 220, 221, 307, 309, 326];

/// Another peer at the address of `broker-a`.
#[derive(Debug)]
struct Impostor {
    others: Arc<dyn Environment>,
    addr: String,
    peer: Arc<Peer>,
    codes: Vec<i32>,
}

#[derive(Debug, Default)]
struct Peer {
    /// What it says first.
    greeting: &'static [u8],
    connections: AtomicU64,
    /// How many requests it got rid of.
    asked: AtomicU64,
    /// Whether it reads what it is answered.
    reads: bool,
    /// The codes that it was answered.
    answers: Mutex<Vec<(i32, ResponseCode)>>,
    ended: Notify,
}

#[async_trait::async_trait]
impl Environment for Impostor {
    async fn connect(&self, addr: &str) -> io::Result<Box<dyn ByteStream>> {
        if addr != self.addr {
            return self.others.connect(addr).await;
        }
        let (near, far) = duplex(64 * 1024);
        tokio::spawn(Arc::clone(&self.peer).talk(far, self.codes.clone()));
        Ok(Box::new(near))
    }

    fn now(&self) -> SystemTime {
        self.others.now()
    }
}

impl Peer {
    /// Sends requests, whatever it is asked itself.
    async fn talk(self: Arc<Self>, stream: DuplexStream, codes: Vec<i32>) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let (mut reader, mut writer) = tokio::io::split(stream);
        let asking = async {
            if writer.write_all(self.greeting).await.is_err() {
                return;
            }
            for (opaque, code) in codes.iter().enumerate() {
                let head = Head::request(RequestCode(*code), opaque as i32);
                if writer.write_all(&request(&head)).await.is_err() {
                    return;
                }
                self.asked.fetch_add(1, Ordering::SeqCst);
            }
            // The end of the connection shows when it is written to.
            let head = Head::request(RequestCode(9_999), -1).oneway();
            while writer.write_all(&request(&head)).await.is_ok() {
                tokio::time::sleep(SECOND).await;
            }
        };
        let listening = async {
            let mut input = BytesMut::new();
            while self.reads
                && reader
                    .read_buf(&mut input)
                    .await
                    .is_ok_and(|count| count > 0)
            {
                while let Some(command) = frame::decode(&mut input).unwrap() {
                    if command.head.is_response() {
                        let code = codes[command.head.opaque as usize];
                        self.answers.lock().push((code, command.response_code()));
                    }
                }
            }
        };
        tokio::join!(asking, listening);
        self.ended.notify_one();
    }
}

fn request(head: &Head) -> BytesMut {
    let mut out = BytesMut::new();
    frame::encode_with(&mut out, Serialization::Json, head, None, 0, |fields| {
        fields.put("topic", "t");
        fields.put("group", "senders");
        fields.put("consumerGroup", "senders");
    })
    .unwrap();
    out
}

fn world(world: World, peer: &Arc<Peer>, codes: &[i32]) -> World {
    let addr = world.cluster.broker("broker-a").addr().to_owned();
    world.within(|others| Impostor {
        others,
        addr,
        peer: Arc::clone(peer),
        codes: codes.to_vec(),
    })
}

#[test]
fn f43_a_broker_that_asks_without_end_and_never_reads_is_given_up() {
    alone(async {
        const REQUESTS: usize = 100_000;
        let peer = Arc::<Peer>::default();
        let codes: Vec<_> = (0..REQUESTS as i32)
            .map(|at| CALLBACKS[at as usize % CALLBACKS.len()])
            .collect();
        let world = world(World::with_short_journal().await, &peer, &codes);
        let producer = world.producer().await;
        send(&producer, queue_b(), "before").await.unwrap();
        let used = Used::from_now();
        let (start, wall) = (Instant::now(), std::time::Instant::now());
        let (lost, ()) = tokio::join!(send(&producer, queue_a(), "m"), peer.ended.notified());
        let error = lost.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        println!(
            "{} asked, {REQUESTS} requests in {:?}, given up after {:?}",
            peer.asked.load(Ordering::SeqCst),
            wall.elapsed(),
            start.elapsed()
        );
        assert!(peer.asked.load(Ordering::SeqCst) >= REQUESTS as u64);
        assert!((29 * SECOND..40 * SECOND).contains(&start.elapsed()));
        used.assert_at_most("a flood of requests", 16 << 20);
        send(&producer, queue_b(), "after").await.unwrap();
        producer.shutdown().await.unwrap();
    });
}

#[test]
fn f43_what_a_client_does_not_serve_is_answered_so() {
    together(async {
        let codes: Vec<_> = (0..1_000)
            .filter(|code| !CALLBACKS.contains(code))
            .collect();
        let peer = Arc::new(Peer {
            reads: true,
            ..Peer::default()
        });
        let world = world(World::new().await, &peer, &codes);
        let producer = world.producer().await;
        send(&producer, queue_a(), "m").await.unwrap_err();
        producer.shutdown().await.unwrap();
        let answers = peer.answers.lock();
        assert!(answers.iter().map(|answer| answer.0).eq(codes));
        let others = answers
            .iter()
            .find(|answer| answer.1 != ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
        assert_eq!(others, None);
    });
}

#[test]
fn f17_garbage_right_after_connecting_is_told_and_no_reason_to_storm() {
    together(async {
        let peer = Arc::new(Peer {
            greeting: b"HTTP/1.1 400 Bad Request\r\n\r\n",
            reads: true,
            ..Peer::default()
        });
        let world = world(World::new().await, &peer, &[]);
        let producer = world.producer().await;
        let start = Instant::now();
        let (mut sends, mut told) = (0, 0);
        while start.elapsed() < 60 * SECOND {
            let error = send(&producer, queue_a(), "m").await.unwrap_err();
            sends += 1;
            told += usize::from(error.to_string().contains("frame length"));
            tokio::time::sleep(SECOND / 10).await;
        }
        let connections = peer.connections.load(Ordering::SeqCst);
        println!("{sends} sends, {told} told why, {connections} connections");
        assert_eq!(told, sends);
        assert!(connections <= 60);
        send(&producer, queue_b(), "m").await.unwrap();
        producer.shutdown().await.unwrap();
    });
}
