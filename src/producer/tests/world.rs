//! The peers of a producer: a name server with a table of topics, and brokers that do what a closure says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use crate::config::ClientConfig;
use crate::environment::{ByteStream, Environment};
use crate::producer::{DefaultProducer, DefaultProducerBuilder};
use crate::protocol::code::{RequestCode, ResponseCode};
use crate::protocol::command::{Command, Head, Serialization};
use crate::protocol::fields::{Header, NoFields};
use crate::protocol::frame;
use crate::protocol::message::{BatchMessages, properties};
use crate::protocol::request::Request;
use crate::protocol::request::queue_offset::QueueOffsetResponse;
use crate::protocol::request::route::{BrokerData, GetRoute, QueueData, RouteBody};
use crate::protocol::request::send_batch::SendBatch;
use crate::protocol::request::send_message::{SendMessage, SendMessageResponse};
use crate::protocol::request::send_reply::SendReply;

pub(super) const NAME_SERVER: &str = "ns:9876";

/// What a broker does with a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    /// Stores it and says so.
    Stored,
    /// The same, after a while.
    StoredAfter(Duration),
    /// Answers with this code.
    Code(ResponseCode),
    /// The same, after a while.
    CodeAfter(ResponseCode, Duration),
    /// Says nothing.
    Silence,
    /// Closes the connection.
    HangUp,
}

/// A request that a peer got.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) addr: String,
    pub(super) code: RequestCode,
    pub(super) oneway: bool,
    pub(super) remark: Option<String>,
    /// For a message: queue id, system flag, and the other fields by their name on the wire.
    pub(super) queue_id: i32,
    pub(super) sys_flag: i32,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) body: Bytes,
}

impl Asked {
    pub(super) fn property(&self, name: &str) -> Option<String> {
        properties::find(self.fields.get("i")?, name).map(str::to_owned)
    }
}

/// What a broker does, by the queue that a message is for.
type Broker = Arc<Mutex<dyn FnMut(i32) -> Reply + Send>>;

/// The peers of one test. Addresses are made of names: broker `a` listens at `a:1`.
#[derive(Default)]
pub(super) struct World {
    topics: Mutex<HashMap<String, RouteBody>>,
    brokers: Mutex<HashMap<String, Broker>>,
    pub(super) asked: Mutex<Vec<Asked>>,
    /// The addresses of brokers that answer when they are asked for a queue's end.
    probed: Mutex<BTreeSet<String>>,
    open: Mutex<Vec<(String, mpsc::UnboundedSender<BytesMut>)>>,
    /// A broker is gone.
    hung_up: Notify,
    /// What clients answered to requests of brokers.
    answered: Mutex<Vec<Command>>,
    /// How many bytes of frames came whose rest did not.
    torn: AtomicUsize,
    /// The addresses of brokers that answer nothing but messages.
    mute: Mutex<BTreeSet<String>>,
}

impl World {
    /// A world with topic `t`, of two queues on each of these brokers, which store everything.
    pub(super) fn with_brokers(names: &[&str]) -> Arc<Self> {
        let world = Arc::<Self>::default();
        world.topic(
            "t",
            &names.iter().map(|name| (*name, 2)).collect::<Vec<_>>(),
        );
        for name in names {
            world.broker(name, |_| Reply::Stored);
        }
        world
    }

    pub(super) fn topic(&self, topic: &str, queues: &[(&str, i32)]) {
        let queue_datas = queues.iter().map(|(name, count)| QueueData {
            broker_name: (*name).to_owned(),
            read_queue_nums: *count,
            write_queue_nums: *count,
            perm: 6,
            topic_sys_flag: 0,
        });
        let broker_datas = queues.iter().map(|(name, _)| BrokerData {
            cluster: "c".to_owned(),
            broker_name: (*name).to_owned(),
            broker_addrs: [(0, format!("{name}:1"))].into(),
        });
        let body = RouteBody {
            order_topic_conf: None,
            queue_datas: queue_datas.collect(),
            broker_datas: broker_datas.collect(),
        };
        self.topics.lock().insert(topic.to_owned(), body);
    }

    /// Gives a topic a fixed order of its queues.
    pub(super) fn order(&self, topic: &str, queues: &str) {
        let mut topics = self.topics.lock();
        topics.get_mut(topic).unwrap().order_topic_conf = Some(queues.to_owned());
    }

    pub(super) fn forget_topic(&self, topic: &str) {
        self.topics.lock().remove(topic);
    }

    /// Decides what a broker does with its first message, counted from 0, and those after it.
    pub(super) fn broker(&self, name: &str, reply: impl FnMut(usize) -> Reply + Send + 'static) {
        let mut count = 0;
        let mut reply = reply;
        let broker: Broker = Arc::new(Mutex::new(move |_| {
            count += 1;
            reply(count - 1)
        }));
        self.brokers.lock().insert(format!("{name}:1"), broker);
    }

    /// Lets a broker have only the queues below this one.
    pub(super) fn refuse_queues_from(&self, name: &str, first: i32, code: ResponseCode) {
        let broker: Broker = Arc::new(Mutex::new(move |queue_id| {
            if queue_id < first {
                Reply::Stored
            } else {
                Reply::Code(code)
            }
        }));
        self.brokers.lock().insert(format!("{name}:1"), broker);
    }

    /// Lets a broker answer when it is asked for a queue's end.
    pub(super) fn answer_probes(&self, name: &str) {
        self.probed.lock().insert(format!("{name}:1"));
    }

    /// Lets a broker answer nothing but messages.
    pub(super) fn mute(&self, name: &str) {
        self.mute.lock().insert(format!("{name}:1"));
    }

    /// Refuses connections to a broker from now on.
    pub(super) fn remove_broker(&self, name: &str) {
        self.brokers.lock().remove(&format!("{name}:1"));
    }

    pub(super) fn asked(&self, code: RequestCode) -> Vec<Asked> {
        self.asked
            .lock()
            .iter()
            .filter(|asked| asked.code == code)
            .cloned()
            .collect()
    }

    /// The messages and batches that were sent.
    pub(super) fn sent(&self) -> Vec<Asked> {
        let mut all = self.asked.lock().clone();
        all.retain(|asked| [SendMessage::CODE, SendBatch::CODE].contains(&asked.code));
        all
    }

    /// The brokers that got a message, in order.
    pub(super) fn sent_to(&self) -> Vec<String> {
        self.sent().into_iter().map(|asked| asked.addr).collect()
    }

    /// What clients answered to requests of brokers.
    pub(super) fn answered(&self) -> Vec<Command> {
        self.answered.lock().clone()
    }

    /// How many bytes of frames came whose rest did not, before clients closed their connections.
    pub(super) fn torn(&self) -> usize {
        self.torn.load(Ordering::SeqCst)
    }

    /// Sends a request of a broker to the client that is connected to it.
    pub(super) fn tell<'a>(&self, name: &str, head: Head, header: &impl Header<'a>, body: &[u8]) {
        let mut out = BytesMut::new();
        frame::encode_head(
            &mut out,
            Serialization::Json,
            &head,
            None,
            header,
            body.len(),
        )
        .unwrap();
        out.extend_from_slice(body);
        let (open, addr) = (self.open.lock(), format!("{name}:1"));
        let connection = open
            .iter()
            .rev()
            .find(|(to, open)| *to == addr && !open.is_closed());
        connection.unwrap().1.send(out).unwrap();
    }

    /// Whether a client is connected to a broker.
    pub(super) fn reaches(&self, name: &str) -> bool {
        let addr = format!("{name}:1");
        let open = self.open.lock();
        open.iter()
            .any(|(to, open)| *to == addr && !open.is_closed())
    }

    fn listens_at(&self, addr: &str) -> bool {
        addr == NAME_SERVER || self.brokers.lock().contains_key(addr)
    }

    /// How many connections are open.
    pub(super) fn connections(&self) -> usize {
        self.open.lock().retain(|(_, open)| !open.is_closed());
        self.open.lock().len()
    }

    pub(super) fn builder(self: &Arc<Self>) -> DefaultProducerBuilder {
        DefaultProducer::builder("g")
            .config(ClientConfig::default().name_server(NAME_SERVER))
            .environment(self.environment())
    }

    /// What connects to this world's peers.
    pub(super) fn environment(self: &Arc<Self>) -> Arc<dyn Environment> {
        Arc::new(Door(Arc::clone(self)))
    }

    /// Ends a broker and its connections, as a crash does.
    pub(super) fn hang_up(&self, name: &str) {
        self.remove_broker(name);
        self.hung_up.notify_waiters();
    }

    /// A producer that has sent to topic `t` once, so that route and connections are there; that message does not count.
    pub(super) async fn warm_producer(self: &Arc<Self>) -> DefaultProducer {
        let producer = self.builder().start().await.unwrap();
        for queue in producer.queues("t").await.unwrap() {
            let message = crate::message::Message::new("t", "warm");
            producer.send(message).to(queue).await.unwrap();
        }
        self.asked.lock().clear();
        producer
    }

    fn answer(&self, addr: &str, command: &Command) -> Answer {
        self.asked.lock().push(note(addr, command));
        if command.request_code() == GetRoute::CODE {
            let header: GetRoute<'_> = command.header().unwrap();
            let body = self
                .topics
                .lock()
                .get(&*header.topic)
                .map(serde_json::to_vec);
            return match body {
                Some(body) => Answer::at_once(ResponseCode::SUCCESS, body.unwrap().into()),
                None => Answer::at_once(ResponseCode::TOPIC_NOT_EXIST, Bytes::new()),
            };
        }
        if command.request_code() == RequestCode::GET_MAX_OFFSET {
            // A probe: one that a broker which says nothing, or is gone, does not answer.
            return Answer {
                silent: !self.probed.lock().contains(addr),
                ..Answer::at_once(ResponseCode::SUCCESS, Bytes::new())
            };
        }
        if ![SendMessage::CODE, SendBatch::CODE, SendReply::CODE].contains(&command.request_code())
        {
            return Answer {
                silent: self.mute.lock().contains(addr),
                ..Answer::at_once(ResponseCode::SUCCESS, Bytes::new())
            };
        }
        let broker = self.brokers.lock().get(addr).cloned();
        let queue_id = note(addr, command).queue_id;
        let reply = broker.map_or(Reply::HangUp, |broker| (broker.lock())(queue_id));
        match reply {
            Reply::Stored => Answer::at_once(ResponseCode::SUCCESS, Bytes::new()),
            Reply::StoredAfter(delay) => Answer {
                delay,
                ..Answer::at_once(ResponseCode::SUCCESS, Bytes::new())
            },
            Reply::Code(code) => Answer::at_once(code, Bytes::new()),
            Reply::CodeAfter(code, delay) => Answer {
                delay,
                ..Answer::at_once(code, Bytes::new())
            },
            Reply::Silence => Answer {
                silent: true,
                ..Answer::at_once(ResponseCode::SUCCESS, Bytes::new())
            },
            Reply::HangUp => Answer {
                hang_up: true,
                ..Answer::at_once(ResponseCode::SUCCESS, Bytes::new())
            },
        }
    }
}

struct Answer {
    code: ResponseCode,
    body: Bytes,
    delay: Duration,
    silent: bool,
    hang_up: bool,
}

impl Answer {
    fn at_once(code: ResponseCode, body: Bytes) -> Self {
        Self {
            code,
            body,
            delay: Duration::ZERO,
            silent: false,
            hang_up: false,
        }
    }

    fn encode(&self, request: &Command) -> BytesMut {
        let mut out = BytesMut::new();
        let head = Head::response(self.code, request.head.opaque);
        let (form, size) = (request.serialization(), self.body.len());
        let queue_id = request
            .header()
            .map(|header: SendMessage<'_>| header.queue_id);
        match queue_id {
            _ if request.request_code() == RequestCode::GET_MAX_OFFSET => {
                let header = QueueOffsetResponse { offset: 7 };
                frame::encode_head(&mut out, form, &head, None, &header, size).unwrap();
            }
            Ok(queue_id) => {
                let header = SendMessageResponse {
                    msg_id: places(request).into(),
                    queue_id,
                    queue_offset: 7,
                    transaction_id: Some("TX".into()),
                    ..SendMessageResponse::default()
                };
                frame::encode_head(&mut out, form, &head, Some("as told"), &header, size).unwrap();
            }
            Err(_) => {
                frame::encode_head(&mut out, form, &head, None, &NoFields, size).unwrap();
            }
        }
        out.extend_from_slice(&self.body);
        out
    }
}

/// The broker's id of each message of a request.
fn places(request: &Command) -> String {
    let count = match request.request_code() {
        SendBatch::CODE => BatchMessages::new(request.body.clone()).count(),
        _ => 1,
    };
    let places: Vec<_> = (0..count)
        .map(|at| format!("0A00000100002A9F{at:016X}"))
        .collect();
    places.join(",")
}

fn note(addr: &str, command: &Command) -> Asked {
    let fields = command.fields.iter().map(|field| {
        let (name, value) = field.unwrap();
        (name.into_owned(), value.into_owned())
    });
    let fields: BTreeMap<_, _> = fields.collect();
    let number = |name: &str| {
        fields
            .get(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(-1)
    };
    Asked {
        addr: addr.to_owned(),
        code: command.request_code(),
        oneway: command.head.is_oneway(),
        remark: command.remark.as_ref().map(ToString::to_string),
        queue_id: number("e"),
        sys_flag: number("f"),
        fields,
        body: command.body.clone(),
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

#[derive(Debug)]
struct Door(Arc<World>);

#[async_trait]
impl Environment for Door {
    async fn connect(&self, addr: &str) -> io::Result<Box<dyn ByteStream>> {
        if !self.0.listens_at(addr) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = duplex(64 * 1024);
        let (answers, to_write) = mpsc::unbounded_channel();
        self.0.open.lock().push((addr.to_owned(), answers.clone()));
        tokio::spawn(serve(
            Arc::clone(&self.0),
            addr.to_owned(),
            theirs,
            answers,
            to_write,
        ));
        Ok(Box::new(ours))
    }

    fn seed(&self) -> u64 {
        7
    }
}

async fn serve(
    world: Arc<World>,
    addr: String,
    mut stream: DuplexStream,
    answers: mpsc::UnboundedSender<BytesMut>,
    mut to_write: mpsc::UnboundedReceiver<BytesMut>,
) {
    let mut buffer = BytesMut::new();
    loop {
        while let Some(command) = frame::decode(&mut buffer).unwrap() {
            if command.head.is_response() {
                world.answered.lock().push(command);
                continue;
            }
            let answer = world.answer(&addr, &command);
            if answer.hang_up {
                return;
            }
            if command.head.is_oneway() || answer.silent {
                continue;
            }
            let (bytes, answers) = (answer.encode(&command), answers.clone());
            if answer.delay.is_zero() {
                answers.send(bytes).unwrap();
                continue;
            }
            tokio::spawn(async move {
                sleep(answer.delay).await;
                // The connection may be gone by then.
                let _ = answers.send(bytes);
            });
        }
        tokio::select! {
            read = stream.read_buf(&mut buffer) => if !matches!(read, Ok(1..)) {
                world.torn.fetch_add(buffer.len(), Ordering::SeqCst);
                return;
            },
            () = world.hung_up.notified() => if !world.listens_at(&addr) { return },
            Some(out) = to_write.recv() => if stream.write_all(&out).await.is_err() { return },
        }
    }
}
